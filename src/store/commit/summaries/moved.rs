//! Summary rows on their way out of main and out of increments, into the file beside
//! main. Rows of the same source that they continue go.

use std::collections::BTreeSet;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};

use super::compose::{Old, Part, refused, write};
use super::{open, read, source_of};
use crate::store::aggregate::summary;
use crate::store::commit::merge::filtered;
use crate::store::commit::pending_files::has_value;
use crate::store::error::Result;
use crate::store::format::commit_record::Summaries;
use crate::store::format::row_kind::{Shape, shape, split};
use crate::store::parquet::ParquetFile;
use crate::store::{Control, Store};

/// What moves in one commit.
#[derive(Debug, Default)]
pub(crate) struct Moved {
    sources: Vec<(String, Vec<RecordBatch>)>,
}

impl Moved {
    /// The summary rows of a file of the store, from a row on.
    pub(crate) fn take(
        &mut self,
        name: &str,
        file: &ParquetFile,
        skip: u64,
        control: &Control,
    ) -> Result<()> {
        if matches!(shape(file.schema()), Shape::Records | Shape::Neither) {
            return Ok(());
        }
        let mut rows = Vec::new();
        for batch in file.batches(None, skip)? {
            control.check()?;
            rows.extend(split(&batch?)?.summaries);
        }
        self.add(source_of(name), rows)
    }

    /// The rows of some sources in files next to main.
    pub(crate) fn take_sources(
        &mut self,
        files: &[ParquetFile],
        wanted: impl Fn(&str) -> bool,
        control: &Control,
    ) -> Result<()> {
        for file in files {
            let all = read(std::slice::from_ref(file), control)?;
            let sources: BTreeSet<&str> = all.sources().filter_map(|(_, source)| source).collect();
            for source in sources.into_iter().filter(|source| wanted(source)) {
                let rows = file
                    .rows_at(None, &all.of_source(source))?
                    .collect::<Result<_>>()?;
                self.add(source.to_owned(), rows)?;
            }
        }
        Ok(())
    }

    /// Rows of a source, of which some may continue those that are there.
    fn add(&mut self, source: String, rows: Vec<RecordBatch>) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let newer = counts(&rows)?;
        for (_, there) in self.sources.iter_mut().filter(|(of, _)| *of == source) {
            let older = counts(there)?;
            let losers = older.continued_in(&newer);
            let mut position = 0;
            for batch in there {
                let end = position + batch.num_rows() as u64;
                let keep = (position..end)
                    .map(|at| losers.binary_search(&at).is_err())
                    .collect();
                *batch = filtered(batch, keep)?;
                position = end;
            }
        }
        self.sources.push((source, filled(rows)?));
        Ok(())
    }

    /// Whether rows of this source move.
    pub(crate) fn has(&self, source: &str) -> bool {
        self.sources.iter().any(|(of, _)| of == source)
    }

    /// How many rows move.
    pub(crate) fn rows(&self) -> u64 {
        self.sources
            .iter()
            .flat_map(|(_, rows)| rows)
            .map(|batch| batch.num_rows() as u64)
            .sum()
    }

    /// Writes them next to those that `named` files hold; what the record is to name.
    pub(crate) fn write(
        self,
        store: &Store,
        named: &[Summaries],
        control: &Control,
    ) -> Result<Vec<Summaries>> {
        if self.sources.is_empty() {
            return Ok(named.to_vec());
        }
        let files = open(store, named)?;
        let old = read(&files, control)?;
        let mut losers = Vec::new();
        for (source, rows) in &self.sources {
            losers.extend(old.continued_by(source, &counts(rows)?));
        }
        losers.sort_unstable();
        losers.dedup();
        let losers: Vec<(u64, usize)> = losers.into_iter().map(|at| (at, usize::MAX)).collect();
        let parts = self.sources.into_iter().map(|(source, rows)| Part {
            source,
            schema: rows
                .first()
                .map_or_else(|| SchemaRef::new(Schema::empty()), RecordBatch::schema),
            rows: Box::new(rows.into_iter().map(Ok)),
            at: None,
        });
        let old = Old {
            files: &files,
            losers: &losers,
        };
        Ok(write(store, &old, parts.collect(), control)?.files)
    }
}

fn counts(rows: &[RecordBatch]) -> Result<summary::Summaries> {
    let mut all = summary::Summaries::default();
    for batch in rows {
        all.push(batch)?;
    }
    Ok(all)
}

/// Without the columns that have no value in any row: those of the records that the
/// rows shared a file with.
fn filled(rows: Vec<RecordBatch>) -> Result<Vec<RecordBatch>> {
    let Some(first) = rows.first() else {
        return Ok(rows);
    };
    let columns: Vec<usize> = (0..first.num_columns())
        .filter(|&at| {
            rows.iter().any(|batch| {
                batch
                    .columns()
                    .get(at)
                    .is_some_and(|column| has_value(column))
            })
        })
        .collect();
    rows.iter()
        .map(|batch| batch.project(&columns).map_err(refused))
        .collect()
}
