//! Main's rows tallied where main does not say, on all cores.

use std::sync::atomic::{AtomicUsize, Ordering};

use parquet::arrow::arrow_reader::RowSelection;

use super::scan_context::{TEXTS, as_read};
use crate::store::aggregate::{Digest, Reading};
use crate::store::error::Result;
use crate::store::parquet::ParquetFile;
use crate::store::{Control, threads};

/// Rows that a thread reads before it takes the next ones.
const ROWS: usize = 131_072;

/// Some rows of one row group.
struct Stretch {
    group: usize,
    rows: RowSelection,
    /// The first one's position in the file.
    position: u64,
}

fn stretches(file: &ParquetFile) -> Vec<Stretch> {
    let (mut all, mut position) = (Vec::new(), 0);
    for (group, of) in file.metadata().row_groups().iter().enumerate() {
        let rows = usize::try_from(of.num_rows()).unwrap_or(0);
        for start in (0..rows).step_by(ROWS) {
            let range = start..rows.min(start + ROWS);
            let rows_of = RowSelection::from_consecutive_ranges(std::iter::once(range), rows);
            all.push(Stretch {
                group,
                rows: rows_of,
                position: position + start as u64,
            });
        }
        position += rows as u64;
    }
    all
}

/// Takes in all rows of a file by these of its columns.
pub(crate) fn tally(
    file: &ParquetFile,
    columns: &[&str],
    reading: &Reading,
    control: &Control,
) -> Result<Digest> {
    let file = file.with_dictionaries(&file.keyed(&TEXTS));
    let reading = Reading {
        target: as_read(&reading.target, file.schema()),
        ..reading.clone()
    };
    let (stretches, next) = (stretches(&file), AtomicUsize::new(0));
    let work = || -> Result<Digest> {
        let mut digest = Digest::default();
        while let Some(stretch) = stretches.get(next.fetch_add(1, Ordering::Relaxed)) {
            digest.position = stretch.position;
            for batch in file.selected(Some(columns), stretch.group, stretch.rows.clone())? {
                control.check()?;
                digest.push(&batch?, &reading)?;
            }
            control.progress("reading main", digest.position, file.rows());
        }
        digest.hashes.sort_unstable();
        Ok(digest)
    };
    let cores = threads::cores().min(stretches.len());
    let mut parts = threads::together(cores, work).into_iter();
    let mut all = parts.next().unwrap_or_else(|| Ok(Digest::default()))?;
    for part in parts {
        let part = part?;
        all.merge(&part);
        all.hashes.extend_from_slice(&part.hashes);
    }
    all.position = file.rows();
    Ok(all)
}
