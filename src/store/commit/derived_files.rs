//! `model_stats.parquet` and `metadata.json`: derived from main for tools that want
//! totals without reading it. Any reader can live without them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufWriter};
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray, UInt64Array};
use arrow::datatypes::SchemaRef;
use jiff::Timestamp;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use crate::stats::{Cell, Cells, Rate, Tally};
use crate::store::aggregate::{Digest, Keep, Reading};
use crate::store::commit::base::Base;
use crate::store::commit::summaries;
use crate::store::disk::lock::StoreLock;
use crate::store::error::{Error, Result};
use crate::store::format::commit_record::Summaries;
use crate::store::format::layout::{MAIN, METADATA, MODEL_STATS};
use crate::store::format::schema;
use crate::store::parquet::table::TableWriter;
use crate::store::{Control, Store};

/// What a commit left in main.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    /// Number of the commit.
    pub(crate) generation: u64,
    /// When it was made.
    pub(crate) created: Timestamp,
    /// Rows of main.
    pub(crate) rows: u64,
    /// Tallies of main.
    pub(crate) cells: Cells,
    /// Columns of main.
    pub(crate) schema: SchemaRef,
    /// Files of summary rows, which count too.
    pub(crate) summaries: Vec<Summaries>,
}

/// Reads main and writes both files again.
pub fn rebuild(store: &Store, now: Timestamp, control: &Control) -> Result<()> {
    let _lock = StoreLock::take(store, "rebuild", control)?;
    let base = Base::open(store, true)?;
    let mut cells = Cells::default();
    let columns = match &base.main {
        None => schema::canonical(),
        Some(main) => {
            let mut reading = Reading::of(MAIN, main.schema(), &base.zone(store), now)?;
            reading.keep = Keep::Hashes;
            let mut digest = Digest::default();
            for batch in main.batches(None, 0)? {
                control.check()?;
                digest.push(&batch?, &reading)?;
            }
            digest.add_settled(&mut cells);
            main.schema().clone()
        }
    };
    let created = base.record.as_ref().map_or(now, |record| record.created);
    let summaries = base
        .record
        .as_ref()
        .map_or_else(Vec::new, |record| record.summaries.clone());
    let (generation, rows) = (base.generation, base.rows());
    let source = Source {
        generation,
        created,
        rows,
        cells,
        schema: columns,
        summaries,
    };
    write(store, &source)
}

/// Writes both files, each replaced as a whole. The caller holds the store's lock.
pub(crate) fn write(store: &Store, source: &Source) -> Result<()> {
    let mut seen = Seen::default();
    for (cell, tally) in source.cells.iter() {
        seen.add(cell, tally);
    }
    summaries::each(store, &source.summaries, |cell, tally| {
        seen.add(&cell, &tally);
    })?;
    let stats = model_stats(&seen.models)?;
    replace(store, MODEL_STATS, |file, path| {
        let mut table = TableWriter::new(file, path, &stats.schema())?;
        table.write(&stats)?;
        table.key_value("evaltop.generation", source.generation.to_string());
        table.finish().map(drop)
    })?;
    replace(store, METADATA, |file, path| {
        let mut file = BufWriter::with_capacity(1 << 20, file);
        let written =
            serde_json::to_writer(&mut file, &metadata(source, &seen)).map_err(io::Error::from);
        let file = written.and_then(|()| Ok(file.into_inner()?));
        file.and_then(|mut file| file.sync())
            .map_err(Error::io("write", path))
    })
}

fn replace(
    store: &Store,
    name: &str,
    write: impl FnOnce(Box<dyn crate::store::disk::WriteFile>, &std::path::Path) -> Result<()>,
) -> Result<()> {
    let (root, disk) = (store.layout.root(), &store.disk);
    let temporary = format!(".{name}.tmp");
    let path = root.join(&temporary);
    disk.remove(root, &[&temporary])
        .map_err(Error::io("clean up", root))?;
    let file = disk.create(&path).map_err(Error::io("create", &path))?;
    let written = write(file, &path).and_then(|()| {
        disk.replace(&path, &root.join(name))
            .map_err(Error::io("replace", root.join(name)))
    });
    if written.is_err() {
        let _ = disk.remove(root, &[&temporary]);
    }
    written
}

