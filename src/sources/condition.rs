//! When a row counts as a success: `score>=1`, `passed`, `verdict==pass`, `answer==target`, by
//! the grammar of [`crate::expr`].

use std::str::FromStr;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, Float64Type, Schema};

use super::convert::{Bad, truths};
use super::source::{Column, stand_for};
use crate::expr::{Bound, Context, Expr, Word};

/// A condition on the columns of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition(Expr);

impl FromStr for Condition {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Err(format!(
                "'{text}' is not a condition: write a boolean column, or 'score>=1'"
            ));
        }
        text.parse()
            .map(Self)
            .map_err(|error| format!("'{text}' is not a condition: {error}"))
    }
}

impl Condition {
    /// Names that may be columns.
    pub(crate) fn names(&self) -> Vec<&str> {
        self.0.names()
    }

    /// Fits it to a file's columns.
    pub(crate) fn bind(&self, columns: &[Column]) -> Result<Judge, String> {
        let field = |column: &Column| Field::new(&column.name, column.stands_for.clone(), true);
        let fields: Vec<Field> = columns.iter().map(field).collect();
        // A column alone says so itself, in whatever words.
        let alone = match self.names().as_slice() {
            [name] if self.0.text() == *name => {
                columns.iter().position(|column| column.name == *name)
            }
            _ => None,
        };
        if let Some(at) = alone {
            return Judge::truth(columns, at);
        }
        let bound = self.0.bind(&Schema::new(fields), &Context::utc());
        let bound = bound.map_err(|error| error.to_string())?.strict();
        let places = bound.columns().into_iter().filter_map(|name| {
            let at = columns.iter().position(|column| column.name == name)?;
            Some((at, columns.get(at)?.clone()))
        });
        let places = places.collect();
        Ok(Judge {
            name: self.0.text().to_owned(),
            places,
            bound: Some(bound),
        })
    }
}

/// A condition that fits a file.
#[derive(Debug, Clone)]
pub(crate) struct Judge {
    /// What to call it where a value does not fit.
    name: String,
    /// The columns that it reads, and where they are.
    places: Vec<(usize, Column)>,
    /// `None`: its one column says so itself.
    bound: Option<Bound>,
}

impl Judge {
    /// By a column of truth values.
    pub(crate) fn truth(columns: &[Column], at: usize) -> Result<Self, String> {
        let column = columns.get(at).cloned().ok_or("has no such column")?;
        let nested = column.data_type.is_nested();
        if nested || matches!(column.data_type, DataType::Timestamp(..)) {
            let of = &column.data_type;
            return Err(format!(
                "'{}' is {of}, which is not a condition",
                column.name
            ));
        }
        Ok(Self {
            name: column.name.clone(),
            places: vec![(at, column)],
            bound: None,
        })
    }

    /// The column that says so itself.
    pub(crate) fn itself(&self) -> Option<usize> {
        match (&self.bound, self.places.as_slice()) {
            (None, [(at, _)]) => Some(*at),
            _ => None,
        }
    }

    /// Words that are right only if their columns hold them.
    pub(crate) fn words(&self) -> &[Word] {
        self.bound.as_ref().map_or(&[], Bound::words)
    }

    /// Whether it holds, row by row; null where that hangs on a missing value: such a test is
    /// unscored, and no failure.
    pub(crate) fn holds(&self, batch: &RecordBatch) -> Result<BooleanArray, Bad> {
        let named = |bad: Bad| Bad {
            why: format!("column '{}': {}", self.name, bad.why),
            ..bad
        };
        let column = |at: usize| {
            batch.columns().get(at).ok_or_else(|| Bad {
                row: 0,
                why: "a column is missing".to_owned(),
            })
        };
        let Some(bound) = &self.bound else {
            let at = self.places.first().map_or(0, |(at, _)| *at);
            return truths(column(at)?).map_err(named);
        };
        let (mut fields, mut arrays) = (Vec::new(), Vec::new());
        for (at, own) in &self.places {
            let array: ArrayRef = without_nan(stand_for(column(*at)?, &own.stands_for)?);
            fields.push(Field::new(&own.name, array.data_type().clone(), true));
            arrays.push(array);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let rows =
            RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options)
                .map_err(|error| Bad {
                    row: 0,
                    why: error.to_string(),
                })?;
        match bound.truths(&rows) {
            Ok(holds) => Ok(holds),
            Err(error) => {
                // Which row it is, the rows say one by one.
                let bad = (0..rows.num_rows()).find_map(|row| {
                    let why = bound.truths(&rows.slice(row, 1)).err()?.to_string();
                    Some(Bad { row, why })
                });
                let bad = bad.unwrap_or(Bad {
                    row: 0,
                    why: error.to_string(),
                });
                let of = match self.places.as_slice() {
                    [(_, only)] => format!("column '{}'", only.name),
                    _ => format!("'{}'", self.name),
                };
                Err(Bad {
                    why: format!("{of}: {}", bad.why),
                    ..bad
                })
            }
        }
    }
}

/// A value that is not a number is a missing one, as pandas writes it.
fn without_nan(column: ArrayRef) -> ArrayRef {
    match column.as_primitive_opt::<Float64Type>() {
        Some(doubles) => {
            let some = |double: f64| (!double.is_nan()).then_some(double);
            Arc::new(doubles.unary_opt::<_, Float64Type>(some))
        }
        None => column,
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float64Array, StringArray};

    use super::*;

    fn holds(text: &str, columns: Vec<(&str, ArrayRef)>) -> Result<BooleanArray, Bad> {
        let own: Vec<Column> = columns
            .iter()
            .map(|(name, array)| Column {
                name: (*name).to_owned(),
                data_type: array.data_type().clone(),
                stands_for: array.data_type().clone(),
                whole: false,
                range: crate::store::format::schema::Range::default(),
            })
            .collect();
        let judge = text.parse::<Condition>().unwrap().bind(&own).unwrap();
        judge.holds(&RecordBatch::try_from_iter(columns).unwrap())
    }

    #[test]
    fn compares_numbers_texts_and_columns() {
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
            ("s>=1", [Some(true), Some(false), None, None]),
            ("s>0.5", [Some(true), Some(false), None, None]),
            ("s<=0.5", [Some(false), Some(true), None, None]),
            ("s<1", [Some(false), Some(true), None, None]),
            ("s==0.5", [Some(false), Some(true), None, None]),
        ] {
            for column in [&scores, &typed] {
                let holds = holds(text, vec![("s", Arc::clone(column))]).unwrap();
                assert_eq!(holds, BooleanArray::from(expected.to_vec()), "{text}");
            }
        }
        let column = |values: &[&str]| -> ArrayRef { Arc::new(StringArray::from(values.to_vec())) };
        let (one, other) = (column(&["A", "B", "A"]), column(&["A", "A", "B"]));
        let both = || vec![("pred", Arc::clone(&one)), ("answer", Arc::clone(&other))];
        let found = holds("pred==answer", both()).unwrap();
        assert_eq!(found, BooleanArray::from(vec![true, false, false]));
        let found = holds("pred==A", both()).unwrap();
        assert_eq!(found, BooleanArray::from(vec![true, false, true]));
        let bad = holds("pred>=1", both()).unwrap_err();
        assert_eq!(
            (bad.row, bad.why.as_str()),
            (0, "column 'pred': 'A' is not a number")
        );
    }
}
