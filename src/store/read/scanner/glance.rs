//! A glance at a store: main alone, which its footer says, and how much waits next to it. It
//! takes as long as that, so that there is something to see before thousands of files are read.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Listing, MainRows, MainState, Scanner, Snapshot, add_all, main_state};
use crate::stats::history::History;
use crate::store::Store;
use crate::store::error::Result;
use crate::store::read::scan_context::MANY;

/// What is known before pending rows are read.
#[derive(Debug)]
pub struct Glance {
    /// Main, as if nothing else were there.
    pub main_alone: Snapshot,
    /// Increments that are not read yet.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Scanner {
    /// What main says and what of the rest is not read yet, where that is much: before the
    /// first scan, which then takes a while.
    pub fn glance(&mut self, store: &Store, now: Timestamp) -> Result<Option<Glance>> {
        let listing = Listing::of(store, now, &mut self.footers)?;
        let unread: Vec<u64> = listing
            .unread(&self.footers)
            .iter()
            .map(|entry| entry.stat.bytes)
            .collect();
        if unread.len() < MANY || !listing.summaries.is_empty() {
            return Ok(None);
        }
        self.main = match &listing.main {
            Some(main) => MainRows::from_footer(store, main, &listing.namer.zone, now)?,
            None => None,
        };
        let (Some(main), Some(rows)) = (&listing.main, &self.main) else {
            return Ok(None);
        };
        let mut activity = rows.digest.activity.clone();
        activity.settle();
        let mut history = History::default();
        add_all(&mut history, &activity);
        let main_alone = Snapshot {
            main: MainState {
                expected_rows: listing.expected_rows,
                ..main_state(Some(main), Some(rows))
            },
            cells: Arc::new(rows.cells.clone()),
            models: activity.models,
            history,
            clusters: rows.digest.clusters.clone(),
            ..Snapshot::default()
        };
        Ok(Some(Glance {
            main_alone,
            files: unread.len() as u64,
            bytes: unread.iter().sum(),
        }))
    }
}
