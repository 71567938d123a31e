//! The digest in the footer of an increment of ours, so that nobody has to read its rows while
//! they are pending: the hash of each row's key, tallies by cell, trials by task, what happened.
//! It lies between the last row group and the footer, which says where.
//!
//! Promises: it gives what reading the rows would give, at any later moment, or it is passed over.
//! A file whose rows depend on who reads them (rows without ids or models, times without a zone, in
//! the future or before 2000) has none, and neither has one that would be larger than a MiB.

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::activity::{PROCESSES, SPAN};
use super::{Digest, Place, Reading};
use crate::store::disk;
use crate::store::error::Result;
use crate::store::format::layout::bare_name;
use crate::store::format::row_kind::{Shape, shape};
use crate::store::parquet::ParquetFile;
use crate::store::parquet::table::TableWriter;

mod body;
mod bytes;

/// The footer's key.
const KEY: &str = "evaltop.digest";
/// The format that this version writes; any other one is passed over.
const FORMAT: u32 = 1;
/// Beyond this many bytes, packed or not, a file has none.
const LIMIT: usize = 1 << 20;
/// Bytes of a key's hash.
const SHORT: usize = 8;
/// What level 1 of zstd leaves larger by a tenth takes a fifth of the time.
const LEVEL: i32 = 1;

/// Where it lies, in the footer, and for whom it holds.
#[derive(Debug, Serialize, Deserialize)]
struct Where {
    format: u32,
    /// The name of the file: rows that name no process are of the one in it.
    name: String,
    rows: u64,
    offset: u64,
    bytes: u64,
    xxh3: String,
    /// The oldest and the newest row, in microseconds since the epoch.
    span: Option<(i64, i64)>,
}

/// Digests the rows of an increment while it is written.
#[derive(Debug)]
pub(crate) struct Digester {
    /// `None` once it is known that the file gets none.
    going: Option<(Reading, Digest)>,
    name: String,
}

impl Digester {
    /// For a file of that name with these columns.
    pub(crate) fn new(name: &str, schema: &SchemaRef) -> Self {
        let now = Timestamp::now();
        let instants = ["timestamp", "recorded_at"]
            .iter()
            .all(|name| has_instants(schema, name));
        let reading = Reading::of(name, schema, &TimeZone::UTC, now).ok();
        let reading = reading.filter(|_| instants && shape(schema) == Shape::Records);
        let going = reading.map(|reading| {
            let mut digest = Digest::default();
            digest.activity.reaches_back = true;
            let needs_model = true;
            (
                Reading {
                    needs_model,
                    ..reading
                },
                digest,
            )
        });
        Self {
            going,
            name: name.to_owned(),
        }
    }

    /// Takes in rows.
    pub(crate) fn push(&mut self, batch: &RecordBatch) {
        let fits = self.going.as_mut().is_some_and(|(reading, digest)| {
            digest.push(batch, reading).is_ok() && digest.hashes.len() * SHORT <= LIMIT
        });
        if !fits {
            self.going = None;
        }
    }

    /// Puts it into the file, after the last row.
    pub(crate) fn write(self, table: &mut TableWriter<'_>) -> Result<()> {
        #[cfg(test)]
        if PASSED_OVER.get() {
            return Ok(());
        }
        let Some((reading, digest)) = self.going else {
            return Ok(());
        };
        let newest = digest.activity.models.values().map(|model| model.last_row);
        let newest = newest.flatten().max();
        let span = digest.activity.oldest.zip(newest);
        let whole = digest.hashes.len() as u64 == digest.records
            && digest.records > 0
            && digest.activity.processes.len() <= PROCESSES;
        let plain = digest.summaries.rows() + digest.bad_times + digest.activity.implausible == 0;
        let past = newest.is_none_or(|newest| newest <= reading.now);
        let packed = (whole && plain && past).then(|| pack(&digest)).flatten();
        let Some(packed) = packed else { return Ok(()) };
        let place = Where {
            format: FORMAT,
            name: self.name,
            rows: digest.records,
            offset: table.attach(&packed)?,
            bytes: packed.len() as u64,
            xxh3: format!("{:016x}", xxh3_64(&packed)),
            span,
        };
        if let Ok(place) = serde_json::to_string(&place) {
            table.key_value(KEY, place);
        }
        Ok(())
    }
}

