//! Rows that are decoded, and written in another order: column by column, on all cores.
//! Texts are dictionaries where they were read as such; those of all batches become one.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, DictionaryArray, Int32Array, RecordBatch, StringArray};
use arrow::compute::interleave;
use arrow::datatypes::{DataType, Int32Type, SchemaRef};
use arrow::error::ArrowError;

use super::merge::kernel;
use crate::store::error::{Error, Result};
use crate::store::threads;

/// Batch, and row in it.
pub(super) type At = (usize, usize);

/// Rows in the order in which they are to be written.
#[derive(Debug)]
pub(super) struct Run {
    columns: Vec<Values>,
    order: Vec<At>,
}

/// The values of a column in each of the batches.
#[derive(Debug)]
enum Values {
    Plain(Vec<ArrayRef>),
    Keyed {
        /// With what each key is in the dictionary of all; below zero for no value.
        keys: Vec<(Int32Array, Arc<Vec<i32>>)>,
        all: ArrayRef,
    },
}

impl Run {
    /// Of batches with the columns of `schema`, texts plain or keyed.
    pub(super) fn new(
        schema: &SchemaRef,
        batches: Vec<RecordBatch>,
        order: Vec<At>,
        threads: usize,
    ) -> Result<Self> {
        let mut arrays: Vec<Vec<ArrayRef>> = vec![Vec::with_capacity(batches.len()); schema.fields().len()];
        for batch in batches {
            for (column, array) in arrays.iter_mut().zip(batch.columns()) {
                column.push(array.clone());
            }
        }
        let columns = threads::each(threads, arrays, Values::of).into_iter().collect::<Result<_>>()?;
        Ok(Self { columns, order })
    }

    /// Rows.
    pub(super) fn rows(&self) -> usize {
        self.order.len()
    }

    /// The values of a column in a range of the rows.
    pub(super) fn column(&self, field: usize, rows: Range<usize>) -> Result<ArrayRef> {
        let (values, order) = (self.columns.get(field), self.order.get(rows));
        let (values, order) = values.zip(order).ok_or_else(|| Error::Refused("rows lack a column".into()))?;
        values.gather(order).map_err(|error| kernel(&error))
    }

    /// Where the rows come from.
    pub(super) fn order(&self) -> &[At] {
        &self.order
    }
}

impl Values {
    fn of(arrays: Vec<ArrayRef>) -> Result<Self> {
        let keyed = |array: &ArrayRef| matches!(array.data_type(), DataType::Dictionary(..));
        if arrays.is_empty() || !arrays.iter().all(keyed) {
            return Ok(Self::Plain(arrays));
        }
        let mut known: HashMap<&str, i32> = HashMap::new();
        let (mut texts, mut bytes) = (Vec::new(), 0_usize);
        let mut keys: Vec<(Int32Array, Arc<Vec<i32>>)> = Vec::with_capacity(arrays.len());
        let mut last: Option<&ArrayRef> = None;
        for array in &arrays {
            let of = array.as_dictionary_opt::<Int32Type>();
            let values = of.and_then(|of| of.values().as_string_opt::<i32>());
            let Some((of, values)) = of.zip(values) else { return Ok(Self::Plain(arrays)) };
            // Batches of one chunk share their dictionary.
            let same = last.is_some_and(|last| Arc::ptr_eq(last, of.values()));
            let known_keys = match keys.last().filter(|_| same) {
                Some((_, known_keys)) => known_keys.clone(),
                None => Arc::new(
                    values
                        .iter()
                        .map(|text| {
                            let Some(text) = text else { return -1 };
                            *known.entry(text).or_insert_with(|| {
                                texts.push(text);
                                bytes += text.len();
                                texts.len() as i32 - 1
                            })
                        })
                        .collect(),
                ),
            };
            last = Some(of.values());
            keys.push((of.keys().clone(), known_keys));
        }
        if bytes > i32::MAX as usize {
            return Err(Error::Refused("the texts of a column take more than memory has".into()));
        }
        let all = Arc::new(StringArray::from_iter_values(texts));
        Ok(Self::Keyed { keys, all })
    }

    fn gather(&self, order: &[At]) -> Result<ArrayRef, ArrowError> {
        match self {
            Self::Plain(arrays) => {
                let arrays: Vec<&dyn Array> = arrays.iter().map(|array| &**array).collect();
                interleave(&arrays, order)
            }
            Self::Keyed { keys, all } => {
                let key = |&(batch, row): &At| {
                    let (keys, known) = keys.get(batch)?;
                    let key = keys.is_valid(row).then(|| keys.values().get(row))?;
                    known.get(usize::try_from(*key?).ok()?).copied().filter(|key| *key >= 0)
                };
                let keys: Int32Array = order.iter().map(key).collect();
                Ok(Arc::new(DictionaryArray::<Int32Type>::try_new(keys, all.clone())?))
            }
        }
    }
}

/// The memory of batches that were read one after the other.
pub(super) fn bytes(batches: &[RecordBatch]) -> usize {
    let mut before: Option<&RecordBatch> = None;
    let mut sum = 0;
    for batch in batches {
        for (at, array) in batch.columns().iter().enumerate() {
            let values = |array: &ArrayRef| Some(array.as_any_dictionary_opt()?.values().clone());
            let same = before.and_then(|before| values(before.columns().get(at)?));
            let shared = values(array).filter(|own| same.is_some_and(|other| Arc::ptr_eq(own, &other)));
            sum += array.get_array_memory_size() - shared.map_or(0, |values| values.get_array_memory_size());
        }
        before = Some(batch);
    }
    sum
}
