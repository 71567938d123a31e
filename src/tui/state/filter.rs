//! What a typed filter means: words and figures that choose among models, and a condition
//! that chooses among tests.

use strum::IntoEnumIterator;

use super::table::Column;
use crate::monitor::filtered::{Condition, Term};

/// Signs between a column and a value, longer ones first.
const SIGNS: [&str; 4] = ["<=", ">=", "<", ">"];
/// What only expressions have.
const OPERATORS: [char; 6] = ['=', '<', '>', '(', ')', '\''];

/// A filter taken apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Split<'t> {
    /// Parts of names, and figures of models.
    pub words: Vec<&'t str>,
    /// Which tests.
    pub condition: Option<Condition>,
}

/// Takes a filter apart; `is_name` says whether a word is a part of a model's name.
pub(crate) fn split(text: &str, is_name: impl Fn(&str) -> bool) -> Split<'_> {
    let mut split = Split::default();
    let mut terms = Vec::new();
    for word in text.split_whitespace() {
        match word.split_once(':') {
            _ if is_name(word) => split.words.push(word),
            Some((column, value)) if !is_figure(column) && is_column(column) => {
                // Half-typed: nothing yet.
                terms.extend(term(column, value));
            }
            None if word.contains(OPERATORS) => return expression(text),
            _ => split.words.push(word),
        }
    }
    split.condition = (!terms.is_empty()).then_some(Condition::Terms(terms));
    split
}

fn expression(text: &str) -> Split<'_> {
    Split {
        words: Vec::new(),
        condition: Some(Condition::Expression(text.trim().to_owned())),
    }
}

fn is_figure(column: &str) -> bool {
    column.parse::<Column>().is_ok() || Column::iter().any(|figure| <&str>::from(figure) == column)
}

fn is_column(column: &str) -> bool {
    column
        .chars()
        .all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'))
        && !column.is_empty()
}

fn term(column: &str, value: &str) -> Option<Term> {
    let found = SIGNS
        .iter()
        .find_map(|sign| Some((*sign, value.strip_prefix(sign)?)));
    let (sign, value) = found.unwrap_or(("=", value.strip_prefix('=').unwrap_or(value)));
    (!value.is_empty()).then(|| Term {
        column: column.to_owned(),
        sign,
        value: value.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> (Vec<&str>, Option<String>) {
        let split = split(text, |word| "ollama/llama3:8b".contains(word));
        let condition = split.condition.map(|condition| match condition {
            Condition::Expression(text) => format!("({text})"),
            Condition::Terms(terms) => terms
                .iter()
                .map(|term| format!("{}{}{}", term.column, term.sign, term.value))
                .collect::<Vec<_>>()
                .join(" & "),
        });
        (split.words, condition)
    }

    #[test]
    fn words_and_figures_choose_models_and_the_rest_chooses_tests() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(of("gpt tests:>100"), (vec!["gpt", "tests:>100"], None));
        assert_eq!(of("difficulty:hard"), (vec![], some("difficulty=hard")));
        assert_eq!(
            of("gpt session:monday score:>=0.5"),
            (vec!["gpt"], some("session=monday & score>=0.5"))
        );
        assert_eq!(of("difficulty:"), (vec![], None));
        assert_eq!(of("llama3:8b"), (vec!["llama3:8b"], None));
        assert_eq!(
            of("score > 0.5 and difficulty = 'hard'"),
            (vec![], some("(score > 0.5 and difficulty = 'hard')"))
        );
        assert_eq!(
            of("rate:<0.5 success:>0.3"),
            (vec!["rate:<0.5", "success:>0.3"], None)
        );
    }
}
