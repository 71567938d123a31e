//! Which columns of a record come from which columns of a foreign file.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use jiff::tz::TimeZone;
use xxhash_rust::xxh3::xxh3_128;

use super::condition::Condition;
use super::convert::{self, Bad};
use super::source::{Column, stand_for};
use crate::config::did_you_mean;
use crate::store::digest::is_id;
use crate::store::schema::{CANONICAL, Kind, kind_of};

/// What the user said about the columns.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Mapping {
    /// `(column, source)`: take a record's column from another one.
    pub columns: Vec<(String, String)>,
    /// When a row is a full success.
    pub success: Option<Condition>,
    /// When a row is a partial success.
    pub partial: Option<Condition>,
}

impl Mapping {
    /// From `column=source` texts and conditions as they are typed.
    pub fn parse(
        maps: &[String],
        success: Option<&str>,
        partial: Option<&str>,
    ) -> Result<Self, String> {
        let mut columns: Vec<(String, String)> = Vec::new();
        for map in maps {
            let (column, source) = map
                .split_once('=')
                .map(|(column, source)| (column.trim(), source.trim()))
                .filter(|(column, source)| !column.is_empty() && !source.is_empty())
                .ok_or_else(|| {
                    format!("--map '{map}' is not column=source, like model=model_name")
                })?;
            if kind_of(column).is_none() {
                let known: Vec<_> = CANONICAL.iter().map(|(name, _)| *name).collect();
                return Err(format!(
                    "--map {map}: a record has no column '{column}', it has {}; \
                     other columns of the file are kept under their own names",
                    known.join(", ")
                ));
            }
            if columns.iter().any(|(other, _)| other == column) {
                return Err(format!("--map gives the column '{column}' twice"));
            }
            columns.push((column.to_owned(), source.to_owned()));
        }
        for (column, flag, condition) in [
            ("success", "--success-from", success),
            ("partial_success", "--partial-from", partial),
        ] {
            if condition.is_some() && columns.iter().any(|(other, _)| other == column) {
                return Err(format!(
                    "--map {column}=… and {flag} both say when a row is one: use either"
                ));
            }
        }
        let condition = |text: Option<&str>| text.map(str::parse).transpose();
        Ok(Self {
            columns,
            success: condition(success)?,
            partial: condition(partial)?,
        })
    }
}

/// Where each column of the records comes from, for one file.
#[derive(Debug)]
pub(super) struct Plan {
    taken: Vec<Taken>,
    success: (usize, Condition),
    partial: Option<(usize, Condition)>,
    /// Columns kept as they are: place in the file, name.
    extra: Vec<(usize, String)>,
    columns: Vec<Column>,
    /// The file's columns by name: the order in which a row is hashed.
    by_name: Vec<usize>,
}

#[derive(Debug)]
struct Taken {
    name: &'static str,
    kind: Kind,
    from: usize,
}

