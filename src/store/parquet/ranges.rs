//! Which values the columns of numbers and times have, by the statistics of the footer; where
//! a column has none, it is read.

use std::cell::RefCell;
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit, UInt64Type};
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::statistics::Statistics;

use super::ParquetFile;
use crate::store::format::cast::{cast, double_holds, instants};
use crate::store::format::schema::{EXACT_DECIMAL, Range, is_index};

/// Columns before and after, of the file that this thread opened last.
type Last = Option<(SchemaRef, Vec<(usize, Range)>, SchemaRef)>;

/// Rows of which decimals are not looked at one by one.
const MANY_ROWS: u64 = 1 << 20;

thread_local! {
    static LAST: RefCell<Last> = const { RefCell::new(None) };
}

/// The columns of a file, with what is known of their values.
pub(crate) fn known(file: &ParquetFile) -> SchemaRef {
    let doubtful = |(at, field): (usize, &Arc<Field>)| {
        (is_doubtful(field.data_type()) && !is_index(field.name())).then_some(at)
    };
    let fields = file.schema.fields();
    let columns: Vec<usize> = fields.iter().enumerate().filter_map(doubtful).collect();
    if columns.is_empty() {
        return Arc::clone(&file.schema);
    }
    let found = |at: usize, leaf: Option<usize>| {
        let field = fields.get(at)?;
        let reported = leaf.and_then(|leaf| of_chunks(file, leaf, field.data_type()));
        // A decimal of many digits may have zeros at its end only.
        let reported = reported.filter(|range| {
            !range.wide || !field.data_type().is_decimal() || file.rows > MANY_ROWS
        });
        let range = reported.unwrap_or_else(|| of_values(file, field));
        (range != Range::default() || Range::known(field) != range).then_some((at, range))
    };
    let leaves = leaves(file);
    let leaf = |at: usize| leaves.get(at).copied().flatten();
    let ranges: Vec<(usize, Range)> = columns
        .into_iter()
        .filter_map(|at| found(at, leaf(at)))
        .collect();
    if ranges.is_empty() {
        return Arc::clone(&file.schema);
    }
    LAST.with_borrow_mut(|last| match last {
        Some((before, known, after)) if *before == file.schema && *known == ranges => {
            Arc::clone(after)
        }
        _ => {
            let after = marked(&file.schema, &ranges);
            *last = Some((Arc::clone(&file.schema), ranges, Arc::clone(&after)));
            after
        }
    })
}

