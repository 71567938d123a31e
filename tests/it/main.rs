//! One binary for all tests that run the program: the tests link once.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod statistics;
mod support;

mod analysis;
#[cfg(feature = "cloud")]
mod bucket;
mod clocks;
#[cfg(feature = "cloud")]
mod clouds;
mod concurrency;
mod dashboard;
mod demo;
mod examples;
mod exits;
mod full;
mod graft;
mod guide;
mod headless;
mod hostile;
mod import_database;
mod import_logs;
mod legacy;
mod library;
mod limits;
mod liveness;
mod mailbox;
mod maintain;
mod mounting;
mod mounts;
mod namespaces;
mod places;
mod pulling;
mod query;
mod readme;
mod record;
mod rooms;
mod row_identity;
mod run;
mod sharing;
mod source_formats;
mod sources;
mod spending;
mod states;
mod status;
mod storage_format;
mod tools;
mod transfer;
mod values;
