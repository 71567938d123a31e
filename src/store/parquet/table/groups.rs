//! Row groups, encoded in memory, column by column.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{FieldRef, SchemaRef};
use parquet::arrow::arrow_writer::{
    ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves,
};
use parquet::errors::ParquetError;

use super::{group_bytes, group_rows, parquet_error};
use crate::store::error::Result;
use crate::store::threads;

/// A row group whose bytes are in memory.
#[derive(Debug)]
pub(crate) struct Encoded {
    pub(crate) chunks: Vec<ArrowColumnChunk>,
}

/// Rows on their way into row groups, each of which is handed out when it is full.
#[derive(Debug)]
pub(crate) struct Groups {
    columns: Arc<Columns>,
    /// Rows and bytes of a full one.
    full: (usize, usize),
    /// The one that is not full yet.
    open: Option<Open>,
    /// How many were handed out.
    closed: usize,
}

/// How columns are encoded.
#[derive(Debug)]
pub(crate) struct Columns {
    schema: SchemaRef,
    /// For each leaf the number of its field.
    fields: Vec<usize>,
    factory: ArrowRowGroupWriterFactory,
    /// For messages.
    path: PathBuf,
}

#[derive(Debug)]
struct Open {
    rows: usize,
    /// By field, its leaves.
    writers: Vec<Vec<ArrowColumnWriter>>,
}

/// A part of the rows that goes into one row group.
struct Stretch {
    rows: Range<usize>,
    open: Open,
    full: bool,
    /// Of one that is full, once it is encoded.
    chunks: Vec<ArrowColumnChunk>,
}

/// To encode: number of the stretch and of the field, rows, whether the row group is full then,
/// leaves.
type Job = (usize, usize, Range<usize>, bool, Vec<ArrowColumnWriter>);

/// The leaves of a field with some rows more.
enum Leaves {
    Open(Vec<ArrowColumnWriter>),
    Closed(Vec<ArrowColumnChunk>),
}

impl Columns {
    pub(crate) fn new(
        schema: SchemaRef,
        fields: Vec<usize>,
        factory: ArrowRowGroupWriterFactory,
        path: &Path,
    ) -> Self {
        Self {
            schema,
            fields,
            factory,
            path: path.to_path_buf(),
        }
    }

    fn open(&self) -> Result<Open, ParquetError> {
        let mut writers: Vec<Vec<ArrowColumnWriter>> = Vec::new();
        writers.resize_with(self.schema.fields().len(), Vec::new);
        for (field, writer) in self
            .fields
            .iter()
            .zip(self.factory.create_column_writers(0)?)
        {
            if let Some(leaves) = writers.get_mut(*field) {
                leaves.push(writer);
            }
        }
        Ok(Open { rows: 0, writers })
    }
}

fn write(
    field: &FieldRef,
    leaves: &mut [ArrowColumnWriter],
    values: &ArrayRef,
) -> Result<(), ParquetError> {
    let parts = compute_leaves(field, values)?;
    leaves
        .iter_mut()
        .zip(&parts)
        .try_for_each(|(writer, leaf)| writer.write(leaf))
}

fn close(
    writers: impl IntoIterator<Item = ArrowColumnWriter>,
) -> Result<Vec<ArrowColumnChunk>, ParquetError> {
    writers.into_iter().map(ArrowColumnWriter::close).collect()
}

impl Open {
    fn bytes(&self) -> usize {
        self.writers
            .iter()
            .flatten()
            .map(ArrowColumnWriter::get_estimated_total_bytes)
            .sum()
    }

    fn close(self) -> Result<Encoded, ParquetError> {
        Ok(Encoded {
            chunks: close(self.writers.into_iter().flatten())?,
        })
    }
}

impl Groups {
    pub(crate) fn new(columns: Arc<Columns>) -> Self {
        Self {
            columns,
            full: (group_rows(), group_bytes()),
            open: None,
            closed: 0,
        }
    }

    /// Others with the same columns.
    pub(crate) fn emptied(&self) -> Self {
        Self {
            columns: self.columns.clone(),
            full: self.full,
            open: None,
            closed: 0,
        }
    }

    /// Adds rows, of which `column` says the values by the number of a field and a range of
    /// rows. Hands out what is full; returns the numbers of the row groups, each with the first
    /// of these rows that is not in it any more.
    pub(crate) fn add(
        &mut self,
        threads: usize,
        rows: usize,
        column: impl Fn(usize, Range<usize>) -> Result<ArrayRef> + Sync,
        out: &mut dyn FnMut(Encoded) -> Result<()>,
    ) -> Result<Vec<(usize, usize)>> {
        let columns = self.columns.clone();
        let failed = |error| parquet_error(&columns.path, error);
        let mut stretches = Vec::new();
        let mut start = 0;
        while start < rows {
            let open = self
                .open
                .take()
                .map_or_else(|| columns.open().map_err(failed), Ok)?;
            let end = rows.min(start + (self.full.0 - open.rows));
            let rows = open.rows + end - start;
            stretches.push(Stretch {
                rows: start..end,
                full: rows >= self.full.0,
                open: Open { rows, ..open },
                chunks: Vec::new(),
            });
            start = end;
        }
        let mut jobs = Vec::new();
        for (at, stretch) in stretches.iter_mut().enumerate() {
            let writers = std::mem::take(&mut stretch.open.writers);
            for (field, leaves) in writers.into_iter().enumerate() {
                jobs.push((at, field, stretch.rows.clone(), stretch.full, leaves));
            }
        }
        let encode = |(at, field, rows, full, mut leaves): Job| {
            let values = column(field, rows)?;
            if let Some(field) = columns.schema.fields().get(field) {
                write(field, &mut leaves, &values).map_err(failed)?;
            }
            // The last pages and the dictionary are encoded here.
            let leaves = if full {
                Leaves::Closed(close(leaves).map_err(failed)?)
            } else {
                Leaves::Open(leaves)
            };
            Ok((at, leaves))
        };
        // In the order of the row groups, and within them of the fields.
        for done in threads::each(threads, jobs, encode) {
            let (at, leaves) = done?;
            match (stretches.get_mut(at), leaves) {
                (Some(stretch), Leaves::Open(leaves)) => stretch.open.writers.push(leaves),
                (Some(stretch), Leaves::Closed(chunks)) => stretch.chunks.extend(chunks),
                (None, _) => {}
            }
        }
        let mut numbers = Vec::with_capacity(stretches.len());
        for stretch in stretches {
            numbers.push((self.closed, stretch.rows.end));
            if stretch.full {
                self.closed += 1;
                out(Encoded {
                    chunks: stretch.chunks,
                })?;
            } else if stretch.open.bytes() >= self.full.1 {
                self.closed += 1;
                out(stretch.open.close().map_err(failed)?)?;
            } else {
                self.open = Some(stretch.open);
            }
        }
        Ok(numbers)
    }

    /// Hands out the row group that is not full.
    pub(crate) fn close(&mut self) -> Result<Option<Encoded>> {
        let Some(open) = self.open.take() else {
            return Ok(None);
        };
        self.closed += 1;
        open.close()
            .map(Some)
            .map_err(|error| parquet_error(&self.columns.path, error))
    }
}