/// Whether a column has no time that depends on a zone.
fn has_instants(schema: &Schema, name: &str) -> bool {
    schema.field_with_name(name).map_or(true, |field| {
        matches!(
            field.data_type(),
            DataType::Timestamp(_, Some(_)) | DataType::Null
        )
    })
}

fn pack(digest: &Digest) -> Option<Vec<u8>> {
    let body = body::of(digest).filter(|body| body.len() <= LIMIT)?;
    let mut packed: Vec<u8> = digest
        .hashes
        .iter()
        .flat_map(|short| short.to_le_bytes())
        .collect();
    packed.extend(zstd::bulk::compress(&body, LEVEL).ok()?);
    (packed.len() <= LIMIT).then_some(packed)
}

/// The digest of a file, read from its footer.
#[derive(Debug)]
pub(crate) struct IncrementDigest {
    shorts: Vec<u64>,
    body: body::Body,
}

impl IncrementDigest {
    /// Of a file by its name in `incremental/`, for somebody who looks `now`; `None` where its
    /// rows have to be read.
    pub(crate) fn of(file: &ParquetFile, name: &str, now: i64) -> Option<Self> {
        let place = place_in(file, name)?;
        // Rows of the future are in no chart, and those of two days ago are of no process that
        // matters: both depend on when somebody looks.
        let processes = match place.span {
            Some((_, newest)) if newest > now => return None,
            Some((oldest, _)) if oldest >= now - SPAN => true,
            Some((_, newest)) if newest < now - SPAN => false,
            Some(_) => return None,
            None => true,
        };
        let packed = packed_at(file, &place)?;
        let (shorts, body) = split(&packed, &place)?;
        let body = zstd::bulk::decompress(body, LIMIT).ok()?;
        let mut body = body::Body::parse(&body, place.rows)?;
        if !processes {
            body.activity.processes.clear();
        }
        Some(Self { shorts, body })
    }

    /// 64 bits of the key of each row, in the order of the rows, by its name in `incremental/`;
    /// `None` where they have to be read.
    pub(crate) fn keys(file: &ParquetFile, name: &str) -> Option<Vec<u64>> {
        let place = place_in(file, name)?;
        let packed = packed_at(file, &place)?;
        split(&packed, &place).map(|(shorts, _)| shorts)
    }

    /// Adds all of it to a digest, as the rows of the source of that number.
    pub(crate) fn add_to(self, source: u32, digest: &mut Digest) {
        let place = |(at, short)| Place { short, source, at };
        digest.places.extend((0..).zip(self.shorts).map(place));
        self.body.add_to(digest);
    }

    /// The oldest row, microseconds since the epoch.
    pub(crate) fn oldest(&self) -> Option<i64> {
        self.body.activity.oldest
    }
}

/// Where a file's digest lies, if it is one of this format and of this file.
fn place_in(file: &ParquetFile, name: &str) -> Option<Where> {
    #[cfg(test)]
    if PASSED_OVER.get() {
        return None;
    }
    let place: Where = serde_json::from_str(file.key_value(KEY)?).ok()?;
    let fits = place.format == FORMAT
        && file.is_ours()
        && file.ids().is_none()
        && place.name == bare_name(name)
        && place.rows == file.rows()
        && place.bytes <= LIMIT as u64;
    fits.then_some(place)
}

/// Its bytes as they were written.
fn packed_at(file: &ParquetFile, place: &Where) -> Option<Vec<u8>> {
    let packed = disk::bytes_at(file.raw(), place.offset, place.bytes as usize).ok()?;
    (format!("{:016x}", xxh3_64(&packed)) == place.xxh3).then_some(packed)
}

/// The keys of its rows, and the rest.
fn split<'a>(packed: &'a [u8], place: &Where) -> Option<(Vec<u64>, &'a [u8])> {
    let (shorts, body) = packed.split_at_checked((place.rows as usize).checked_mul(SHORT)?)?;
    let short = |bytes: &[u8; SHORT]| u64::from_le_bytes(*bytes);
    Some((shorts.as_chunks().0.iter().map(short).collect(), body))
}

#[cfg(test)]
thread_local! {
    static PASSED_OVER: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Does something where files have no digests, so that rows are read.
#[cfg(test)]
pub(crate) fn passed_over<T>(then: impl FnOnce() -> T) -> T {
    PASSED_OVER.set(true);
    let result = then();
    PASSED_OVER.set(false);
    result
}
