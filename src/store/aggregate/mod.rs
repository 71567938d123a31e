//! What is kept of a data file once its rows have been read: the keys and outcomes
//! by which attempts at one test find each other, and tallies of everything else.
//!
//! Promises: the key and the hash of a row depend on its values alone, not on the
//! file, the batch, the column order or the types it is stored in.

mod activity;
mod category;
mod columns;
mod content;
pub(crate) mod external;
mod hash;
pub(crate) mod increment_digest;
pub(crate) mod key_index;
pub mod summary;
pub(crate) mod tallies;

pub use super::format::key::{cell_key, is_id, key, key_in};
pub use activity::{Activity, Failure, LAST_ROWS, ModelActivity, Process, Recent};
pub use category::category;
pub use columns::{Columns, Outcome, text_column};
pub use content::{
    CellKeys, Digest, Keep, Naive, Place, Reading, check_models, places_of_cells, short,
};
pub use hash::{Fingerprint, legacy_row_hashes};
