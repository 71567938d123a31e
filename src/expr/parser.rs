//! Tokens into a tree, by precedence: or, and, not, comparison, sum, product, sign.

use std::ops::Range;

use super::lexer::{Token, tokens};
use super::{Error, Expr};

/// Levels of parentheses and signs: more would not fit a thread's stack.
const DEEPEST: usize = 100;

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub(super) kind: Kind,
    /// Where it stands in the text.
    pub(super) span: Range<usize>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    /// A bare name or word.
    Name(String),
    /// A column in backticks.
    Column(String),
    Text(String),
    Int(i64),
    Float(f64),
    /// Begins with a digit and is not a number: a duration, or a part of a bare word.
    Odd(String),
    Bool(bool),
    Null,
    Not(Box<Node>),
    All(Vec<Node>),
    Any(Vec<Node>),
    Compare(Comparison, Box<Node>, Box<Node>),
    Arithmetic(Operator, Box<Node>, Box<Node>),
    Negate(Box<Node>),
    In(Box<Node>, Vec<Node>),
    Like(Box<Node>, Box<Node>),
    IsNull(Box<Node>),
    Call(String, Vec<Node>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    Unequal,
    Less,
    AtMost,
    Greater,
    AtLeast,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

const KEYWORDS: [&str; 11] = [
    "and", "or", "not", "in", "like", "is", "null", "true", "false", "between", "ilike",
];

impl Node {
    pub(super) fn names<'a>(&'a self, into: &mut Vec<&'a str>) {
        match &self.kind {
            Kind::Name(name) | Kind::Column(name) => into.push(name),
            Kind::Not(a) | Kind::Negate(a) | Kind::IsNull(a) => a.names(into),
            Kind::Compare(_, a, b) | Kind::Arithmetic(_, a, b) | Kind::Like(a, b) => {
                a.names(into);
                b.names(into);
            }
            Kind::In(a, all) => {
                a.names(into);
                for node in all {
                    node.names(into);
                }
            }
            Kind::All(all) | Kind::Any(all) | Kind::Call(_, all) => {
                for node in all {
                    node.names(into);
                }
            }
            _ => {}
        }
    }

    /// The same with places counted from `start`.
    pub(super) fn at(&self, start: usize) -> Self {
        let mut own = self.clone();
        own.shift(start);
        own
    }

    fn shift(&mut self, start: usize) {
        self.span = self.span.start.saturating_sub(start)..self.span.end.saturating_sub(start);
        match &mut self.kind {
            Kind::Not(a) | Kind::Negate(a) | Kind::IsNull(a) => a.shift(start),
            Kind::Compare(_, a, b) | Kind::Arithmetic(_, a, b) | Kind::Like(a, b) => {
                a.shift(start);
                b.shift(start);
            }
            Kind::In(a, all) => {
                a.shift(start);
                for node in all {
                    node.shift(start);
                }
            }
            Kind::All(all) | Kind::Any(all) | Kind::Call(_, all) => {
                for node in all {
                    node.shift(start);
                }
            }
            _ => {}
        }
    }
}

pub(super) fn parse(text: &str) -> Result<Expr, Error> {
    let mut all = parse_list(text)?;
    match (all.pop(), all.is_empty()) {
        (Some(only), true) => Ok(only),
        _ => Err(Error::new(
            "expected one expression, not several with commas between them",
        )),
    }
}