/// What the two files speak of the cells.
#[derive(Debug, Default)]
struct Seen {
    models: BTreeMap<Arc<str>, Tally>,
    prompt_types: BTreeSet<Arc<str>>,
    rates: BTreeSet<Rate>,
    difficulties: BTreeSet<Arc<str>>,
    task_types: BTreeSet<Arc<str>>,
}

impl Seen {
    fn add(&mut self, cell: &Cell, tally: &Tally) {
        match self.models.get_mut(&cell.model) {
            Some(sum) => sum.add(tally),
            None => drop(self.models.insert(cell.model.clone(), tally.clone())),
        }
        let texts = [
            (&mut self.prompt_types, &cell.prompt_type),
            (&mut self.difficulties, &cell.difficulty),
            (&mut self.task_types, &cell.task_type),
        ];
        for (seen, text) in texts {
            if !seen.contains(text) {
                seen.insert(text.clone());
            }
        }
        self.rates.extend(cell.tool_success_rate);
    }
}

fn model_stats(models: &BTreeMap<Arc<str>, Tally>) -> Result<RecordBatch> {
    let count = |get: fn(&Tally) -> u64| -> ArrayRef {
        Arc::new(models.values().map(get).collect::<UInt64Array>())
    };
    let number = |get: fn(&Tally) -> Option<f64>| -> ArrayRef {
        Arc::new(models.values().map(get).collect::<Float64Array>())
    };
    let columns: Vec<(&str, ArrayRef)> = vec![
        (
            "model",
            Arc::new(StringArray::from_iter_values(
                models.keys().map(|model| &**model),
            )),
        ),
        ("tests", count(|t| t.tests)),
        ("success", count(|t| t.full)),
        ("partial", count(|t| t.partial)),
        ("failed", count(Tally::failed)),
        ("unscored", count(|t| t.unscored)),
        ("infrastructure", count(Tally::infrastructure)),
        ("success_rate", number(Tally::success_rate)),
        ("scored_rate", number(Tally::scored_rate)),
        ("mean_execution_time", number(|t| t.execution_time.mean())),
        ("mean_turns", number(|t| t.turns.mean())),
        ("mean_tool_calls", number(|t| t.tool_calls.mean())),
        (
            "mean_tool_coverage_rate",
            number(|t| t.tool_coverage_rate.mean()),
        ),
    ];
    RecordBatch::try_from_iter(columns)
        .map_err(|error| Error::Refused(format!("{MODEL_STATS} can't be made: {error}")))
}

fn totals(tally: &Tally) -> Value {
    json!({
        "tests": tally.tests, "success": tally.full, "partial": tally.partial, "failed": tally.failed(),
        "unscored": tally.unscored, "infrastructure": tally.infrastructure(),
        "success_rate": tally.success_rate(), "scored_rate": tally.scored_rate(),
    })
}

/// `metadata.json`. Written model by model, because there may be very many.
#[derive(Serialize)]
struct Metadata<'a> {
    schema_version: u32,
    generation: u64,
    last_updated: String,
    rows: u64,
    totals: Value,
    #[serde(serialize_with = "by_model")]
    models: &'a BTreeMap<Arc<str>, Tally>,
    dimensions: Value,
    schema: Value,
}

fn by_model<S: Serializer>(models: &BTreeMap<Arc<str>, Tally>, to: S) -> Result<S::Ok, S::Error> {
    to.collect_map(
        models
            .iter()
            .map(|(model, tally)| (&**model, totals(tally))),
    )
}

fn metadata<'a>(source: &Source, seen: &'a Seen) -> Metadata<'a> {
    let mut all = Tally::default();
    for tally in seen.models.values() {
        all.add(tally);
    }
    let texts =
        |seen: &BTreeSet<Arc<str>>| seen.iter().map(|text| json!(**text)).collect::<Value>();
    let columns = source.schema.fields().iter();
    Metadata {
        schema_version: 1,
        generation: source.generation,
        last_updated: source.created.to_string(),
        rows: source.rows,
        totals: totals(&all),
        models: &seen.models,
        dimensions: json!({
            "prompt_type": texts(&seen.prompt_types),
            "tool_success_rate": seen.rates,
            "difficulty": texts(&seen.difficulties),
            "task_type": texts(&seen.task_types),
        }),
        schema: Value::Object(
            columns
                .map(|field| (field.name().clone(), field.data_type().to_string().into()))
                .collect(),
        ),
    }
}
