//! evaltop: "top for evaluations". A crash-safe Parquet store that many benchmark
//! processes append to at once, and the terminal dashboard that watches it.
//!
//! The rooms, top to bottom; an arrow between two of them points only downwards:
//!
//! | room | for |
//! |---|---|
//! | [`cli`] | parsing and the commands, one file a group |
//! | [`tui`] | the dashboard: model, update, views |
//! | [`demo`] | a realistic live store to look at |
//! | [`jobs`] | maintenance as plan, run, outcome |
//! | [`runner`] | a command run once a test, in parallel, and recorded |
//! | [`monitor`] | watching and scanning a store into observations |
//! | [`formats`] | import and export |
//! | [`health`] | rules that turn an observation into alerts |
//! | [`store`] | the storage core: knows no terminal and no runtime |
//! | [`observation`], [`stats`], [`config`] | plain data and pure functions |
//! | [`memory`] | what was freed, back to the system |
//!
//! Recording a result and counting it, without the program:
//!
//! ```
//! use evaltop::store::snapshot::Scanner;
//! use evaltop::store::writer::{Writer, WriterOptions};
//! use evaltop::store::{Control, Record, Store};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! let store = Store::new(folder.path());
//! let mut writer = Writer::open(&store, WriterOptions::default())?;
//! let result = Record { model: "qwen2.5-72b-instruct".into(), success: true, ..Record::default() };
//! let test_id = writer.append(result)?; // Durable when this returns.
//! assert!(!test_id.is_empty());
//!
//! let seen = Scanner::new().scan(&store, jiff::Timestamp::now(), &Control::default())?;
//! assert_eq!(seen.cells.values().map(|tally| tally.tests).sum::<u64>(), 1);
//! # Ok(())
//! # }
//! ```

pub mod cli;
pub mod config;
pub mod demo;
pub mod formats;
pub mod health;
pub mod jobs;
pub mod memory;
pub mod monitor;
pub mod observation;
pub mod runner;
pub mod stats;
pub mod store;
pub mod tui;
