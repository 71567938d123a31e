//! The way in: writers, journals, increments.

pub mod increment;
pub mod journal;
pub mod live;
pub mod on_request;
pub mod run_lease;
pub mod session_notes;
pub mod shard;
pub mod source_notes;
pub mod test_id;
pub mod writer;