fn marked(schema: &SchemaRef, ranges: &[(usize, Range)]) -> SchemaRef {
    let mark = |(at, field): (usize, &Arc<Field>)| {
        let range = ranges.iter().find(|(column, _)| *column == at);
        range.map_or_else(|| Arc::clone(field), |(_, range)| range.mark(field).into())
    };
    let fields: Vec<_> = schema.fields().iter().enumerate().map(mark).collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// Whether the type alone does not say which other types hold the values.
fn is_doubtful(data_type: &DataType) -> bool {
    match data_type {
        // Next to numbers of 2^63 and above it counts whether a small one is negative.
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 | DataType::UInt64 => {
            true
        }
        DataType::Timestamp(unit, _) => *unit != TimeUnit::Nanosecond,
        decimal => decimal.is_decimal(),
    }
}

/// For each column the leaf that holds its values; `None` where it is nested.
fn leaves(file: &ParquetFile) -> Vec<Option<usize>> {
    let descriptor = file.footer.file_metadata().schema_descr();
    let mut leaves = vec![None; file.schema.fields().len()];
    for (leaf, column) in descriptor.columns().iter().enumerate() {
        let root = descriptor.get_column_root_idx(leaf);
        if let Some(place) = leaves
            .get_mut(root)
            .filter(|_| column.path().parts().len() == 1)
        {
            *place = Some(leaf);
        }
    }
    leaves
}

/// What the statistics of all row groups say; `None` where one says nothing.
fn of_chunks(file: &ParquetFile, leaf: usize, data_type: &DataType) -> Option<Range> {
    let mut all = of(data_type, []);
    for group in file.footer.row_groups() {
        let chunk = group.columns().get(leaf)?;
        if group.num_rows() > 0 && !is_null(chunk) {
            let (min, max) = bounds(chunk.statistics()?, data_type)?;
            let range = of(data_type, [min, max]);
            all = Range {
                fits: all.fits && range.fits,
                ..all.and(range)
            };
        }
    }
    Some(all)
}

fn is_null(chunk: &ColumnChunkMetaData) -> bool {
    let nulls = chunk.statistics().and_then(Statistics::null_count_opt);
    nulls.is_some_and(|nulls| i64::try_from(nulls) == Ok(chunk.num_values()))
}

/// The least and the largest value, as whole numbers of the column's unit.
fn bounds(statistics: &Statistics, data_type: &DataType) -> Option<(i128, i128)> {
    // How these order unsigned numbers and decimals is not known.
    if statistics.is_min_max_deprecated() {
        return None;
    }
    Some(match statistics {
        Statistics::Int32(range) => ((*range.min_opt()?).into(), (*range.max_opt()?).into()),
        Statistics::Int64(range) if *data_type == DataType::UInt64 => {
            let unsigned = |bits: i64| i128::from(bits as u64);
            (unsigned(*range.min_opt()?), unsigned(*range.max_opt()?))
        }
        Statistics::Int64(range) => ((*range.min_opt()?).into(), (*range.max_opt()?).into()),
        Statistics::FixedLenByteArray(range) => (
            big_endian(range.min_opt()?.data())?,
            big_endian(range.max_opt()?.data())?,
        ),
        Statistics::ByteArray(range) => (
            big_endian(range.min_opt()?.data())?,
            big_endian(range.max_opt()?.data())?,
        ),
        _ => return None,
    })
}

/// A whole number in two's complement; one of more than 128 bits is the largest.
fn big_endian(bytes: &[u8]) -> Option<i128> {
    let negative = *bytes.first()? >= 0x80;
    let filler = if negative { 0xff } else { 0 };
    let cut = bytes.len().saturating_sub(16);
    let (high, low) = bytes.split_at_checked(cut)?;
    if high.iter().any(|byte| *byte != filler) {
        return Some(if negative { i128::MIN } else { i128::MAX });
    }
    let mut all = [filler; 16];
    all.get_mut(16 - low.len()..)?.copy_from_slice(low);
    Some(i128::from_be_bytes(all))
}

/// What is to be known of a column with these values.
fn of(data_type: &DataType, values: impl IntoIterator<Item = i128>) -> Range {
    let wide = |value: i128| match data_type {
        DataType::Timestamp(unit, _) => {
            let a_nano = match unit {
                TimeUnit::Second => 1_000_000_000,
                TimeUnit::Millisecond => 1_000_000,
                TimeUnit::Microsecond => 1_000,
                TimeUnit::Nanosecond => 1,
            };
            value.saturating_mul(a_nano).unsigned_abs() > i64::MAX as u128
        }
        decimal if decimal.is_decimal() => value.unsigned_abs() >= EXACT_DECIMAL,
        _ => Range::of(value).wide,
    };
    let whole = data_type.is_integer();
    let range = values.into_iter().fold(Range::default(), |all, value| {
        let whole = if whole {
            Range::of(value)
        } else {
            Range::default()
        };
        all.and(Range {
            wide: wide(value),
            ..whole
        })
    });
    Range {
        fits: *data_type == DataType::UInt64 && !range.huge,
        ..range
    }
}

/// What the values say. Of a column that can't be read, whoever reads it is notified.
fn of_values(file: &ParquetFile, field: &Field) -> Range {
    let data_type = field.data_type();
    let mut all = of(data_type, []);
    let Ok(batches) = file.batches(Some(&[field.name()]), 0) else {
        return all;
    };
    for batch in batches {
        let values = batch.ok().and_then(|batch| {
            let column = batch.columns().first()?;
            Some(match data_type {
                DataType::UInt64 => {
                    let values = column.as_primitive_opt::<UInt64Type>()?.iter().flatten();
                    of(data_type, values.map(i128::from))
                }
                whole if whole.is_integer() => {
                    let values = cast(column, &DataType::Int64).ok()?;
                    let values = values.as_primitive_opt::<Int64Type>()?.iter().flatten();
                    of(data_type, values.map(i128::from))
                }
                DataType::Timestamp(unit, _) => {
                    let values = instants(column, *unit);
                    of(data_type, values.iter().flatten().map(i128::from))
                }
                _ => {
                    let texts = cast(column, &DataType::Utf8).ok()?;
                    let long = |text: &str| {
                        let double = text.parse();
                        !double.is_ok_and(|double| double_holds(text, double))
                    };
                    Range {
                        wide: texts.as_string::<i32>().iter().flatten().any(long),
                        ..Range::default()
                    }
                }
            })
        });
        let Some(range) = values else { return all };
        all = Range {
            fits: all.fits && range.fits,
            ..all.and(range)
        };
    }
    all
}
