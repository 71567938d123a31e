//! Rows that are decoded, and written in another order: column by column, on all cores.
//! Texts are dictionaries where they were read as such; those of all batches become one.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, DictionaryArray, Int32Array, RecordBatch, StringArray, UInt32Array,
};
use arrow::buffer::NullBuffer;
use arrow::compute::{concat, interleave, take};
use arrow::datatypes::{DataType, Int32Type, SchemaRef};
use arrow::error::ArrowError;

use crate::store::commit::merge::kernel;
use crate::store::error::{Error, Result};
use crate::store::threads;

/// Batch, and row in it.
pub(crate) type At = (usize, usize);

/// Rows in the order in which they are to be written.
#[derive(Debug)]
pub(crate) struct SortedRun {
    columns: Vec<Values>,
    order: Vec<At>,
    /// The same, as places among the rows of all batches.
    places: UInt32Array,
}

/// The values of a column in all batches.
#[derive(Debug)]
enum Values {
    /// Batch by batch: together they may be more than one array takes.
    Apart(Vec<ArrayRef>),
    Whole(ArrayRef),
    Keyed {
        keys: Int32Array,
        texts: ArrayRef,
    },
}

impl SortedRun {
    /// Of batches with the columns of `schema`, texts plain or keyed.
    pub(crate) fn new(
        schema: &SchemaRef,
        batches: Vec<RecordBatch>,
        order: Vec<At>,
        threads: usize,
    ) -> Result<Self> {
        let mut arrays: Vec<Vec<ArrayRef>> =
            vec![Vec::with_capacity(batches.len()); schema.fields().len()];
        let mut starts = Vec::with_capacity(batches.len());
        let mut rows = 0;
        for batch in batches {
            starts.push(rows);
            rows += batch.num_rows();
            for (column, array) in arrays.iter_mut().zip(batch.columns()) {
                column.push(array.clone());
            }
        }
        let place = |&(batch, row): &At| u32::try_from(starts.get(batch)? + row).ok();
        let places: Option<Vec<u32>> = order.iter().map(place).collect();
        let places =
            places.ok_or_else(|| Error::Refused("more rows at once than memory has".into()))?;
        let columns = threads::each(threads, arrays, Values::of)
            .into_iter()
            .collect::<Result<_>>()?;
        Ok(Self {
            columns,
            order,
            places: places.into(),
        })
    }

    /// Rows.
    pub(crate) fn rows(&self) -> usize {
        self.order.len()
    }

    /// The values of a column in a range of the rows.
    pub(crate) fn column(&self, field: usize, rows: Range<usize>) -> Result<ArrayRef> {
        let (values, order) = (self.columns.get(field), self.order.get(rows.clone()));
        let (values, order) = values
            .zip(order)
            .ok_or_else(|| Error::Refused("rows lack a column".into()))?;
        let places = self.places.slice(rows.start, rows.len());
        values
            .gather(order, &places)
            .map_err(|error| kernel(&error))
    }

    /// Where the rows come from.
    pub(crate) fn order(&self) -> &[At] {
        &self.order
    }
}

impl Values {
    fn of(arrays: Vec<ArrayRef>) -> Result<Self> {
        let Some(first) = arrays.first() else {
            return Ok(Self::Apart(arrays));
        };
        let alike = arrays
            .iter()
            .all(|array| array.data_type() == first.data_type());
        match first.data_type() {
            DataType::Dictionary(..) if alike => Self::keyed(arrays),
            kind if alike && (kind.is_primitive() || *kind == DataType::Boolean) => {
                let all: Vec<&dyn Array> = arrays.iter().map(|array| &**array).collect();
                Ok(Self::Whole(concat(&all).map_err(|error| kernel(&error))?))
            }
            _ => Ok(Self::Apart(arrays)),
        }
    }

    fn keyed(arrays: Vec<ArrayRef>) -> Result<Self> {
        let mut known: HashMap<&str, i32> = HashMap::new();
        let (mut texts, mut bytes) = (Vec::new(), 0_usize);
        // Below zero for no value.
        let mut keys: Vec<i32> = Vec::with_capacity(arrays.iter().map(Array::len).sum());
        // What each key of the last dictionary is in that of all.
        let mut places: Vec<i32> = Vec::new();
        let mut last: Option<&ArrayRef> = None;
        for array in &arrays {
            let of = array.as_dictionary_opt::<Int32Type>();
            let values = of.and_then(|of| of.values().as_string_opt::<i32>());
            let Some((of, values)) = of.zip(values) else {
                return Ok(Self::Apart(arrays));
            };
            // Batches of one chunk share their dictionary.
            if last.is_none_or(|last| !Arc::ptr_eq(last, of.values())) {
                places.clear();
                for text in values {
                    places.push(text.map_or(-1, |text| {
                        *known.entry(text).or_insert_with(|| {
                            texts.push(text);
                            bytes += text.len();
                            texts.len() as i32 - 1
                        })
                    }));
                }
            }
            last = Some(of.values());
            let place = |key: &i32| {
                usize::try_from(*key)
                    .ok()
                    .and_then(|key| places.get(key))
                    .copied()
            };
            if of.keys().null_count() == 0 {
                keys.extend(
                    of.keys()
                        .values()
                        .iter()
                        .map(|key| place(key).unwrap_or(-1)),
                );
            } else {
                keys.extend(
                    of.keys()
                        .iter()
                        .map(|key| key.and_then(|key| place(&key)).unwrap_or(-1)),
                );
            }
        }
        if bytes > i32::MAX as usize {
            return Err(Error::Refused(
                "the texts of a column take more than memory has".into(),
            ));
        }
        let nulls = keys
            .iter()
            .any(|key| *key < 0)
            .then(|| keys.iter().map(|key| *key >= 0).collect());
        let texts = Arc::new(StringArray::from_iter_values(texts));
        Ok(Self::Keyed {
            keys: Int32Array::new(keys.into(), nulls.map(NullBuffer::new)),
            texts,
        })
    }

    fn gather(&self, order: &[At], places: &UInt32Array) -> Result<ArrayRef, ArrowError> {
        match self {
            Self::Apart(arrays) => {
                let arrays: Vec<&dyn Array> = arrays.iter().map(|array| &**array).collect();
                interleave(&arrays, order)
            }
            Self::Whole(values) => take(values, places, None),
            Self::Keyed { keys, texts } => {
                let keys = take(keys, places, None)?;
                let keys = keys.as_primitive::<Int32Type>().clone();
                Ok(Arc::new(DictionaryArray::<Int32Type>::try_new(
                    keys,
                    texts.clone(),
                )?))
            }
        }
    }
}

/// The memory of batches that were read one after the other.
pub(crate) fn bytes(batches: &[RecordBatch]) -> usize {
    let mut before: Option<&RecordBatch> = None;
    let mut sum = 0;
    for batch in batches {
        for (at, array) in batch.columns().iter().enumerate() {
            let values = |array: &ArrayRef| Some(array.as_any_dictionary_opt()?.values().clone());
            let same = before.and_then(|before| values(before.columns().get(at)?));
            let shared =
                values(array).filter(|own| same.is_some_and(|other| Arc::ptr_eq(own, &other)));
            sum += array.get_array_memory_size()
                - shared.map_or(0, |values| values.get_array_memory_size());
        }
        before = Some(batch);
    }
    sum
}
