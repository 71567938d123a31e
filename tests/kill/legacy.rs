//! A look-alike of the writers that know nothing of the store's protocol: they read
//! their own increment, extend it, and write the whole of it again.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, RecordBatchReader, StringArray,
};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::DataType;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::random::Random;
use crate::view::{model, say};
use crate::worker::each_line;

/// How it writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// Writes beside, then renames over: readers always find a whole file.
    pub renames: bool,
    /// Keeps its rows in memory and never reads: a file that was consumed and removed
    /// comes back with its old rows.
    pub keeps: bool,
    /// Whether its rows have ids.
    pub ids: bool,
}

impl Way {
    pub const NAMES: [&'static str; 6] = [
        "reads-ids",
        "renames-ids",
        "keeps-ids",
        "reads-none",
        "renames-none",
        "keeps-none",
    ];

    pub fn parse(name: &str) -> Self {
        Self {
            renames: name.starts_with("renames"),
            keeps: name.starts_with("keeps"),
            ids: name.ends_with("-ids"),
        }
    }
}

/// The process: a line `<first> <rows>` adds rows.
pub fn run(dir: &Path, life: usize, way: &Way) {
    let time = jiff::Timestamp::now().strftime("%Y%m%d_%H%M%S");
    let name = format!("increment_{}_{time}.parquet", std::process::id());
    let path = dir.join("incremental").join(name);
    let mut random = Random::new(life as u64, 7);
    let mut kept = None;
    each_line(|numbers| {
        let &[first, rows] = numbers else { return };
        let new = batch(life, first, rows, way.ids);
        let old = if way.keeps {
            kept.take()
        } else {
            read(&path).unwrap()
        };
        let all = match old {
            Some(old) => concat_batches(&new.schema(), [&old, &new]).unwrap(),
            None => new,
        };
        write(&path, &retyped(&all, random.one_in(3)), way.renames).unwrap();
        kept = Some(all);
        say("ack");
        if random.one_in(6) {
            look_quiet(&path);
        }
    });
}

fn batch(life: usize, first: u64, rows: u64, ids: bool) -> RecordBatch {
    let numbers = first..first + rows;
    let texts = |text: &dyn Fn(u64) -> String| -> ArrayRef {
        Arc::new(numbers.clone().map(text).map(Some).collect::<StringArray>())
    };
    let now = jiff::Timestamp::now()
        .strftime("%Y-%m-%dT%H:%M:%S%.6f")
        .to_string();
    let mut columns: Vec<(&str, ArrayRef)> = vec![
        ("model", texts(&|_| model(life))),
        ("task_id", texts(&|number| number.to_string())),
        (
            "success",
            Arc::new(
                numbers
                    .clone()
                    .map(|n| Some(n % 2 == 0))
                    .collect::<BooleanArray>(),
            ),
        ),
        (
            "turns",
            Arc::new(numbers.clone().map(|n| n as i64).collect::<Int64Array>()),
        ),
        (
            "execution_time",
            Arc::new(
                numbers
                    .clone()
                    .map(|n| n as f64 / 3.0)
                    .collect::<Float64Array>(),
            ),
        ),
        ("timestamp", texts(&|_| now.clone())),
    ];
    if ids {
        columns.push(("test_id", texts(&|number| format!("{life}-{number}"))));
    }
    RecordBatch::try_from_iter(columns).unwrap()
}

/// The same rows with whole numbers as floats, as pandas has them once one is missing.
fn retyped(batch: &RecordBatch, floats: bool) -> RecordBatch {
    let columns = batch.schema();
    let columns = columns
        .fields()
        .iter()
        .zip(batch.columns())
        .map(|(field, column)| {
            let column = match field.data_type() {
                DataType::Int64 if floats => cast(column, &DataType::Float64).unwrap(),
                _ => Arc::clone(column),
            };
            (field.name().clone(), column)
        });
    RecordBatch::try_from_iter(columns.collect::<Vec<_>>()).unwrap()
}

fn read(path: &Path) -> io::Result<Option<RecordBatch>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let reader = ParquetRecordBatchReaderBuilder::try_new(file)?.build()?;
    let schema = reader.schema();
    let batches = reader
        .collect::<Result<Vec<_>, _>>()
        .map_err(io::Error::other)?;
    let all = concat_batches(&schema, &batches).map_err(io::Error::other)?;
    // Back to the types of new rows.
    let columns = schema
        .fields()
        .iter()
        .zip(all.columns())
        .map(|(field, column)| {
            let target = if field.name() == "turns" {
                &DataType::Int64
            } else {
                field.data_type()
            };
            (field.name().clone(), cast(column, target).unwrap())
        });
    RecordBatch::try_from_iter(columns.collect::<Vec<_>>())
        .map(Some)
        .map_err(io::Error::other)
}

fn write(path: &Path, batch: &RecordBatch, renames: bool) -> io::Result<()> {
    let target = if renames {
        beside(path)
    } else {
        path.to_path_buf()
    };
    let mut writer = ArrowWriter::try_new(File::create(&target)?, batch.schema(), None)?;
    writer.write(batch)?;
    writer.close()?;
    if renames {
        std::fs::rename(target, path)
    } else {
        Ok(())
    }
}

fn beside(path: &Path) -> PathBuf {
    path.with_extension("parquet.new")
}

/// Lets the file look as if it had rested for long, so that it may be retired while
/// its writer lives.
fn look_quiet(path: &Path) {
    if let Ok(file) = File::options().write(true).open(path) {
        let _ = file.set_modified(SystemTime::now() - Duration::from_secs(120));
    }
}