impl Plan {
    /// Fits a mapping to a file's columns. The error is the end of a sentence that
    /// begins with the file's name.
    pub(super) fn new(mapping: &Mapping, columns: &[Column]) -> Result<Self, String> {
        let there_are = || {
            columns
                .iter()
                .map(|c| c.name.as_str())
                .collect::<Vec<_>>()
                .join(", ")
        };
        let find = |name: &str| {
            columns
                .iter()
                .position(|column| column.name == name)
                .ok_or_else(|| {
                    let meant =
                        did_you_mean(name, columns.iter().map(|column| column.name.as_str()));
                    format!("has no column '{name}'{meant}, it has {}", there_are())
                })
        };
        let condition = |condition: &Condition| -> Result<_, String> {
            let at = find(&condition.column)?;
            let data_type = columns
                .get(at)
                .map_or(DataType::Null, |column| column.data_type.clone());
            if !condition.fits(&data_type) {
                return Err(format!(
                    "'{}' is {data_type}, which is no condition",
                    condition.column
                ));
            }
            Ok((at, condition.clone()))
        };
        let mut taken = Vec::new();
        for (name, kind) in CANONICAL {
            let mapped = mapping.columns.iter().find(|(column, _)| column == name);
            let from = match mapped {
                Some((_, source)) => Some(find(source)?),
                None => columns.iter().position(|column| column.name == name),
            };
            if let Some(from) = from {
                taken.push(Taken { name, kind, from });
            }
        }
        let own = |name: &str| {
            taken
                .iter()
                .find(|taken| taken.name == name)
                .map(|taken| taken.from)
        };
        let itself = |at: usize| {
            columns
                .get(at)
                .map(|column| (at, Condition::truth(&column.name)))
        };
        let success = match &mapping.success {
            Some(success) => condition(success)?,
            None => own("success").and_then(itself).ok_or_else(|| {
                format!(
                    "does not say which rows are successes: give --success-from 'column>=number' \
                     or a boolean column{}; it has {}",
                    if own("model").is_some() {
                        ""
                    } else {
                        ", or --models-in-columns where each model has a column"
                    },
                    there_are()
                )
            })?,
        };
        let partial = match &mapping.partial {
            Some(partial) => Some(condition(partial)?),
            None => own("partial_success").and_then(itself),
        };
        if own("model").is_none() {
            return Err(format!(
                "does not say the model: give --map model=column, or --models-in-columns where each model has \
                 a column; it has {}",
                there_are()
            ));
        }
        taken.retain(|taken| !matches!(taken.name, "success" | "partial_success"));
        let extra = columns
            .iter()
            .enumerate()
            .filter(|(at, column)| {
                let used = taken.iter().any(|taken| taken.from == *at);
                let renamed = mapping
                    .columns
                    .iter()
                    .any(|(_, source)| *source == column.name);
                let itself = [&Some(&success), &partial.as_ref()]
                    .into_iter()
                    .flatten()
                    .any(|(from, _)| from == at && kind_of(&column.name).is_some());
                !used && !renamed && !itself
            })
            // A name that the record has from elsewhere would hide one of the two.
            .map(|(at, column)| match kind_of(&column.name) {
                Some(_) => (at, format!("source_{}", column.name)),
                None => (at, column.name.clone()),
            })
            .collect();
        let mut by_name: Vec<usize> = (0..columns.len()).collect();
        by_name.sort_by_key(|at| columns.get(*at).map(|column| column.name.clone()));
        Ok(Self {
            taken,
            success,
            partial,
            extra,
            columns: columns.to_vec(),
            by_name,
        })
    }

    /// What comes from where, for people: `model`, `task_type=category`, …
    pub(super) fn describe(&self) -> Vec<String> {
        let name = |at: usize| {
            self.columns
                .get(at)
                .map_or("", |column| column.name.as_str())
        };
        let taken = self.taken.iter().map(|taken| match name(taken.from) {
            own if own == taken.name => own.to_owned(),
            other => format!("{}={other}", taken.name),
        });
        taken.collect()
    }

    /// Names of the columns that are kept beyond those of a record.
    pub(super) fn extra(&self) -> Vec<String> {
        self.extra.iter().map(|(_, name)| name.clone()).collect()
    }

    /// The columns of every batch that [`Plan::apply`] makes.
    pub(super) fn schema(&self) -> SchemaRef {
        let nullable = |name: &str, data_type| Field::new(name, data_type, true);
        let whole = |at: usize| self.columns.get(at).is_some_and(|column| column.whole);
        let mut fields = vec![
            nullable("test_id", DataType::Utf8),
            nullable("success", DataType::Boolean),
        ];
        fields.extend(
            self.partial
                .iter()
                .map(|_| nullable("partial_success", DataType::Boolean)),
        );
        fields.extend(
            self.taken
                .iter()
                .filter(|taken| taken.name != "test_id")
                .map(|taken| {
                    let data_type = match taken.kind {
                        Kind::Int if !whole(taken.from) => DataType::Float64,
                        kind => kind.data_type(),
                    };
                    nullable(taken.name, data_type)
                }),
        );
        fields.extend(self.extra.iter().map(|(at, name)| {
            let data_type = self
                .columns
                .get(*at)
                .map_or(DataType::Null, |column| column.stands_for.clone());
            nullable(name, data_type)
        }));
        Arc::new(Schema::new(fields))
    }

