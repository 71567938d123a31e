//! The parts of a table, and the file next to each that says whose rows it holds: 32 bytes a row,
//! the test's key and the hash of its row.

use std::fs::File;
use std::path::Path;

use arrow::array::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use uuid::Uuid;

use super::schema::Shape;
use super::{OWN, Place};
use crate::store::{Error, Result};

/// A part of the table.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) name: String,
    pub(super) bytes: u64,
    pub(super) rows: u64,
    pub(super) keys: Keys,
}

/// Whose rows a part holds.
#[derive(Debug, Default)]
pub(super) struct Keys(Vec<(u128, u128)>);

impl Keys {
    fn path(part: &str) -> String {
        format!("{OWN}/{part}.keys")
    }

    /// Those of a part; `None` where nothing says so.
    pub(super) fn read(place: &dyn Place, part: &str) -> Result<Option<Self>> {
        // A name that leads elsewhere is none of ours.
        if part.contains('/') {
            return Ok(None);
        }
        let bytes = place.read(&Self::path(part))?;
        Ok(bytes.and_then(|bytes| Self::of(&bytes)))
    }

    fn of(bytes: &[u8]) -> Option<Self> {
        let (pairs, []) = bytes.as_chunks::<32>() else {
            return None;
        };
        let number = |bytes: &[u8]| bytes.try_into().ok().map(u128::from_le_bytes);
        let pair = |pair: &[u8; 32]| Some((number(pair.get(..16)?)?, number(pair.get(16..)?)?));
        pairs.iter().map(pair).collect::<Option<Vec<_>>>().map(Self)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Keys and hashes.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (u128, u128)> + '_ {
        self.0.iter().copied()
    }

    /// The keys alone.
    pub(super) fn iter(&self) -> impl Iterator<Item = u128> + '_ {
        self.0.iter().map(|(key, _)| *key)
    }
}

/// A part that is being written. It belongs to the table only once the log says so.
pub(super) struct Writer {
    name: String,
    /// As people know it.
    shown: String,
    parquet: ArrowWriter<File>,
    keys: Keys,
}

impl Writer {
    pub(super) fn create(place: &dyn Place, shape: &Shape) -> Result<Self> {
        let name = format!("part-{}.parquet", Uuid::now_v7());
        let shown = format!("{}/{name}", place.name());
        let file = place.stage(&name)?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .build();
        let parquet = ArrowWriter::try_new(file, shape.arrow(), Some(properties))
            .map_err(|error| failed(&shown, &error))?;
        Ok(Self {
            name,
            shown,
            parquet,
            keys: Keys::default(),
        })
    }

    pub(super) fn rows(&self) -> usize {
        self.keys.len()
    }

    /// About as many bytes as it has so far.
    pub(super) fn bytes(&self) -> usize {
        self.parquet.bytes_written() + self.parquet.in_progress_size()
    }

    pub(super) fn write(&mut self, batch: &RecordBatch, keys: &[(u128, u128)]) -> Result<()> {
        let written = self.parquet.write(batch);
        written.map_err(|error| failed(&self.shown, &error))?;
        self.keys.0.extend(keys);
        Ok(())
    }

    /// Ends it, with its file of keys.
    pub(super) fn finish(self, place: &dyn Place) -> Result<Part> {
        let Self {
            name,
            shown,
            parquet,
            keys,
        } = self;
        let file = parquet
            .into_inner()
            .map_err(|error| failed(&shown, &error))?;
        let size = file.metadata().map(|meta| meta.len());
        let bytes = size.map_err(Error::io("read", Path::new(&shown)))?;
        place.publish(&name, file)?;
        let mut text = Vec::with_capacity(keys.len() * 32);
        for (key, hash) in &keys.0 {
            text.extend(key.to_le_bytes());
            text.extend(hash.to_le_bytes());
        }
        place.create(&Keys::path(&name), &text)?;
        Ok(Part {
            name,
            bytes,
            rows: keys.len() as u64,
            keys,
        })
    }
}

fn failed(shown: &str, error: &parquet::errors::ParquetError) -> Error {
    Error::Refused(format!("cannot write {shown}: {error}"))
}
