//! A store, or a part of it, for other tools: as rows, or as the JSON database.
//!
//! ```
//! use evaltop::internals::formats::{Form, Output, export};
//! use evaltop::internals::store::Control;
//! use evaltop::internals::store::read::query::Filter;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # use evaltop::internals::store::write::writer::{Writer, WriterOptions};
//! # use evaltop::internals::store::{Record, Store};
//! # let folder = tempfile::tempdir()?;
//! # let store = Store::new(folder.path().join("my_store"));
//! # let mut writer = Writer::open(&store, WriterOptions::default())?;
//! # for model in ["large", "large", "small"] {
//! #     writer.append(Record { model: model.into(), success: Some(true), ..Record::default() })?;
//! # }
//! # writer.close()?;
//! let control = Control::default();
//! let large = Filter { models: vec!["large".to_owned()], ..Filter::default() };
//! let output = Output::file(&folder.path().join("large.csv"), &store.layout, false)?;
//! assert_eq!(export::rows(&store, &large, Form::Csv, &output, 2, &control)?, 2);
//! output.commit()?; // The file appears now, complete.
//!
//! let database = Output::file(&folder.path().join("database.json"), &store.layout, false)?;
//! export::tree(&store, &Filter::default(), &control)?.write(jiff::Timestamp::now(), &database)?;
//! database.commit()?;
//! # assert!(std::fs::read_to_string(folder.path().join("large.csv"))?.contains("large"));
//! # assert!(std::fs::read_to_string(folder.path().join("database.json"))?.contains("\"small\""));
//! # Ok(())
//! # }
//! ```

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::RecordBatch;

use super::{Form, Output, RowWriter, write_rows, writer};
use crate::store::read::query;
use crate::store::read::query::{Filter, Selection};
use crate::store::{Control, Result, Store};

mod document;
mod tree;

pub(crate) use document::{iso, rate_name};
pub use tree::{Extent, tree};
pub(crate) use tree::{Leaf, SCORES, beside_counts};

/// Rows that an estimate is judged by.
const JUDGED_BY: u64 = 8_192;

/// What an export of rows would write.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Estimate {
    /// Rows.
    pub rows: u64,
    /// Bytes, judged by the first rows.
    pub bytes: u64,
}

/// Writes the matching records, batch by batch, and returns their number. `rows`
/// is how many are expected, for the progress.
pub fn rows(
    store: &Store,
    filter: &Filter,
    form: Form,
    output: &Output,
    rows: u64,
    control: &Control,
) -> Result<u64> {
    let all = query::rows(store, &everything(filter), control)?;
    write_rows(form, all, output, |done| {
        control.progress("exporting", done, rows.max(done));
        control.check()
    })
}

/// How much [`rows`] would write. Reads one column of the matching rows, where only that
/// returns their number, and all columns of the first.
pub fn estimate(store: &Store, filter: &Filter, form: Form, control: &Control) -> Result<Estimate> {
    let count = Selection {
        columns: Some(vec!["model".to_owned()]),
        ..everything(filter)
    };
    let all = query::rows(store, &count, control)?;
    let rows = match all.expected() {
        Some(rows) => rows,
        None => all
            .through(|_| Ok(()))?
            .map(|step| Ok(step?.0))
            .sum::<Result<u64>>()?,
    };
    let first = Selection {
        limit: Some(JUDGED_BY),
        ..everything(filter)
    };
    let first = query::rows(store, &first, control)?.next().transpose()?;
    let bytes = first.map_or(Ok(0), |batch| scaled(&batch, form, rows))?;
    Ok(Estimate { rows, bytes })
}

fn everything(filter: &Filter) -> Selection {
    Selection {
        filter: filter.clone(),
        ..Selection::default()
    }
}

/// The size of `rows` rows like those of the batch.
fn scaled(batch: &RecordBatch, form: Form, rows: u64) -> Result<u64> {
    let counted = Counted::default();
    let mut writer: Box<dyn RowWriter> = writer(form, &batch.schema(), counted.clone())?;
    writer.write(batch)?;
    writer.finish()?;
    let bytes = counted.0.load(Ordering::Relaxed) as f64;
    Ok((bytes * rows as f64 / batch.num_rows().max(1) as f64) as u64)
}

/// Counts bytes and forgets them.
#[derive(Debug, Clone, Default)]
struct Counted(Arc<AtomicU64>);

impl Write for Counted {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.fetch_add(buf.len() as u64, Ordering::Relaxed);
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
