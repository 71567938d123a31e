//! A table with one column per model as rows of one model each: the other columns
//! are repeated, `model` says which column a row comes from, and its value stands
//! under [`VALUE`], or under `success` when it alone is to say so.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray, UInt64Array};
use arrow::compute::{concat, take};
use arrow::datatypes::DataType;
use xxhash_rust::xxh3::Xxh3;

use super::convert;
use super::objects::Place;
use super::source::{Chunk, Column, Places, Source, batch};
use crate::store::format::schema::Range;
use crate::store::{Error, Result};

/// The column that holds what the models' columns held.
pub(crate) const VALUE: &str = "value";

/// A file with its models' columns turned into rows.
pub(crate) struct Unpivot {
    inner: Box<dyn Source>,
    /// Which columns of the file are models.
    models: Vec<usize>,
    /// The others, which each row repeats.
    others: Vec<usize>,
    columns: Vec<Column>,
    /// Whether the file names no task, so that its row is one.
    rows_are_tasks: bool,
}

impl Unpivot {
    /// Of a file whose columns `models` are models; the error ends a sentence that
    /// begins with the file's name. With `judged`, a condition on [`VALUE`] says
    /// about success; with `tasks`, the rows' tasks are named.
    pub(crate) fn new(
        inner: Box<dyn Source>,
        models: &[String],
        judged: bool,
        tasks: bool,
    ) -> std::result::Result<Self, String> {
        let own = inner.columns();
        let names = || {
            own.iter()
                .map(|column| column.name.as_str())
                .collect::<Vec<_>>()
                .join(", ")
        };
        let mut chosen = Vec::new();
        for name in models {
            let at = own.iter().position(|column| column.name == *name);
            let at = at
                .ok_or_else(|| format!("has no column '{name}' for a model, it has {}", names()))?;
            if !chosen.contains(&at) {
                chosen.push(at);
            }
        }
        let others: Vec<usize> = (0..own.len()).filter(|at| !chosen.contains(at)).collect();
        let rows_are_tasks = !tasks && !own.iter().any(|column| column.name == "task_id");
        let value = if judged { VALUE } else { "success" };
        let added = [
            Some("model"),
            Some(value),
            rows_are_tasks.then_some("task_id"),
        ];
        for name in added.into_iter().flatten() {
            if others
                .iter()
                .any(|at| own.get(*at).is_some_and(|column| column.name == name))
            {
                return Err(format!(
                    "has a column '{name}' already, next to those of the models"
                ));
            }
        }
        let text = |name: &str| Column {
            name: name.to_owned(),
            data_type: DataType::Utf8,
            stands_for: DataType::Utf8,
            whole: false,
            range: Range::default(),
        };
        let mut columns: Vec<Column> = others
            .iter()
            .filter_map(|at| own.get(*at).cloned())
            .collect();
        columns.push(text("model"));
        let values: Vec<_> = chosen.iter().filter_map(|at| own.get(*at)).collect();
        // As text every value of every column fits next to the others.
        let same = values.windows(2).all(|pair| match pair {
            [one, other] => one.data_type == other.data_type && one.stands_for == other.stands_for,
            _ => true,
        });
        columns.push(match values.first() {
            Some(first) if same => Column {
                name: value.to_owned(),
                whole: values.iter().all(|column| column.whole),
                range: values
                    .iter()
                    .fold(Range::default(), |all, column| all.and(column.range)),
                ..(*first).clone()
            },
            _ => text(value),
        });
        if rows_are_tasks {
            columns.push(text("task_id"));
        }
        Ok(Self {
            inner,
            models: chosen,
            others,
            columns,
            rows_are_tasks,
        })
    }

    fn chunk(&self, chunk: &Chunk) -> Result<Chunk> {
        let rows = chunk.batch.num_rows();
        let failed = |error: arrow::error::ArrowError| {
            Error::Refused(format!("the columns of the models can't be read: {error}"))
        };
        let column = |at: usize| chunk.batch.columns().get(at);
        let times = self.models.len();
        let repeat: UInt64Array = (0..times).flat_map(|_| 0..rows as u64).collect();
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(self.columns.len());
        for at in self.others.iter().filter_map(|at| column(*at)) {
            arrays.push(take(at, &repeat, None).map_err(failed)?);
        }
        let name = |at: &usize| {
            self.inner
                .columns()
                .get(*at)
                .map_or("", |column| column.name.as_str())
        };
        let names = self
            .models
            .iter()
            .flat_map(|at| std::iter::repeat_n(name(at), rows));
        arrays.push(Arc::new(StringArray::from_iter_values(names)));
        let as_text = self
            .columns
            .get(self.others.len() + 1)
            .is_some_and(|c| c.data_type == DataType::Utf8);
        let values = self
            .models
            .iter()
            .filter_map(|at| column(*at))
            .map(|array| {
                if !as_text {
                    return Ok(Arc::clone(array));
                }
                let texts = convert::texts(array).map(|texts| Arc::new(texts) as ArrayRef);
                texts.map_err(|bad| failed(arrow::error::ArrowError::CastError(bad.why)))
            });
        let values = values.collect::<Result<Vec<_>>>()?;
        let values: Vec<&dyn arrow::array::Array> = values.iter().map(AsRef::as_ref).collect();
        arrays.push(concat(&values).map_err(failed)?);
        if self.rows_are_tasks {
            let tasks = self.tasks(chunk)?;
            arrays.push(Arc::new(StringArray::from_iter_values(
                (0..times).flat_map(|_| tasks.iter()),
            )));
        }
        let places =
            (0..times).flat_map(|_| (0..rows).map(|row| Place::Named(chunk.places.of(row))));
        let places = Places::Each(places.collect());
        Ok(Chunk {
            batch: batch(&self.columns, arrays, rows * times)?,
            places,
            read: chunk.read,
            rejected: chunk.rejected.clone(),
        })
    }

    /// A name for the task of each row: the hash of what all models were given.
    fn tasks(&self, chunk: &Chunk) -> Result<Vec<String>> {
        let mut hashes: Vec<Xxh3> = (0..chunk.batch.num_rows()).map(|_| Xxh3::new()).collect();
        for at in &self.others {
            let Some(column) = chunk.batch.columns().get(*at) else {
                continue;
            };
            let texts = convert::texts(column).map_err(|bad| Error::Refused(bad.why))?;
            for (hash, text) in hashes.iter_mut().zip(&texts) {
                let text = text.unwrap_or_default();
                hash.update(&(text.len() as u64).to_le_bytes());
                hash.update(text.as_bytes());
            }
        }
        Ok(hashes
            .into_iter()
            .map(|hash| format!("{:016x}", hash.digest()))
            .collect())
    }
}

impl Source for Unpivot {
    fn columns(&self) -> &[Column] {
        &self.columns
    }

    fn size(&self) -> u64 {
        self.inner.size()
    }

    fn notes(&self) -> Vec<String> {
        self.inner.notes()
    }

    fn chunks(&self) -> Result<Box<dyn Iterator<Item = Result<Chunk>> + '_>> {
        Ok(Box::new(
            self.inner.chunks()?.map(|chunk| self.chunk(&chunk?)),
        ))
    }
}
