//! The rows of a file, batch by batch.

use std::sync::Arc;

use arrow::array::RecordBatch;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, RowSelection, RowSelector};
use parquet::arrow::{FieldLevels, ProjectionMask, parquet_to_arrow_field_levels};
use parquet::errors::ParquetError;

use super::ids::Filling;
use super::pages::{Meter, Pages};
use super::{BATCH_ROWS, ParquetFile, guarded, refused};
use crate::store::error::Result;

/// Which rows of the row groups are wanted.
#[derive(Debug)]
pub(crate) enum Wanted {
    /// All but the first so many.
    After(u64),
    /// Those at these positions: ascending, without repetition.
    At(Vec<u64>),
    /// Those of a selection.
    Selected(RowSelection),
}

/// A selection without the first so many of its rows.
fn after(selection: RowSelection, given: u64) -> RowSelection {
    let mut given = usize::try_from(given).unwrap_or(usize::MAX);
    let mut rest = Vec::new();
    for part in Vec::from(selection) {
        if part.skip {
            rest.push(part);
            continue;
        }
        let gone = part.row_count.min(given);
        given -= gone;
        rest.push(RowSelector::skip(gone));
        rest.push(RowSelector::select(part.row_count - gone));
    }
    rest.retain(|part| part.row_count > 0);
    rest.into()
}

/// Batches of a file. After an error there are no more.
pub struct Batches {
    inner: Option<ParquetRecordBatchReader>,
    file: ParquetFile,
    levels: FieldLevels,
    groups: Vec<usize>,
    wanted: Wanted,
    /// Rows that were handed out.
    given: u64,
    meter: Arc<Meter>,
    /// Gives ids to rows that have none.
    filling: Option<Filling>,
}

impl std::fmt::Debug for Batches {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batches")
            .field("path", &self.file.path)
            .finish_non_exhaustive()
    }
}

impl Batches {
    pub(crate) fn new(
        file: &ParquetFile,
        columns: Option<&[&str]>,
        groups: Vec<usize>,
        wanted: Wanted,
    ) -> Result<Self> {
        let parquet = file.metadata().file_metadata().schema_descr();
        let filling = Filling::of(file, columns, &groups, &wanted)?;
        // An id is made of all that its row says.
        let stored = columns.filter(|_| filling.is_none());
        let mask = stored.map_or_else(ProjectionMask::all, |columns| {
            let roots = file.stored.fields().iter().enumerate();
            let roots = roots.filter(|(_, field)| columns.contains(&field.name().as_str()));
            ProjectionMask::roots(parquet, roots.map(|(at, _)| at))
        });
        let levels =
            guarded(|| parquet_to_arrow_field_levels(parquet, mask, Some(file.stored.fields())))
                .map_err(|error| refused(&file.path, &error))?;
        let rows = BATCH_ROWS.min(file.batch_rows);
        let meter = Arc::new(Meter::new(rows));
        let mut batches = Self {
            inner: None,
            file: file.clone(),
            levels,
            groups,
            wanted,
            given: 0,
            meter,
            filling,
        };
        let reader = batches
            .reader()
            .map_err(|error| refused(&file.path, &error))?;
        batches.inner = Some(reader);
        Ok(batches)
    }

    /// A reader of the rows that were not handed out yet.
    fn reader(&self) -> Result<ParquetRecordBatchReader, ParquetError> {
        let pages = Pages::of(&self.file, self.groups.clone(), self.meter.clone());
        guarded(|| {
            let all = parquet::arrow::arrow_reader::RowGroups::num_rows(&pages);
            let at = |position: u64| usize::try_from(position).unwrap_or(usize::MAX);
            let selection = match &self.wanted {
                Wanted::After(0) if self.given == 0 => None,
                Wanted::After(skip) => {
                    let start = at(skip.saturating_add(self.given)).min(all);
                    Some(RowSelection::from_consecutive_ranges(
                        std::iter::once(start..all),
                        all,
                    ))
                }
                Wanted::Selected(selection) if self.given == 0 => Some(selection.clone()),
                Wanted::Selected(selection) => Some(after(selection.clone(), self.given)),
                Wanted::At(positions) => {
                    let rest = positions.get(at(self.given)..).unwrap_or_default();
                    let ranges = rest.iter().map(|position| at(*position)..at(*position) + 1);
                    Some(RowSelection::from_consecutive_ranges(ranges, all))
                }
            };
            let rows = self.meter.rows().min(all);
            ParquetRecordBatchReader::try_new_with_row_groups(&self.levels, &pages, rows, selection)
        })
    }
}

impl Iterator for Batches {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let mut inner = self.inner.take()?;
            self.meter.begin();
            let step = guarded(|| inner.next().transpose().map_err(ParquetError::from));
            let error = match step {
                Ok(None) => return None,
                Ok(Some(batch)) => {
                    self.given += batch.num_rows() as u64;
                    let batch = match &mut self.filling {
                        Some(filling) => filling.fill(&self.file, &batch),
                        None => Ok(batch),
                    };
                    self.inner = Some(inner).filter(|_| batch.is_ok());
                    return Some(batch);
                }
                Err(_) if self.meter.shrink() => match self.reader() {
                    Ok(smaller) => {
                        self.inner = Some(smaller);
                        continue;
                    }
                    Err(error) => error,
                },
                Err(error) => error,
            };
            return Some(Err(refused(&self.file.path, &error)));
        }
    }
}
