//! What is on disk, byte for byte: hashes and ids that must not change between versions.

pub mod cast;
pub mod commit_record;
pub(crate) mod derived_id;
pub mod heartbeat;
pub(crate) mod key;
pub mod layout;
pub mod record;
pub(crate) mod row_hash;
pub mod row_kind;
pub mod schema;
pub mod session_note;
pub mod source_note;
pub(crate) mod zone;

pub(crate) use derived_id::is_derived;
pub use row_hash::{RowHash, row_hashes};
