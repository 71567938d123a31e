//! Ids for rows that bring none: whatever is read of a file has the column `test_id`, filled.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::batches::Wanted;
use super::{Error, ParquetFile, Result};

/// The column.
pub(crate) const ID: &str = "test_id";

/// Knows the ids of the rows of one file.
pub trait Ids: fmt::Debug + Send + Sync {
    /// Whether the file, as it is stored, has a row without an id.
    ///
    /// # Errors
    /// The file can't be read.
    fn lacking(&self, file: &ParquetFile) -> Result<bool>;

    /// The ids of the rows of a batch with all columns, which are at these positions.
    ///
    /// # Errors
    /// The file can't be read, or its columns can't be converted.
    fn of(&self, file: &ParquetFile, batch: &RecordBatch, positions: &[u64]) -> Result<ArrayRef>;
}

/// The columns of a file, as they are read once its rows have ids.
pub(crate) fn with_ids(stored: &SchemaRef) -> SchemaRef {
    let id = || Arc::new(Field::new(ID, DataType::Utf8, true));
    let mut fields: Vec<_> = stored
        .fields()
        .iter()
        .map(|field| {
            if field.name() == ID {
                id()
            } else {
                Arc::clone(field)
            }
        })
        .collect();
    if stored.column_with_name(ID).is_none() {
        fields.push(id());
    }
    Arc::new(Schema::new_with_metadata(fields, stored.metadata().clone()))
}

/// Fills the ids of batches.
pub(crate) struct Filling {
    ids: Arc<dyn Ids>,
    /// What is returned; all columns are read.
    columns: SchemaRef,
    /// Where in the file the rows are that were not handed out yet.
    positions: Box<dyn Iterator<Item = u64> + Send>,
}

impl Filling {
    /// Of some columns of a file; `None` where its rows bring what is asked for.
    pub(crate) fn of(
        file: &ParquetFile,
        columns: Option<&[&str]>,
        groups: &[usize],
        wanted: &Wanted,
    ) -> Result<Option<Self>> {
        let asked = |name: &str| columns.is_none_or(|columns| columns.contains(&name));
        let Some(ids) = file.ids.as_ref().filter(|_| asked(ID)) else {
            return Ok(None);
        };
        if !ids.lacking(&file.as_stored())? {
            return Ok(None);
        }
        let fields = file
            .schema()
            .fields()
            .iter()
            .filter(|field| asked(field.name()));
        Ok(Some(Self {
            ids: Arc::clone(ids),
            columns: Arc::new(Schema::new(fields.cloned().collect::<Vec<_>>())),
            positions: positions(file, groups, wanted),
        }))
    }

    /// The batch that is handed out for one with all columns as they are stored.
    pub(crate) fn fill(&mut self, file: &ParquetFile, batch: &RecordBatch) -> Result<RecordBatch> {
        let rows = batch.num_rows();
        let positions: Vec<u64> = self.positions.by_ref().take(rows).collect();
        let ids = self.ids.of(&file.as_stored(), batch, &positions)?;
        let columns = self.columns.fields().iter().map(|field| {
            let stored = batch.column_by_name(field.name());
            let column = if field.name() == ID {
                Some(&ids)
            } else {
                stored
            };
            column
                .cloned()
                .ok_or_else(|| odd(file, "it lacks a column that its footer names"))
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(self.columns.clone(), columns, &options)
            .map_err(|error| odd(file, &error.to_string()))
    }
}

fn odd(file: &ParquetFile, why: &str) -> Error {
    Error::unreadable(&file.path, why)
}

/// Where the wanted rows of some row groups are in the file.
fn positions(
    file: &ParquetFile,
    groups: &[usize],
    wanted: &Wanted,
) -> Box<dyn Iterator<Item = u64> + Send> {
    let mut starts = vec![0_u64];
    for group in file.metadata().row_groups() {
        let rows = u64::try_from(group.num_rows()).unwrap_or_default();
        starts.push(starts.last().copied().unwrap_or_default() + rows);
    }
    let start = |group: usize| starts.get(group).copied().unwrap_or_default();
    let spans: Vec<_> = groups
        .iter()
        .map(|group| start(*group)..start(group + 1))
        .collect();
    let all = spans.into_iter().flatten();
    match wanted {
        // Those are of all row groups.
        Wanted::At(positions) => Box::new(positions.clone().into_iter()),
        Wanted::After(skip) => Box::new(all.skip(usize::try_from(*skip).unwrap_or(usize::MAX))),
        Wanted::Selected(selection) => {
            let parts: Vec<(usize, bool)> = selection
                .iter()
                .map(|part| (part.row_count, part.skip))
                .collect();
            let selected = parts
                .into_iter()
                .flat_map(|(rows, skip)| std::iter::repeat_n(!skip, rows));
            Box::new(
                all.zip(selected)
                    .filter(|(_, selected)| *selected)
                    .map(|(at, _)| at),
            )
        }
    }
}