pub(super) fn parse_list(text: &str) -> Result<Vec<Expr>, Error> {
    let mut parser = Parser {
        text,
        tokens: tokens(text)?,
        next: 0,
        depth: 0,
    };
    let mut all = Vec::new();
    loop {
        let node = parser.any()?;
        let own = text.get(node.span.clone()).unwrap_or_default().to_owned();
        all.push(Expr {
            node: node.at(node.span.start),
            text: own,
        });
        if !parser.symbol(",") {
            break;
        }
    }
    match parser.peek() {
        None => Ok(all),
        Some(_) => {
            Err(parser.unexpected("an operator (and, or, =, <, in, like, is null, + - * /)"))
        }
    }
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<(Token, Range<usize>)>,
    next: usize,
    depth: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next).map(|(token, _)| token)
    }

    fn start(&self) -> usize {
        self.tokens
            .get(self.next)
            .map_or(self.text.len(), |(_, span)| span.start)
    }

    /// From `start` to the end of the last token.
    fn since(&self, start: usize) -> Range<usize> {
        let last = self
            .next
            .checked_sub(1)
            .and_then(|last| self.tokens.get(last));
        start..last.map_or(start, |(_, span)| span.end)
    }

    fn symbol(&mut self, symbol: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Symbol(own)) if *own == symbol);
        self.next += usize::from(found);
        found
    }

    fn keyword(&mut self, keyword: &str) -> bool {
        let found =
            matches!(self.peek(), Some(Token::Word(own)) if own.eq_ignore_ascii_case(keyword));
        self.next += usize::from(found);
        found
    }

    fn unexpected(&self, expected: &str) -> Error {
        let rest = self.text.get(self.start()..).unwrap_or_default();
        let rest: String = rest.chars().take(40).collect();
        Error::new(if rest.is_empty() {
            format!("the expression ends where {expected} is expected")
        } else {
            format!("expected {expected} at '{rest}'")
        })
    }

    fn deeper<T>(&mut self, then: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(Error::new(format!(
                "more than {DEEPEST} levels in one expression"
            )));
        }
        let result = then(self);
        self.depth -= 1;
        result
    }

    fn any(&mut self) -> Result<Node, Error> {
        self.chain("or", Self::all, Kind::Any)
    }

    fn all(&mut self) -> Result<Node, Error> {
        self.chain("and", Self::not, Kind::All)
    }

    fn chain(
        &mut self,
        keyword: &str,
        part: fn(&mut Self) -> Result<Node, Error>,
        make: fn(Vec<Node>) -> Kind,
    ) -> Result<Node, Error> {
        let start = self.start();
        let first = part(self)?;
        let mut all = vec![first];
        while self.keyword(keyword) {
            all.push(part(self)?);
        }
        match all.pop() {
            Some(only) if all.is_empty() => Ok(only),
            last => {
                all.extend(last);
                let span = self.since(start);
                Ok(Node {
                    kind: make(all),
                    span,
                })
            }
        }
    }

    fn not(&mut self) -> Result<Node, Error> {
        let start = self.start();
        if !self.keyword("not") {
            return self.predicate();
        }
        let inner = self.deeper(Self::not)?;
        Ok(self.node(start, Kind::Not(Box::new(inner))))
    }

    fn node(&self, start: usize, kind: Kind) -> Node {
        let span = self.since(start);
        Node { kind, span }
    }

    fn predicate(&mut self) -> Result<Node, Error> {
        let start = self.start();
        let value = self.sum()?;
        if let Some(comparison) = self.comparison() {
            let other = self.sum()?;
            if self.comparison().is_some() {
                return Err(Error::new("write a < b and b < c instead of a < b < c"));
            }
            return Ok(self.node(start, Kind::Compare(comparison, value.into(), other.into())));
        }
        if self.keyword("is") {
            let not = self.keyword("not");
            if !self.keyword("null") {
                return Err(self.unexpected("null"));
            }
            return Ok(self.negated(start, not, Kind::IsNull(value.into())));
        }
        let not = self.keyword("not");
        if self.keyword("in") {
            if !self.symbol("(") {
                return Err(self.unexpected("a list in parentheses"));
            }
            let list = self.arguments(Self::sum)?;
            return Ok(self.negated(start, not, Kind::In(value.into(), list)));
        }
        if self.keyword("like") {
            let pattern = self.sum()?;
            return Ok(self.negated(start, not, Kind::Like(value.into(), pattern.into())));
        }
        if self.keyword("between") {
            let low = self.sum()?;
            if !self.keyword("and") {
                return Err(self.unexpected("and"));
            }
            let high = self.sum()?;
            let value = Box::new(value);
            let low = Kind::Compare(Comparison::AtLeast, value.clone(), low.into());
            let high = Kind::Compare(Comparison::AtMost, value, high.into());
            let both = [low, high].map(|kind| self.node(start, kind));
            return Ok(self.negated(start, not, Kind::All(both.into())));
        }
        if not {
            Err(self.unexpected("in, like or between"))
        } else {
            Ok(value)
        }
    }

    fn negated(&self, start: usize, not: bool, kind: Kind) -> Node {
        let node = self.node(start, kind);
        if not {
            self.node(start, Kind::Not(node.into()))
        } else {
            node
        }
    }

    fn comparison(&mut self) -> Option<Comparison> {
        let Some(Token::Symbol(symbol)) = self.peek() else {
            return None;
        };
        let comparison = match *symbol {
            "=" | "==" => Comparison::Equal,
            "!=" | "<>" => Comparison::Unequal,
            "<" => Comparison::Less,
            "<=" => Comparison::AtMost,
            ">" => Comparison::Greater,
            ">=" => Comparison::AtLeast,
            _ => return None,
        };
        self.next += 1;
        Some(comparison)
    }

    fn sum(&mut self) -> Result<Node, Error> {
        let signs = [("+", Operator::Add), ("-", Operator::Subtract)];
        self.operators(&signs, Self::product)
    }

    fn product(&mut self) -> Result<Node, Error> {
        let signs = [
            ("*", Operator::Multiply),
            ("/", Operator::Divide),
            ("%", Operator::Remainder),
        ];
        self.operators(&signs, Self::signed)
    }

    fn operators(
        &mut self,
        signs: &[(&str, Operator)],
        part: fn(&mut Self) -> Result<Node, Error>,
    ) -> Result<Node, Error> {
        let start = self.start();
        let mut value = part(self)?;
        let mut length = 0;
        while let Some((_, operator)) = signs.iter().find(|(sign, _)| self.symbol(sign)) {
            length += 1;
            if length > DEEPEST {
                return Err(Error::new(format!(
                    "more than {DEEPEST} operators in a row"
                )));
            }
            let other = part(self)?;
            value = self.node(
                start,
                Kind::Arithmetic(*operator, value.into(), other.into()),
            );
        }
        Ok(value)
    }

    fn signed(&mut self) -> Result<Node, Error> {
        let start = self.start();
        if !self.symbol("-") {
            return self.primary();
        }
        let inner = self.deeper(Self::signed)?;
        let kind = match inner.kind {
            Kind::Int(number) => Kind::Int(-number),
            Kind::Float(number) => Kind::Float(-number),
            _ => Kind::Negate(inner.into()),
        };
        Ok(self.node(start, kind))
    }

    fn primary(&mut self) -> Result<Node, Error> {
        let start = self.start();
        let Some(token) = self.peek().cloned() else {
            return Err(self.unexpected("a column, number or text"));
        };
        let kind = match token {
            Token::Symbol("(") => {
                self.next += 1;
                let inner = self.deeper(Self::any)?;
                if !self.symbol(")") {
                    return Err(self.unexpected("')'"));
                }
                // Its own place, so that `(a)` reads like `a`.
                return Ok(inner);
            }
            Token::Symbol(_) => return Err(self.unexpected("a column, number or text")),
            Token::Text(text) => Kind::Text(text),
            Token::Column(name) => Kind::Column(name),
            Token::Digits(digits) => number(digits),
            Token::Word(word) => return self.word(start, &word),
        };
        self.next += 1;
        Ok(self.node(start, kind))
    }

    fn word(&mut self, start: usize, word: &str) -> Result<Node, Error> {
        let kind = match word.to_ascii_lowercase().as_str() {
            "true" => Kind::Bool(true),
            "false" => Kind::Bool(false),
            "null" => Kind::Null,
            keyword if KEYWORDS.contains(&keyword) => {
                return Err(self.unexpected("a column, number or text"));
            }
            _ => {
                self.next += 1;
                if self.symbol("(") {
                    let arguments = self.deeper(|parser| parser.arguments(Self::any))?;
                    return Ok(self.node(start, Kind::Call(word.to_ascii_lowercase(), arguments)));
                }
                // `my score < 0.5`: words side by side are one name with spaces.
                while matches!(self.peek(), Some(Token::Word(next)) if !is_keyword(next)) {
                    self.next += 1;
                }
                let span = self.since(start);
                let name = self.text.get(span.clone()).unwrap_or_default().to_owned();
                return Ok(Node {
                    kind: Kind::Name(name),
                    span,
                });
            }
        };
        self.next += 1;
        Ok(self.node(start, kind))
    }

    /// Up to the closing parenthesis; the opening one is behind.
    fn arguments(
        &mut self,
        part: fn(&mut Self) -> Result<Node, Error>,
    ) -> Result<Vec<Node>, Error> {
        let mut all = Vec::new();
        if self.symbol(")") {
            return Ok(all);
        }
        loop {
            all.push(part(self)?);
            if self.symbol(")") {
                return Ok(all);
            }
            if !self.symbol(",") {
                return Err(self.unexpected("',' or ')'"));
            }
        }
    }
}

fn is_keyword(word: &str) -> bool {
    KEYWORDS.contains(&word.to_ascii_lowercase().as_str())
}

fn number(digits: String) -> Kind {
    if let Ok(whole) = digits.parse::<i64>() {
        return Kind::Int(whole);
    }
    match digits.parse::<f64>() {
        Ok(number) if number.is_finite() => Kind::Float(number),
        _ => Kind::Odd(digits),
    }
}
