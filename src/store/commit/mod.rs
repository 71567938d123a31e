//! How rows get into main: one rename.

pub mod base;
pub(crate) mod choice;
pub mod consolidate;
pub(crate) mod copy_plan;
pub(crate) mod derived_files;
pub(crate) mod encode;
pub(crate) mod external_main;
pub mod fence;
pub(crate) mod folders;
pub(crate) mod input;
pub mod log;
pub(crate) mod merge;
mod missing;
pub(crate) mod named_by_hash;
pub(crate) mod old_main;
pub(crate) mod pending_files;
pub(crate) mod recover;
pub(crate) mod removed;
pub(crate) mod round;
pub(crate) mod sorted_run;
pub(crate) mod splits;
pub(crate) mod standing;
pub mod summaries;
pub mod transaction;
