//! The hash by which format 1 knows a row of a legacy file: a set of named values; null, NaN and
//! an absent column are all "no value", numbers and truth values count as doubles, times as
//! microseconds, everything else by its bytes or its text. Commit records keep fingerprints made
//! of these hashes. Everything else goes by [`crate::store::format::row_hash`].

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use xxhash_rust::xxh3::{Xxh3Default, xxh3_64, xxh3_64_with_seed};

use crate::store::error::{Error, Result};
use crate::store::format::cast::{at_offset_zero, cast};
use crate::store::format::schema::is_index;

/// The hash of every row of a batch as stored, for [`Fingerprint`].
pub fn legacy_row_hashes(batch: &RecordBatch) -> Result<Vec<u64>> {
    let mut hashes = vec![0_u64; batch.num_rows()];
    let schema = batch.schema();
    for (field, column) in schema.fields().iter().zip(batch.columns()) {
        // When a row was accepted is not part of what it says.
        if !is_index(field.name()) && field.name() != "recorded_at" {
            let seed = xxh3_64(field.name().as_bytes());
            add_column(&mut hashes, column, seed).map_err(|e| {
                Error::Refused(format!("column '{}' can't be hashed: {e}", field.name()))
            })?;
        }
    }
    Ok(hashes)
}

fn add_column(hashes: &mut [u64], column: &ArrayRef, seed: u64) -> Result<(), ArrowError> {
    let mut add = |at: usize, bytes: &[u8]| {
        if let Some(hash) = hashes.get_mut(at) {
            *hash = hash.wrapping_add(xxh3_64_with_seed(bytes, seed));
        }
    };
    match column.data_type() {
        DataType::Null => {}
        DataType::Utf8 => each(column.as_string::<i32>().iter(), |at, v| {
            add(at, v.as_bytes());
        }),
        DataType::LargeUtf8 | DataType::Utf8View | DataType::Dictionary(..) => {
            let plain = cast(column, &DataType::Utf8)?;
            each(plain.as_string::<i32>().iter(), |at, v| {
                add(at, v.as_bytes());
            });
        }
        DataType::Timestamp(_, zone) => {
            let micros = cast(
                column,
                &DataType::Timestamp(TimeUnit::Microsecond, zone.clone()),
            )?;
            let micros = micros.as_primitive::<TimestampMicrosecondType>();
            each(micros.iter(), |at, v| add(at, &v.to_le_bytes()));
        }
        DataType::Boolean => each(column.as_boolean().iter(), |at, v| {
            add(at, &f64::from(u8::from(v)).to_bits().to_le_bytes());
        }),
        DataType::Int64 => each(column.as_primitive::<Int64Type>().iter(), |at, v| {
            add(at, &(v as f64).to_bits().to_le_bytes());
        }),
        number if number.is_numeric() => {
            let doubles = cast(column, &DataType::Float64)?;
            each(doubles.as_primitive::<Float64Type>().iter(), |at, v| {
                if !v.is_nan() {
                    // Adding zero turns −0 into 0.
                    add(at, &(v + 0.0).to_bits().to_le_bytes());
                }
            });
        }
        _ => {
            let options = FormatOptions::default();
            let column = at_offset_zero(&column.slice(0, column.len()));
            let formatter = ArrayFormatter::try_new(&column, &options)?;
            for at in (0..column.len()).filter(|&at| column.is_valid(at)) {
                add(at, formatter.value(at).to_string().as_bytes());
            }
        }
    }
    Ok(())
}

fn each<T>(values: impl Iterator<Item = Option<T>>, mut then: impl FnMut(usize, T)) {
    for (at, value) in values.enumerate() {
        if let Some(value) = value {
            then(at, value);
        }
    }
}

/// One number for a run of rows in their order: the identity of what was consumed
/// of a legacy file, whatever the file is rewritten as.
#[derive(Clone, Default)]
pub struct Fingerprint {
    hasher: Xxh3Default,
    rows: u64,
}

impl std::fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fingerprint")
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
}

impl Fingerprint {
    /// Takes in the next row by its hash ([`legacy_row_hashes`] of the batch as stored).
    pub fn push(&mut self, hash: u64) {
        self.hasher.update(&hash.to_le_bytes());
        self.rows += 1;
    }

    /// Rows taken in.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The fingerprint of the rows so far.
    pub fn value(&self) -> u64 {
        self.hasher.digest()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        BooleanArray, DictionaryArray, Float32Array, Float64Array, Int32Array, Int64Array,
        NullArray, StringArray, TimestampMicrosecondArray, TimestampNanosecondArray,
    };
    use arrow::datatypes::Int8Type;

    use super::*;

    fn hashes(columns: Vec<(&str, ArrayRef)>) -> Vec<u64> {
        legacy_row_hashes(&RecordBatch::try_from_iter(columns).unwrap()).unwrap()
    }

    #[test]
    fn storage_and_order_do_not_matter() {
        let plain = hashes(vec![
            (
                "model",
                Arc::new(StringArray::from(vec![Some("a"), Some("b")])),
            ),
            ("turns", Arc::new(Int64Array::from(vec![Some(3), None]))),
            (
                "rate",
                Arc::new(Float64Array::from(vec![f64::from(0.8_f32), 0.0])),
            ),
            ("success", Arc::new(BooleanArray::from(vec![true, false]))),
            (
                "timestamp",
                Arc::new(TimestampMicrosecondArray::from(vec![5, 6])),
            ),
        ]);
        let other = hashes(vec![
            ("success", Arc::new(Int32Array::from(vec![1, 0]))),
            ("nothing", Arc::new(NullArray::new(2))),
            (
                "recorded_at",
                Arc::new(TimestampMicrosecondArray::from(vec![7, 8])),
            ),
            ("rate", Arc::new(Float32Array::from(vec![0.8, -0.0]))),
            ("turns", Arc::new(Float64Array::from(vec![3.0, f64::NAN]))),
            ("__index_level_0__", Arc::new(Int64Array::from(vec![9, 9]))),
            (
                "timestamp",
                Arc::new(TimestampNanosecondArray::from(vec![5_000, 6_000])),
            ),
            (
                "model",
                Arc::new(
                    vec!["a", "b"]
                        .into_iter()
                        .collect::<DictionaryArray<Int8Type>>(),
                ),
            ),
        ]);
        assert_eq!(plain, other);
        assert_ne!(plain[0], plain[1]);
    }

    #[test]
    fn a_value_counts_for_its_column() {
        let one = hashes(vec![
            ("a", Arc::new(StringArray::from(vec!["x"]))),
            ("b", Arc::new(StringArray::from(vec!["y"]))),
        ]);
        let swapped = hashes(vec![
            ("a", Arc::new(StringArray::from(vec!["y"]))),
            ("b", Arc::new(StringArray::from(vec!["x"]))),
        ]);
        assert_ne!(one, swapped);
    }

    #[test]
    fn a_fingerprint_depends_on_the_rows_and_their_order() {
        let of = |rows: &[u64]| {
            let mut fingerprint = Fingerprint::default();
            for row in rows {
                fingerprint.push(*row);
            }
            fingerprint.value()
        };
        assert_eq!(of(&[1, 2]), of(&[1, 2]));
        assert_ne!(of(&[1, 2]), of(&[2, 1]));
        assert_ne!(of(&[1]), of(&[1, 2]));
    }
}
