//! One binary for all tests that run the program: the tests link once.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

mod analysis;
mod concurrency;
mod dashboard;
mod demo;
mod examples;
mod exits;
mod full;
mod graft;
mod guide;
mod hostile;
mod import_database;
mod import_logs;
mod legacy;
mod maintain;
mod query;
mod readme;
mod record;
mod run;
mod status;
mod storage_format;
mod tools;
mod transfer;
