//! Backup, restore, cleanup, validate, merge.

pub mod backup;
pub mod cleanup;
pub mod copy;
pub mod merge;
pub mod operations;
pub mod remove;
pub mod restore;
pub mod validate;
