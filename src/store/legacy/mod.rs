//! What exists because other programs write the same folder.

pub(crate) mod format1;
pub mod transactions;
