//! evaltop: "top for evaluations". A crash-safe Parquet store that many benchmark
//! processes append to at once, and the terminal dashboard that watches it.
//!
//! The rooms, top to bottom; an arrow between two of them points only downwards:
//!
//! | room | for |
//! |---|---|
//! | `cli` | parsing and the commands, one file a group |
//! | `tui` | the dashboard: model, update, views |
//! | `demo` | a realistic live store to look at |
//! | `jobs` | maintenance as plan, run, outcome |
//! | `report` | what a store says, as one HTML or Markdown file to send |
//! | `runner` | a command run once a test, in parallel, and recorded |
//! | `monitor` | watching and scanning a store into observations |
//! | `sources` | files and logs of other tools, read into records |
//! | `formats` | export, and how rows are printed |
//! | `health` | rules that turn an observation into alerts |
//! | `observation` | what a scan found, as plain data |
//! | `store` | the storage core: knows no terminal and no runtime |
//! | `expr` | the expression grammar of filters, groups and aggregates |
//! | `config`, `stats`, `text` | settings, and pure functions |
//! | `memory` | what was freed, back to the system; what happens when there is none left |
//!
//! Without the program, the library records results and counts them:
//!
//! ```
//! use evaltop::{Control, Record, Scanner, Store, Writer, WriterOptions};
//!
//! # fn main() -> evaltop::Result<()> {
//! # let folder = tempfile::tempdir().unwrap();
//! let store = Store::new(folder.path());
//! let mut writer = Writer::open(&store, WriterOptions::default())?;
//! let result = Record { model: "qwen2.5-72b-instruct".into(), success: Some(true), ..Record::default() };
//! let test_id = writer.append(result)?; // Durable when this returns.
//! assert!(!test_id.is_empty());
//!
//! let snapshot = Scanner::new().scan(&store, jiff::Timestamp::now(), &Control::default())?;
//! assert_eq!(snapshot.cells.values().map(|tally| tally.tests).sum::<u64>(), 1);
//! # Ok(())
//! # }
//! ```
//!
//! Rows come as Arrow batches, each test once, with the newest attempt that counts:
//!
//! ```
//! use evaltop::{Control, Selection, Store, query};
//!
//! # fn main() -> evaltop::Result<()> {
//! # let folder = tempfile::tempdir().unwrap();
//! let store = Store::new(folder.path());
//! # store.create()?;
//! for batch in query(&store, &Selection::default(), &Control::default())? {
//!     println!("{} rows", batch?.num_rows());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Features: `cli` (the commands) and `tui` (the dashboard) are on by default; a program that only
//! writes or reads stores turns them off and compiles neither clap nor ratatui.

// What only the Python module, tests and benches call looks unused without them.
#![cfg_attr(
    not(feature = "internals"),
    allow(dead_code, unreachable_pub, unused_imports)
)]

#[cfg(feature = "cli")]
mod cli;
mod config;
#[cfg(feature = "cli")]
mod demo;
mod expr;
#[cfg(feature = "cli")]
mod formats;
#[cfg(feature = "cli")]
mod health;
#[cfg(feature = "cli")]
mod jobs;
mod limits;
mod memory;
#[cfg(feature = "cli")]
mod monitor;
#[cfg(feature = "cli")]
mod observation;
#[cfg(feature = "cli")]
mod quotes;
#[cfg(feature = "cli")]
mod report;
#[cfg(feature = "cli")]
mod runner;
#[cfg(feature = "cli")]
mod signals;
#[cfg(feature = "cli")]
mod sources;
mod stats;
mod store;
mod text;
#[cfg(feature = "tui")]
mod tui;

#[cfg(feature = "cli")]
pub use crate::cli::main;
pub use crate::memory::Allocator;
pub use crate::store::commit::consolidate::{Options as ConsolidateOptions, run as consolidate};
pub use crate::store::read::query::{Filter, Selection, rows as query};
pub use crate::store::read::snapshot::{Scanner, Snapshot};
pub use crate::store::write::writer::{Durability, Writer, WriterOptions};
pub use crate::store::{Control, Error, Record, Result, Store};

#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod internals;
