//! The way out: snapshots and queries. Readers take no lock and write nothing.

pub(crate) mod attempts;
pub mod folders;
#[cfg(test)]
pub(crate) mod following_tests;
pub(crate) mod footer_cache;
pub(crate) mod hits;
pub(crate) mod identity_facts;
#[cfg(test)]
pub(crate) mod increment_digest_tests;
#[cfg(test)]
pub(crate) mod interleaving_tests;
pub(crate) mod listing;
pub(crate) mod live;
pub(crate) mod main;
pub(crate) mod main_rows;
pub(crate) mod main_tally;
pub(crate) mod notes;
pub(crate) mod pending;
pub(crate) mod pending_keys;
pub(crate) mod pool;
pub mod query;
pub(crate) mod scan_context;
pub(crate) mod scanner;
pub mod snapshot;
pub(crate) mod stat;
pub(crate) mod writers;
