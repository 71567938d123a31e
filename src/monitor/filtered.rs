//! The tests that a condition leaves: the same figures as of the whole store, made from the rows.

use std::cell::RefCell;
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::figures;
use crate::expr::Expr;
use crate::observation::{ModelView, interval_of};
use crate::stats::history::History;
use crate::stats::interval::Interval;
use crate::stats::{Cells, Tally};
use crate::store::aggregate::{Digest, Reading};
use crate::store::read::query::{Filter, Selection, rows_chosen};
use crate::store::read::snapshot::Snapshot;
use crate::store::{Control, Error, Result, Store};
use crate::text::suggest::did_you_mean;

/// What a condition is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// A column and what its value has to be: `difficulty:hard`, `score:>0.5`.
    Terms(Vec<Term>),
    /// An expression of the grammar.
    Expression(String),
}

/// A column, how its value has to stand to the other one, and that one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// The column.
    pub column: String,
    /// `=`, `<`, `<=`, `>` or `>=`.
    pub sign: &'static str,
    /// The value as it was typed.
    pub value: String,
}

/// Columns by the names that people type.
const SHORT: [(&str, &str); 3] = [
    ("session", "session_id"),
    ("task", "task_id"),
    ("test", "test_id"),
];

impl Condition {
    /// The condition as the rows' filter takes it.
    fn bound(&self, schema: &SchemaRef) -> Result<Box<Expr>> {
        let text = match self {
            Self::Expression(text) => text.clone(),
            Self::Terms(terms) => {
                let terms: Result<Vec<String>> =
                    terms.iter().map(|term| term.expression(schema)).collect();
                terms?.join(" and ")
            }
        };
        let expression = text.parse::<Expr>();
        expression
            .map(Box::new)
            .map_err(|error| Error::Refused(error.to_string()))
    }
}

impl Term {
    fn expression(&self, schema: &SchemaRef) -> Result<String> {
        let known = |name: &str| schema.field_with_name(name).ok();
        let long = SHORT.iter().find(|(short, _)| *short == self.column);
        let field = known(&self.column)
            .or_else(|| long.and_then(|(_, long)| known(long)))
            .ok_or_else(|| {
                let names = schema.fields().iter().map(|field| field.name().as_str());
                let meant = did_you_mean(&self.column, names);
                Error::Refused(format!("there is no column '{}'{meant}", self.column))
            })?;
        let text = matches!(
            field.data_type(),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Dictionary(..)
        );
        let value = if text {
            format!("'{}'", self.value.replace('\'', "''"))
        } else {
            self.value.clone()
        };
        let name = format!("\"{}\"", field.name().replace('"', "\"\""));
        let name = if is_plain(field.name()) {
            field.name().clone()
        } else {
            name
        };
        Ok(format!("{name} {} {value}", self.sign))
    }
}

fn is_plain(name: &str) -> bool {
    name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// The figures of the tests that a condition leaves.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Filtered {
    /// The condition as an expression.
    pub expression: Option<Box<Expr>>,
    /// By model, sorted by name.
    pub models: Vec<ModelView>,
    /// Of all of them.
    pub totals: Tally,
    /// By cell.
    pub cells: Arc<Cells>,
    /// Over time.
    pub history: History,
}

impl Filtered {
    /// The 95 % interval of the success rate, as of an observation.
    pub fn interval(&self) -> Option<Interval> {
        interval_of(&self.models, &self.totals)
    }

    /// Reads the rows that fulfil a condition. Summary rows have no columns to be asked for.
    pub fn look(
        store: &Store,
        condition: &Condition,
        now: Timestamp,
        control: &Control,
    ) -> Result<Self> {
        let bound = RefCell::new(None);
        let choose = |schema: &SchemaRef, _: &TimeZone| {
            let expression = condition.bound(schema)?;
            bound.replace(Some(expression.clone()));
            Ok(Selection {
                filter: Filter {
                    condition: Some(expression),
                    ..Filter::default()
                },
                ..Selection::default()
            })
        };
        let mut digest = Digest::default();
        let rows = rows_chosen(store, &Filter::default(), false, &choose, control)?;
        let reading = Reading::of("rows", rows.schema(), &TimeZone::UTC, now)?;
        for batch in rows {
            digest.push(&batch?, &reading)?;
            digest.hashes.clear();
        }
        let mut snapshot = Snapshot::default();
        let mut cells = Cells::default();
        digest.add_settled(&mut cells);
        let mut activity = digest.activity;
        activity.settle();
        for model in activity.models.values() {
            snapshot.history.merge(&model.history);
        }
        snapshot.cells = Arc::new(cells);
        snapshot.models = activity.models;
        snapshot.clusters = digest.clusters;
        Ok(Self {
            expression: bound.into_inner(),
            ..figures::filtered(&snapshot, now)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::write::writer::{Writer, WriterOptions};
    use crate::store::{Record, Store};

    fn term(column: &str, sign: &'static str, value: &str) -> Term {
        Term {
            column: column.into(),
            sign,
            value: value.into(),
        }
    }

    #[test]
    fn any_column_and_any_expression_choose_tests() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().join("store"));
        let mut writer = Writer::open(&store, WriterOptions::default()).unwrap();
        for n in 0..20_i64 {
            let record = Record {
                model: if n < 10 { "a" } else { "b" }.into(),
                difficulty: Some(if n % 2 == 0 { "hard" } else { "easy" }.into()),
                session_id: Some(if n < 5 { "monday" } else { "tuesday" }.into()),
                success: Some(n % 4 == 0),
                score: Some(n as f64),
                ..Record::default()
            };
            writer.append(record).unwrap();
        }
        writer.close().unwrap();
        let tests = |condition: Condition| {
            let found = Filtered::look(&store, &condition, Timestamp::now(), &Control::default());
            found.map(|found| {
                let models = found.models.iter().map(|model| model.tally.tests).collect();
                (found.totals.tests, found.totals.full, models)
            })
        };
        let terms = |terms: &[Term]| tests(Condition::Terms(terms.to_vec()));
        assert_eq!(
            terms(&[term("difficulty", "=", "hard")]).unwrap(),
            (10, 5, vec![5, 5])
        );
        assert_eq!(
            terms(&[term("session", "=", "monday")]).unwrap(),
            (5, 2, vec![5])
        );
        assert_eq!(
            terms(&[term("difficulty", "=", "easy"), term("score", ">=", "15")]).unwrap(),
            (3, 0, vec![3])
        );
        let expression = Condition::Expression("score < 4 or session_id = 'none'".to_owned());
        assert_eq!(tests(expression).unwrap(), (4, 1, vec![4]));
        assert_eq!(
            terms(&[term("difficulty", "=", "x")]).unwrap(),
            (0, 0, vec![])
        );
        let error = terms(&[term("dificulty", "=", "x")])
            .unwrap_err()
            .to_string();
        assert!(error.contains("did you mean 'difficulty'"), "{error}");
        let wrong = Condition::Expression("score <".to_owned());
        assert!(tests(wrong).is_err());
    }
}