    /// Rows of the file as rows of records.
    pub(super) fn apply(&self, batch: &RecordBatch, zone: &TimeZone) -> Result<RecordBatch, Bad> {
        let column = |at: usize| {
            batch.columns().get(at).ok_or_else(|| Bad {
                row: 0,
                why: "a column is missing".to_owned(),
            })
        };
        let named = |at: usize| {
            let name = self
                .columns
                .get(at)
                .map_or_else(String::new, |column| column.name.clone());
            move |bad: Bad| Bad {
                why: format!("column '{name}': {}", bad.why),
                ..bad
            }
        };
        let holds = |(at, condition): &(usize, Condition)| {
            condition.holds(column(*at)?).map_err(named(*at))
        };
        let success = holds(&self.success)?;
        if let Some(row) = (0..success.len()).find(|row| success.is_null(*row)) {
            return Err(named(self.success.0)(Bad {
                row,
                why: "empty, neither true nor false".to_owned(),
            }));
        }
        let mut columns: Vec<ArrayRef> =
            vec![Arc::new(self.ids(batch)?), Arc::new(success.clone())];
        if let Some(partial) = &self.partial {
            let partial = holds(partial)?;
            let beside = partial.iter().zip(&success);
            let beside =
                beside.map(|(partial, full)| partial.map(|partial| partial && full != Some(true)));
            columns.push(Arc::new(beside.collect::<BooleanArray>()));
        }
        for taken in self.taken.iter().filter(|taken| taken.name != "test_id") {
            let whole = self
                .columns
                .get(taken.from)
                .is_some_and(|column| column.whole);
            let values = convert::canonical(column(taken.from)?, taken.kind, whole, zone);
            let values = values.map_err(named(taken.from))?;
            if taken.name == "model" {
                present(&values).map_err(named(taken.from))?;
            }
            columns.push(values);
        }
        for (at, _) in &self.extra {
            let stands_for = self
                .columns
                .get(*at)
                .map_or(&DataType::Null, |column| &column.stands_for);
            columns.push(stand_for(column(*at)?, stands_for).map_err(named(*at))?);
        }
        RecordBatch::try_new(self.schema(), columns).map_err(|error| Bad {
            row: 0,
            why: format!("the rows can't be taken in ({error})"),
        })
    }

    /// The ids of the rows: mapped ones, and the hash of the whole row where there
    /// is none, so that a second import of the same row is the same test.
    fn ids(&self, batch: &RecordBatch) -> Result<StringArray, Bad> {
        let mapped = self.taken.iter().find(|taken| taken.name == "test_id");
        let mapped = mapped
            .and_then(|taken| batch.columns().get(taken.from))
            .map(convert::texts)
            .transpose()?;
        let has_id = |row: usize| {
            let ids = mapped.as_ref()?;
            (ids.is_valid(row) && is_id(ids.value(row).trim())).then(|| ids.value(row).trim())
        };
        if (0..batch.num_rows()).all(|row| has_id(row).is_some()) {
            return Ok((0..batch.num_rows()).map(has_id).collect());
        }
        let hashes = self.hashes(batch)?;
        Ok((0..batch.num_rows())
            .map(|row| {
                has_id(row)
                    .map(str::to_owned)
                    .or_else(|| hashes.get(row).map(|h| format!("{h:032x}")))
            })
            .collect())
    }

    /// xxh3-128 of each whole row: names and values of the columns that have one,
    /// by name, each with its length in front. Neither the order of the columns nor
    /// the types that they are stored in matter.
    fn hashes(&self, batch: &RecordBatch) -> Result<Vec<u128>, Bad> {
        let mut texts = Vec::with_capacity(self.by_name.len());
        for at in &self.by_name {
            let (Some(own), Some(column)) = (self.columns.get(*at), batch.columns().get(*at))
            else {
                continue;
            };
            texts.push((own.name.as_bytes(), convert::texts(column)?));
        }
        let mut bytes = Vec::new();
        let hash = |row: usize| {
            bytes.clear();
            for (name, values) in texts.iter().filter(|(_, values)| values.is_valid(row)) {
                for part in [*name, values.value(row).as_bytes()] {
                    bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
                    bytes.extend_from_slice(part);
                }
            }
            xxh3_128(&bytes)
        };
        Ok((0..batch.num_rows()).map(hash).collect())
    }
}

