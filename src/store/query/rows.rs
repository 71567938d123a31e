//! Matching rows, batch by batch, each record once.
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::{Control, Result, Selection, Store};

/// Batches of matching rows, all with the columns of [`Rows::schema`].
#[derive(Debug)]
pub struct Rows {
    schema: SchemaRef,
}

impl Rows {
    /// The columns of every batch.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }
}

impl Iterator for Rows {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        None
    }
}

/// The matching rows of a consistent view of the store. Unknown columns are refused
/// in one sentence that lists those there are.
pub fn rows(_store: &Store, _selection: &Selection, _control: &Control) -> Result<Rows> {
    Err(crate::store::Error::Refused("rows are not there yet".into()))
}
