//! Checkpoints: what the log comes to at one version, as a Parquet file with one action a row, so
//! that nobody has to read what was before.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Fields, Schema};
use arrow::error::ArrowError;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::errors::ParquetError;
use serde_json::{Value, json};

use super::Place;
use super::log::FOLDER;
use crate::store::{Control, Error, Result};

/// So many commits lie between two checkpoints.
pub(super) const EVERY: u64 = 100;
/// Rows that are made or read at once.
const BATCH: usize = 8_192;
/// The file that names the last checkpoint.
const LAST: &str = "_last_checkpoint";

fn path(version: u64) -> String {
    format!("{FOLDER}/{version:020}.checkpoint.parquet")
}

/// The version of a checkpoint in one piece, by its name.
pub(super) fn version(name: &str) -> Option<u64> {
    name.strip_suffix(".checkpoint.parquet")?.parse().ok()
}

/// The columns: one for each kind of action.
fn schema() -> Schema {
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    let number = |name: &str| Field::new(name, DataType::Int64, true);
    let flag = |name: &str| Field::new(name, DataType::Boolean, true);
    let group =
        |name: &str, fields: Vec<Field>| Field::new_struct(name, Fields::from(fields), true);
    let map = |name: &str| {
        let key = Field::new("key", DataType::Utf8, false);
        let value = Field::new("value", DataType::Utf8, true);
        Field::new_map(name, "key_value", key, value, false, true)
    };
    let least = |name: &str| Field::new(name, DataType::Int32, true);
    let partitions = Field::new_list(
        "partitionColumns",
        Field::new("element", DataType::Utf8, true),
        true,
    );
    let format = group("format", vec![text("provider"), map("options")]);
    Schema::new(vec![
        group(
            "txn",
            vec![text("appId"), number("version"), number("lastUpdated")],
        ),
        group(
            "add",
            vec![
                text("path"),
                map("partitionValues"),
                number("size"),
                number("modificationTime"),
                flag("dataChange"),
                text("stats"),
            ],
        ),
        group(
            "remove",
            vec![
                text("path"),
                number("deletionTimestamp"),
                flag("dataChange"),
                flag("extendedFileMetadata"),
                map("partitionValues"),
                number("size"),
            ],
        ),
        group(
            "metaData",
            vec![
                text("id"),
                text("name"),
                text("description"),
                format,
                text("schemaString"),
                partitions,
                map("configuration"),
                number("createdTime"),
            ],
        ),
        group(
            "protocol",
            vec![least("minReaderVersion"), least("minWriterVersion")],
        ),
    ])
}

/// Writes one. The log is whole without it.
pub(super) fn write(
    place: &dyn Place,
    version: u64,
    actions: &[Value],
    control: &Control,
) -> Result<()> {
    let path = path(version);
    let refused =
        |why: String| Error::Refused(format!("cannot write {}/{path}: {why}", place.name()));
    let batches = batches(actions).map_err(|error| refused(error.to_string()))?;
    let written = || -> std::result::Result<Vec<u8>, ParquetError> {
        let mut parquet = ArrowWriter::try_new(Vec::new(), Arc::new(schema()), None)?;
        for batch in batches {
            parquet.write(&batch)?;
        }
        parquet.into_inner()
    };
    let bytes = written().map_err(|error| refused(error.to_string()))?;
    // Another program may have made it: that one is as good.
    place.create(&path, &bytes)?;
    let last = json!({ "version": version, "size": actions.len(), "sizeInBytes": bytes.len() });
    let stays = |there: &[u8]| {
        let there: Option<Value> = serde_json::from_slice(there).ok();
        let there = there.and_then(|there| there.get("version")?.as_u64());
        there >= Some(version)
    };
    place.replace(
        &format!("{FOLDER}/{LAST}"),
        last.to_string().as_bytes(),
        &stays,
        control,
    )
}

fn batches(actions: &[Value]) -> std::result::Result<Vec<RecordBatch>, ArrowError> {
    let reader = arrow::json::ReaderBuilder::new(Arc::new(schema())).with_batch_size(BATCH);
    let mut decoder = reader.build_decoder()?;
    let mut found = Vec::new();
    for actions in actions.chunks(BATCH) {
        decoder.serialize(actions)?;
        found.extend(decoder.flush()?);
    }
    Ok(found)
}

/// The actions of one, as lines of JSON.
pub(super) fn read(place: &dyn Place, version: u64) -> Result<String> {
    let path = path(version);
    let refused =
        |why: String| Error::Refused(format!("cannot read {}/{path}: {why}", place.name()));
    let bytes = place.read(&path)?;
    let bytes = bytes.ok_or_else(|| refused("it is not there any more".to_owned()))?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(bytes))
        .and_then(ParquetRecordBatchReaderBuilder::build)
        .map_err(|error| refused(error.to_string()))?;
    let mut lines = arrow::json::LineDelimitedWriter::new(Vec::new());
    for batch in reader {
        let written = batch.and_then(|batch| lines.write(&batch));
        written.map_err(|error| refused(error.to_string()))?;
    }
    lines.finish().map_err(|error| refused(error.to_string()))?;
    String::from_utf8(lines.into_inner()).map_err(|error| refused(error.to_string()))
}