/// Every row must have a text here.
fn present(column: &ArrayRef) -> Result<(), Bad> {
    let texts = convert::texts(column)?;
    let missing = |row: &usize| texts.is_null(*row) || texts.value(*row).trim().is_empty();
    match (0..texts.len()).find(missing) {
        Some(row) => Err(Bad {
            row,
            why: "empty, but every test has a model".to_owned(),
        }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float64Array, Int64Array};

    use super::*;

    fn column(name: &str, array: &ArrayRef) -> Column {
        let data_type = array.data_type().clone();
        Column {
            name: name.to_owned(),
            stands_for: data_type.clone(),
            data_type,
            whole: false,
        }
    }

    fn batch() -> (Vec<Column>, RecordBatch) {
        let arrays: Vec<(&str, ArrayRef)> = vec![
            ("model", Arc::new(StringArray::from(vec!["a", "b"]))),
            (
                "category",
                Arc::new(StringArray::from(vec!["math", "code"])),
            ),
            ("score", Arc::new(Float64Array::from(vec![1.0, 0.5]))),
            ("question", Arc::new(Int64Array::from(vec![Some(7), None]))),
        ];
        let columns = arrays
            .iter()
            .map(|(name, array)| column(name, array))
            .collect();
        (columns, RecordBatch::try_from_iter(arrays).unwrap())
    }

    fn plan(maps: &[&str], success: Option<&str>) -> Result<Plan, String> {
        let maps: Vec<_> = maps.iter().map(|map| (*map).to_owned()).collect();
        Plan::new(&Mapping::parse(&maps, success, None)?, &batch().0)
    }

    #[test]
    fn takes_renames_and_keeps() {
        let plan = plan(
            &["task_type=category", "test_id=question"],
            Some("score>=1"),
        )
        .unwrap();
        let rows = plan.apply(&batch().1, &TimeZone::UTC).unwrap();
        let schema = rows.schema();
        let names: Vec<_> = schema.fields().iter().map(|f| f.name().as_str()).collect();
        assert_eq!(names, ["test_id", "success", "model", "task_type", "score"]);
        let ids = convert::texts(rows.column(0)).unwrap();
        assert_eq!(ids.value(0), "7");
        assert_eq!(
            ids.value(1).len(),
            32,
            "without an id of its own the row is its id"
        );
        assert_eq!(
            rows.column(1).as_ref(),
            &BooleanArray::from(vec![true, false])
        );
    }

    #[test]
    fn the_id_of_a_row_depends_on_its_values_only() {
        let (columns, rows) = batch();
        let ids = |columns: &[Column], rows: &RecordBatch| {
            let mapping = Mapping::parse(&[], Some("score>=1"), None).unwrap();
            Plan::new(&mapping, columns).unwrap().ids(rows).unwrap()
        };
        let one = ids(&columns, &rows);
        assert_ne!(one.value(0), one.value(1));
        let order = [3, 1, 0, 2];
        let shuffled: Vec<_> = order.iter().map(|at| columns[*at].clone()).collect();
        assert_eq!(one, ids(&shuffled, &rows.project(&order).unwrap()));
        assert_eq!(one.slice(1, 1), ids(&columns, &rows.slice(1, 1)));
    }

    #[test]
    fn wrong_maps_say_which_columns_there_are() {
        for (maps, success, said) in [
            (
                &["task_type=topic"][..],
                Some("score>=1"),
                "it has model, category, score, question",
            ),
            (
                &["modle=model"],
                Some("score>=1"),
                "a record has no column 'modle', it has test_id, model",
            ),
            (&["model"], Some("score>=1"), "not column=source"),
            (
                &["task_id=question", "task_id=category"],
                Some("score>=1"),
                "twice",
            ),
            (&[], None, "does not say which rows are successes"),
            (
                &[],
                Some("reward>=1"),
                "has no column 'reward', it has model, category",
            ),
            (&["success=score"], Some("score>=1"), "use either"),
        ] {
            let error = plan(maps, success).unwrap_err();
            assert!(error.contains(said), "{maps:?}: {error}");
        }
    }

    #[test]
    fn a_name_taken_from_elsewhere_hides_nothing() {
        let plan = plan(&["model=category"], Some("score>=1")).unwrap();
        assert_eq!(plan.extra(), ["source_model", "score", "question"]);
        assert_eq!(plan.describe(), ["model=category"]);
    }
}
