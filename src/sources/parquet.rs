//! A Parquet file with any columns.

use std::collections::HashSet;
use std::path::Path;

use arrow::array::AsArray;
use arrow::datatypes::{DataType, Float64Type};

use super::convert;
use super::detect;
use super::source::{Chunk, Column, Places, Source};
use crate::store::format::cast::cast;
use crate::store::format::schema;
use crate::store::format::schema::Range;
use crate::store::parquet::ParquetFile;
use crate::store::{Error, RealDisk, Result};

/// A Parquet file.
#[derive(Debug)]
pub(crate) struct Parquet {
    file: ParquetFile,
    columns: Vec<Column>,
}

impl Parquet {
    /// Reads the footer, and the columns of doubles that have to be whole numbers.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        detect::open(path)?;
        let file = ParquetFile::open(&RealDisk, path).map_err(|error| error.at(path))?;
        let mut names = HashSet::new();
        for field in file.schema().fields() {
            let name = field.name();
            if !schema::is_index(name) && !names.insert(name) {
                return Err(Error::Refused(format!(
                    "{}: two columns are named '{name}': rename one of them; \
                     nothing was imported from this file",
                    path.display()
                )));
            }
        }
        let columns = file
            .schema()
            .fields()
            .iter()
            .filter(|field| !schema::is_index(field.name()))
            .map(|field| Column {
                name: field.name().clone(),
                data_type: field.data_type().clone(),
                stands_for: field.data_type().clone(),
                whole: field.data_type().is_integer(),
                range: Range::known(field),
            })
            .collect();
        let mut parquet = Self { file, columns };
        for at in 0..parquet.columns.len() {
            let whole = parquet
                .columns
                .get(at)
                .is_some_and(|c| c.data_type.is_floating())
                && parquet.all_whole(at)?;
            if let Some(column) = parquet.columns.get_mut(at) {
                column.whole |= whole;
            }
        }
        Ok(parquet)
    }

    /// Whether pandas made doubles of whole numbers because some are missing.
    fn all_whole(&self, at: usize) -> Result<bool> {
        let Some(column) = self.columns.get(at) else {
            return Ok(false);
        };
        for batch in self.file.batches(Some(&[&column.name]), 0)? {
            let batch = batch?;
            let Some(values) = batch.columns().first() else {
                return Ok(false);
            };
            let Ok(values) = cast(values, &DataType::Float64) else {
                return Ok(false);
            };
            if !values
                .as_primitive::<Float64Type>()
                .iter()
                .flatten()
                .all(convert::is_whole)
            {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Source for Parquet {
    fn columns(&self) -> &[Column] {
        &self.columns
    }

    fn size(&self) -> u64 {
        self.file.rows()
    }

    fn chunks(&self) -> Result<Box<dyn Iterator<Item = Result<Chunk>> + '_>> {
        let mut before = 0;
        Ok(Box::new(self.file.batches(None, 0)?.map(move |batch| {
            let batch = batch?;
            let first = before + 1;
            before += batch.num_rows() as u64;
            let places = Places::Rows((first..=before).collect());
            Ok(Chunk {
                batch,
                places,
                read: before,
                rejected: Vec::new(),
            })
        })))
    }
}
