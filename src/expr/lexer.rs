//! Text into tokens.

use std::ops::Range;

use super::Error;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// A bare name, word or keyword.
    Word(String),
    /// A column in backticks.
    Column(String),
    /// Text in quotes.
    Text(String),
    /// What begins with a digit: a number, `15m`, or a part of a bare word such as `4o`.
    Digits(String),
    Symbol(&'static str),
}

const SYMBOLS: [&str; 16] = [
    "==", "!=", "<>", "<=", ">=", "<", ">", "=", "(", ")", ",", "+", "-", "*", "/", "%",
];

/// The tokens and where they stand.
pub(super) fn tokens(text: &str) -> Result<Vec<(Token, Range<usize>)>, Error> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(rest) = text.get(at..)
        && let Some(first) = rest.chars().next()
    {
        if first.is_whitespace() {
            at += first.len_utf8();
            continue;
        }
        let decimal = first == '.' && rest.chars().nth(1).is_some_and(|c| c.is_ascii_digit());
        let (token, length) = if let '\'' | '"' | '`' = first {
            quoted(rest, first)?
        } else if first.is_ascii_digit() || decimal {
            let length = digits(rest);
            (
                Token::Digits(rest.get(..length).unwrap_or_default().to_owned()),
                length,
            )
        } else if first.is_alphabetic() || first == '_' {
            let length = run(rest);
            (
                Token::Word(rest.get(..length).unwrap_or_default().to_owned()),
                length,
            )
        } else if let Some(symbol) = SYMBOLS.into_iter().find(|symbol| rest.starts_with(symbol)) {
            (Token::Symbol(symbol), symbol.len())
        } else {
            return Err(Error::new(format!(
                "unexpected '{first}' (text is written in quotes, a column with other letters in backticks)"
            )));
        };
        found.push((token, at..at + length));
        at += length;
    }
    Ok(found)
}

fn run(text: &str) -> usize {
    text.find(|c: char| !(c.is_alphanumeric() || "_.:@".contains(c)))
        .unwrap_or(text.len())
}

/// A run that begins with a digit; a sign is part of it in `1e-5`.
fn digits(text: &str) -> usize {
    let length = run(text);
    let (own, rest) = text.split_at(length);
    let exponent = own
        .strip_suffix(['e', 'E'])
        .is_some_and(|own| own.parse::<f64>().is_ok());
    let signed = rest
        .strip_prefix(['+', '-'])
        .map(|rest| rest.bytes().take_while(u8::is_ascii_digit).count());
    match signed {
        Some(more) if exponent && more > 0 => length + 1 + more,
        _ => length,
    }
}

fn quoted(text: &str, quote: char) -> Result<(Token, usize), Error> {
    let mut inner = String::new();
    let mut letters = text.char_indices().skip(1).peekable();
    while let Some((at, letter)) = letters.next() {
        if letter != quote {
            inner.push(letter);
        } else if letters.next_if(|(_, next)| *next == quote).is_some() {
            inner.push(quote);
        } else {
            let token = if quote == '`' {
                Token::Column(inner)
            } else {
                Token::Text(inner)
            };
            return Ok((token, at + 1));
        }
    }
    Err(Error::new(format!("a {quote} without its end")))
}
