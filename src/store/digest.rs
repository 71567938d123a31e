//! What is kept of a data file once its rows have been read: the keys and outcomes
//! by which attempts at one test find each other, and tallies of everything else.
//!
//! Promises: the key and the hash of a row depend on its values alone, not on the
//! file, the batch, the column order or the types it is stored in.

mod activity;
mod category;
mod columns;
mod content;
mod hash;
mod key;

pub use activity::{Activity, Event, Failure, ModelActivity, Process, RECENT, Recent};
pub use category::category;
pub use columns::{Columns, Outcome, text_column};
pub use content::{CellKeys, Digest, Keep, Place, Reading, places_of_cells, short};
pub use hash::{Fingerprint, row_hashes};
pub use key::{cell_key, is_id, key, key_in};
