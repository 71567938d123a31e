//! The raw facts about writer processes: what their files, their locks and their
//! rows tell. What state that makes is for others to say.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::files::Files;
use super::{FileState, WaitingFile, WriterFacts};
use crate::stats::hashed::{ByName, Names};
use crate::stats::history::p95;
use crate::store::digest::Process;

use crate::store::layout::{IncrementalName, classify, host, process_id, stem};
use crate::store::{Store, increment};

/// The writers that have a file in `incremental/`, by process id and host.
pub(super) fn writers(
    store: &Store,
    files: &Files,
    waiting: &[WaitingFile],
    processes: &HashMap<Arc<str>, Process>,
) -> Vec<WriterFacts> {
    let rows: ByName<&str, u64> = waiting
        .iter()
        .filter(|file| file.state == FileState::Ready)
        .map(|file| (file.name.as_str(), file.rows))
        .collect();
    let counted: ByName<&str, bool> = files
        .journals
        .iter()
        .map(|journal| (journal.name.as_str(), journal.locked))
        .collect();
    let mut found: BTreeMap<(&str, Option<&str>), WriterFacts> = BTreeMap::new();
    let mut seen = Names::default();
    for (name, bytes) in names(files) {
        let Some(id) = process_id(name).filter(|_| seen.insert(name)) else {
            continue;
        };
        let ours = stem(name).and_then(host);
        let facts = found
            .entry((id, ours))
            .or_insert_with(|| facts(id, ours, processes));
        let counts = rows.get(name);
        facts.rows += counts.copied().unwrap_or(0);
        if classify(name) != IncrementalName::Journal {
            continue;
        }
        facts.journal_bytes += bytes;
        let locked = if let Some(locked) = counted.get(name) {
            *locked
        } else {
            // Its rows count elsewhere: one that may not be opened is no reason to stop.
            store
                .disk
                .is_locked(&store.layout.incremental().join(name))
                .unwrap_or(false)
        };
        facts.lock_held |= locked;
        // An empty journal has nothing to recover: its writer ended before a row.
        facts.unclosed |= !locked && counts.is_some();
    }
    found.into_values().collect()
}

/// Every file of a writer, and its size.
fn names(files: &Files) -> impl Iterator<Item = (&str, u64)> {
    let increments = files
        .increments
        .iter()
        .map(|file| (file.name.as_str(), file.stat.bytes));
    let journals = files
        .journals
        .iter()
        .map(|file| (file.name.as_str(), file.stat.bytes));
    let aside = files
        .set_aside
        .iter()
        .map(|file| (file.name.as_str(), file.stat.bytes));
    let leftovers = files
        .leftovers
        .iter()
        .map(|file| (file.name.as_str(), file.stat.bytes));
    increments.chain(journals).chain(aside).chain(leftovers)
}

fn facts(id: &str, host: Option<&str>, processes: &HashMap<Arc<str>, Process>) -> WriterFacts {
    let process = processes.get(id);
    let mut times = process
        .map(|process| process.times.clone())
        .unwrap_or_default();
    times.sort_unstable();
    let mut gaps: Vec<f64> = times
        .iter()
        .zip(times.iter().skip(1))
        .map(|(one, next)| next.saturating_sub(*one) as f64 / 1e6)
        .collect();
    WriterFacts {
        process_id: id.to_owned(),
        host: host.map(str::to_owned),
        on_this_host: host.is_some_and(|host| host == increment::host()),
        lock_held: false,
        unclosed: false,
        rows: 0,
        journal_bytes: 0,
        last_row: process.and_then(|process| process.last_row),
        last_model: process.and_then(|process| process.last_model.clone()),
        p95_gap: p95(&mut gaps),
    }
}
