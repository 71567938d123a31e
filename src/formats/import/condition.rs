//! When a row counts as a success: `score>=1`, `passed`, `verdict==pass`.

use std::str::FromStr;

use arrow::array::{ArrayRef, AsArray, BooleanArray};
use arrow::datatypes::{DataType, Float64Type};

use super::convert::{Bad, numbers, texts, truths};

/// A condition on one source column.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    /// The source column.
    pub column: String,
    test: Test,
}

#[derive(Debug, Clone, PartialEq)]
enum Test {
    /// The column itself says so.
    True,
    /// The number compares so; a missing one does not.
    Number(Comparison, f64),
    /// The text is this.
    Text(String),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Comparison {
    AtLeast,
    AtMost,
    Equal,
    Above,
    Below,
}

const OPERATORS: [(&str, Comparison); 5] = [
    (">=", Comparison::AtLeast),
    ("<=", Comparison::AtMost),
    ("==", Comparison::Equal),
    (">", Comparison::Above),
    ("<", Comparison::Below),
];

impl FromStr for Condition {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "'{text}' is no condition: write a boolean column, or 'score>=1' (also > <= < ==)"
            )
        };
        let at = text.find(['>', '<', '=']);
        let Some(at) = at else {
            let column = text.trim().to_owned();
            return if column.is_empty() {
                Err(wrong())
            } else {
                Ok(Self {
                    column,
                    test: Test::True,
                })
            };
        };
        let (column, rest) = text.split_at(at);
        let (value, comparison) = OPERATORS
            .iter()
            .find_map(|(operator, comparison)| {
                Some((rest.strip_prefix(operator)?.trim(), *comparison))
            })
            .ok_or_else(wrong)?;
        let test = match value.parse::<f64>() {
            Ok(number) if number.is_finite() => Test::Number(comparison, number),
            _ if comparison == Comparison::Equal
                && !value.is_empty()
                && !value.starts_with('=') =>
            {
                Test::Text(value.trim_matches(['"', '\'']).to_owned())
            }
            _ => return Err(wrong()),
        };
        let column = column.trim().to_owned();
        if column.is_empty() {
            Err(wrong())
        } else {
            Ok(Self { column, test })
        }
    }
}

impl Condition {
    /// The condition that a column of truth values is itself.
    pub(super) fn truth(column: &str) -> Self {
        Self {
            column: column.to_owned(),
            test: Test::True,
        }
    }

    /// Whether it holds, row by row. Null only where the column itself says so
    /// and is null; a missing number or text does not fulfil a comparison.
    pub(super) fn holds(&self, column: &ArrayRef) -> Result<BooleanArray, Bad> {
        match &self.test {
            Test::True => truths(column),
            Test::Number(comparison, limit) => {
                let column = numbers(column)?;
                let holds = |value: f64| match comparison {
                    Comparison::AtLeast => value >= *limit,
                    Comparison::AtMost => value <= *limit,
                    // What was typed is compared with what was stored, digit for digit.
                    #[allow(clippy::float_cmp)]
                    Comparison::Equal => value == *limit,
                    Comparison::Above => value > *limit,
                    Comparison::Below => value < *limit,
                };
                let values = column.as_primitive::<Float64Type>();
                Ok(values
                    .iter()
                    .map(|value| Some(value.is_some_and(holds)))
                    .collect())
            }
            Test::Text(expected) => {
                let texts = texts(column)?;
                Ok(texts
                    .iter()
                    .map(|text| Some(text == Some(expected.as_str())))
                    .collect())
            }
        }
    }

    /// Whether a column of that type can say so itself.
    pub(super) fn fits(&self, data_type: &DataType) -> bool {
        !data_type.is_nested()
            && (self.test != Test::True || !matches!(data_type, DataType::Timestamp(..)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Float64Array, StringArray};

    use super::*;

    #[test]
    fn reads_what_people_type() {
        for (text, column) in [
            ("score>=1", "score"),
            ("my score < 0.5", "my score"),
            ("passed", "passed"),
        ] {
            assert_eq!(text.parse::<Condition>().unwrap().column, column);
        }
        for text in [
            "",
            ">=1",
            "score>=",
            "score>=high",
            "score=1",
            "score===1",
            "a>>1",
        ] {
            assert!(text.parse::<Condition>().is_err(), "{text}");
        }
    }

    #[test]
    fn compares_numbers_and_texts() {
        let scores: ArrayRef = Arc::new(Float64Array::from(vec![
            Some(1.0),
            Some(0.5),
            Some(f64::NAN),
            None,
        ]));
        let typed: ArrayRef = Arc::new(StringArray::from(vec![
            Some("1.0"),
            Some("0.5"),
            Some("nan"),
            None,
        ]));
        for (text, expected) in [
            ("s>=1", [true, false, false, false]),
            ("s>0.5", [true, false, false, false]),
            ("s<=0.5", [false, true, false, false]),
            ("s<1", [false, true, false, false]),
            ("s==0.5", [false, true, false, false]),
        ] {
            let condition: Condition = text.parse().unwrap();
            for column in [&scores, &typed] {
                assert_eq!(
                    condition.holds(column).unwrap(),
                    BooleanArray::from(expected.to_vec()),
                    "{text}"
                );
            }
        }
        let verdicts: ArrayRef =
            Arc::new(StringArray::from(vec![Some("pass"), Some("fail"), None]));
        let condition: Condition = "verdict==pass".parse().unwrap();
        assert_eq!(
            condition.holds(&verdicts).unwrap(),
            BooleanArray::from(vec![true, false, false])
        );
        let bad = "verdict>=1"
            .parse::<Condition>()
            .unwrap()
            .holds(&verdicts)
            .unwrap_err();
        assert_eq!(bad.row, 0);
    }
}
