//! What can be asked of the tests of a group: `mean(score)`, `p95(execution_time)`, `pass@5`.

use crate::expr::Expr;
use crate::store::{Error, Result};
use crate::text::suggest::did_you_mean;

/// What is computed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Function {
    /// Tests, or those with a value.
    Count,
    /// Different values.
    CountDistinct,
    /// The sum.
    Sum,
    /// The mean of the values there are.
    Mean,
    /// The least value.
    Min,
    /// The greatest value.
    Max,
    /// The standard deviation of the sample.
    Deviation,
    /// The value below which so many per cent lie.
    Percentile(f64),
    /// The probability that at least one of so many trials of a task succeeds.
    PassAt(u64),
    /// The probability that all of so many trials of a task succeed.
    PassHat(u64),
    /// Mean, standard error clustered by task, and 95 % interval.
    Metric,
    /// Counts of tests by how they ended, with the success rate and means of the usual measures.
    Tally,
}

/// One aggregate.
#[derive(Debug, Clone, PartialEq)]
pub struct Aggregate {
    /// The name of its column.
    pub name: String,
    /// What is computed.
    pub function: Function,
    /// Of what; `None` where tests are what counts.
    pub argument: Option<Expr>,
}

const NAMES: [(&str, Function); 8] = [
    ("count", Function::Count),
    ("count_distinct", Function::CountDistinct),
    ("sum", Function::Sum),
    ("mean", Function::Mean),
    ("min", Function::Min),
    ("max", Function::Max),
    ("stddev", Function::Deviation),
    ("median", Function::Percentile(50.0)),
];

impl Aggregate {
    /// Reads a list such as `mean(score),p95(execution_time),pass@5`.
    pub fn list(text: &str) -> Result<Vec<Self>> {
        split(text).into_iter().map(Self::parse).collect()
    }

    /// Mean, error and interval of a column.
    pub fn metric(of: Expr) -> Self {
        Self {
            name: of.text().to_owned(),
            function: Function::Metric,
            argument: Some(of),
        }
    }

    /// The usual counts.
    pub fn tally() -> Self {
        Self {
            name: String::new(),
            function: Function::Tally,
            argument: None,
        }
    }

    fn parse(text: &str) -> Result<Self> {
        let text = text.trim();
        for (sign, make) in [
            ("pass@", Function::PassAt as fn(u64) -> Function),
            ("pass^", Function::PassHat),
        ] {
            if let Some(trials) = text.strip_prefix(sign) {
                let trials = trials.parse().ok().filter(|trials| *trials > 0);
                let trials = trials.ok_or_else(|| {
                    Error::Refused(format!("'{text}' needs a number of trials: {sign}5"))
                })?;
                return Ok(Self {
                    name: text.to_owned(),
                    function: make(trials),
                    argument: None,
                });
            }
        }
        let expression: Expr = text.parse().map_err(|error| {
            Error::Refused(format!("'{text}' can't be read as an aggregate: {error}"))
        })?;
        let names = || NAMES.iter().map(|(name, _)| *name).chain(["p95"]);
        let Some((name, mut arguments)) = expression.call() else {
            return Err(Error::Refused(format!(
                "'{text}' is not an aggregate: write mean({text}), or another of {} or pass@5, pass^5",
                names().collect::<Vec<_>>().join(", ")
            )));
        };
        let function = NAMES
            .iter()
            .find(|(own, _)| *own == name)
            .map(|(_, function)| *function);
        let percentile = || {
            let share: f64 = name.strip_prefix('p')?.replace('_', ".").parse().ok()?;
            (0.0..=100.0)
                .contains(&share)
                .then_some(Function::Percentile(share))
        };
        let Some(function) = function.or_else(percentile) else {
            return Err(Error::Refused(format!(
                "no aggregate '{name}'{}: there are {}, pass@5 and pass^5",
                did_you_mean(name, names()),
                names().collect::<Vec<_>>().join(", ")
            )));
        };
        if arguments.len() > 1 || (arguments.is_empty() && function != Function::Count) {
            return Err(Error::Refused(format!(
                "{name} takes one column or expression: {name}(score)"
            )));
        }
        let argument = arguments.pop();
        let of = argument
            .as_ref()
            .map(|argument| format!("_{}", argument.text()));
        Ok(Self {
            name: format!("{name}{}", of.unwrap_or_default()),
            function,
            argument,
        })
    }
}

/// At the commas outside of parentheses and quotes.
fn split(text: &str) -> Vec<&str> {
    let (mut depth, mut quote, mut start) = (0_i32, None, 0);
    let mut parts = Vec::new();
    for (at, letter) in text.char_indices() {
        match (letter, quote) {
            (letter, Some(own)) => quote = Some(own).filter(|own| *own != letter),
            ('\'' | '"' | '`', None) => quote = Some(letter),
            ('(', None) => depth += 1,
            (')', None) => depth -= 1,
            (',', None) if depth <= 0 => {
                parts.push(text.get(start..at).unwrap_or_default());
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(text.get(start..).unwrap_or_default());
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read() {
        let list = Aggregate::list(
            "mean(score), sum(cost),p95(execution_time),p99.9(turns),count_distinct(task_id),count(),pass@5,pass^3,mean(coalesce(score, 0))",
        );
        let names: Vec<String> = list.unwrap().into_iter().map(|own| own.name).collect();
        assert_eq!(
            names,
            [
                "mean_score",
                "sum_cost",
                "p95_execution_time",
                "p99.9_turns",
                "count_distinct_task_id",
                "count",
                "pass@5",
                "pass^3",
                "mean_coalesce(score, 0)"
            ]
        );
        for (text, expected) in [
            ("maen(score)", "no aggregate 'maen' (did you mean 'mean'?)"),
            ("score", "'score' is not an aggregate: write mean(score)"),
            ("p101(score)", "no aggregate 'p101'"),
            ("mean(a, b)", "mean takes one column"),
            ("mean()", "mean takes one column"),
            ("pass@0", "needs a number of trials"),
            ("mean(", "can't be read as an aggregate"),
        ] {
            let error = Aggregate::list(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
