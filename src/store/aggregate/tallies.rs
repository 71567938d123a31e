//! What main says about its rows, so that nobody has to read them: tallies by cell,
//! trials by task, what happened. It lies between the last row group and the footer,
//! which says where, in the same inode as the rows.
//!
//! Promises: it is believed only next to the commit record that it names, in this
//! version's format, with its checksum; what is too long is left out, and then the
//! rows are read.

use std::io::{Cursor, Read, Write};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use self::cells::Cells;
use super::{Activity, Digest};
use crate::stats::clusters::Clusters;
use crate::store::disk;
use crate::store::error::Result;
use crate::store::format::commit_record::CommitRecord;
use crate::store::parquet::ParquetFile;
use crate::store::parquet::table::TableWriter;

mod cells;

/// The footer's key.
pub(crate) const KEY: &str = "evaltop.tallies";
/// The format that this version writes; any other one is passed over.
const FORMAT: u32 = 4;
/// Beyond this many bytes, unpacked, main holds none.
const LIMIT: u64 = 16 << 20;
/// The archive's only part.
const PART: &str = "tallies.json";
/// What level 1 of zstd leaves larger by a tenth takes a fifth of the time.
const LEVEL: i64 = 1;

/// Where it lies, in the footer.
#[derive(Debug, Serialize, Deserialize)]
struct Place {
    format: u32,
    commit_id: String,
    offset: u64,
    bytes: u64,
    xxh3: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    rows: u64,
    bad_times: u64,
    #[serde(default)]
    bad_values: u64,
    cells: Cells,
    activity: Activity,
    clusters: Clusters,
}

/// Puts it into a main that a commit makes, after the last row.
pub(crate) fn write(
    table: &mut TableWriter<'_>,
    record: &CommitRecord,
    digest: &Digest,
) -> Result<()> {
    let Some(packed) = pack(digest) else {
        return Ok(());
    };
    let place = Place {
        format: FORMAT,
        commit_id: record.commit_id.clone(),
        offset: table.attach(&packed)?,
        bytes: packed.len() as u64,
        xxh3: format!("{:016x}", xxh3_64(&packed)),
    };
    if let Ok(place) = serde_json::to_string(&place) {
        table.key_value(KEY, place);
    }
    Ok(())
}

/// What a main says; `None` where it does not, or not of this commit.
pub(crate) fn of(main: &ParquetFile, record: &CommitRecord) -> Option<Digest> {
    let place: Place = serde_json::from_str(main.key_value(KEY)?).ok()?;
    let fits =
        place.format == FORMAT && place.commit_id == record.commit_id && place.bytes <= LIMIT;
    let packed =
        fits.then(|| disk::bytes_at(main.raw(), place.offset, place.bytes as usize).ok())??;
    let whole = format!("{:016x}", xxh3_64(&packed)) == place.xxh3;
    whole.then(|| unpack(&packed, record, main.rows()))?
}

fn pack(digest: &Digest) -> Option<Vec<u8>> {
    let mut activity = digest.activity.clone();
    activity.settle();
    let stored = Stored {
        rows: digest.records,
        bad_times: digest.bad_times,
        bad_values: digest.bad_values,
        cells: Cells::of(digest.cells()),
        activity,
        clusters: digest.clusters.clone(),
    };
    let text = serde_json::to_vec(&stored)
        .ok()
        .filter(|text| text.len() as u64 <= LIMIT)?;
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Zstd)
        .compression_level(Some(LEVEL));
    archive.start_file(PART, options).ok()?;
    archive.write_all(&text).ok()?;
    archive.finish().ok().map(Cursor::into_inner)
}

fn unpack(packed: &[u8], record: &CommitRecord, rows: u64) -> Option<Digest> {
    let mut archive = ZipArchive::new(Cursor::new(packed)).ok()?;
    let mut text = Vec::new();
    archive
        .by_name(PART)
        .ok()?
        .take(LIMIT)
        .read_to_end(&mut text)
        .ok()?;
    let stored: Stored = serde_json::from_slice(&text).ok()?;
    let cells = stored.cells.unpack()?;
    let counted: u64 = cells
        .iter()
        .map(|(_, tally)| tally.tests)
        .fold(0, u64::saturating_add);
    if [stored.rows, record.rows, rows] != [counted; 3] {
        return None;
    }
    let mut digest = Digest::of_cells(cells);
    digest.position = stored.rows;
    digest.bad_times = stored.bad_times;
    digest.bad_values = stored.bad_values;
    digest.activity = stored.activity;
    digest.clusters = stored.clusters;
    Some(digest)
}

#[cfg(test)]
mod tests;
