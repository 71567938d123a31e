//! The raw facts about writer processes: what their files, their locks and their
//! rows say. What state that makes is for others to say.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::listing::Files;
use super::live::Beat;
use super::snapshot::{FileState, WaitingFile, WriterFacts};
use crate::stats::collections::{ByName, Names};
use crate::stats::history::p95;
use crate::store::Store;
use crate::store::aggregate::Process;
use crate::store::disk::process::lives;
use crate::store::disk::{Lock, lock_of};
use crate::store::format::layout::{
    IncrementalName, classify, host, process_id, stem, writer as writer_of,
};
use crate::store::write::increment;

/// The writers that have a file in `incremental/` or a heartbeat.
pub(crate) fn writers(
    store: &Store,
    files: &Files,
    waiting: &[WaitingFile],
    processes: &HashMap<Arc<str>, Process>,
    beats: &[Beat],
) -> Vec<WriterFacts> {
    let rows: ByName<&str, u64> = waiting
        .iter()
        .filter(|file| file.state == FileState::Ready)
        .map(|file| (file.name.as_str(), file.rows))
        .collect();
    let counted: ByName<&str, Lock> = files
        .journals
        .iter()
        .map(|journal| (journal.name.as_str(), journal.lock))
        .collect();
    let mut found: BTreeMap<&str, WriterFacts> = BTreeMap::new();
    let mut of_others: BTreeMap<&str, &WaitingFile> = BTreeMap::new();
    let waits: ByName<&str, &WaitingFile> = waiting
        .iter()
        .map(|file| (file.name.as_str(), file))
        .collect();
    let mut seen = Names::default();
    for (name, bytes) in names(files) {
        let Some(id) = process_id(name).filter(|_| seen.insert(name)) else {
            continue;
        };
        let ours = stem(name);
        let writer = ours.map_or(id, writer_of);
        let facts = found
            .entry(writer)
            .or_insert_with(|| facts(writer, ours.and_then(host), processes));
        if let Some(file) = waits.get(name).filter(|_| ours.is_none()) {
            let newest = of_others.entry(writer).or_insert(*file);
            if newest.modified < file.modified {
                *newest = *file;
            }
        }
        let counts = rows.get(name);
        facts.rows += counts.copied().unwrap_or(0);
        if classify(name) != IncrementalName::Journal {
            continue;
        }
        facts.journal_bytes += bytes;
        let lock = if let Some(lock) = counted.get(name) {
            *lock
        } else {
            // Its rows count elsewhere: one that may not be opened is not a reason to stop.
            let path = store.layout.incremental().join(name);
            lock_of(&*store.disk, &path).unwrap_or(Lock::Unknown)
        };
        facts.lock_held |= lock == Lock::Held;
        facts.unseen |= bytes > 0 && matches!(lock, Lock::Unknown | Lock::Unsupported);
        // An empty journal has nothing to recover: its writer ended before a row.
        facts.unclosed |= lock == Lock::Free && counts.is_some();
    }
    for beat in beats {
        let writer = beat.said.writer.as_str();
        let facts = found
            .entry(writer)
            .or_insert_with(|| facts(writer, Some(&beat.said.host), processes));
        let goes_on = beat.said.ended.is_none();
        facts.alive = beat.said.recorder.is_alive().filter(|_| goes_on);
        facts.last_row = facts.last_row.max(beat.said.last_row);
        facts.beat_at = beat.at;
        facts.heartbeat = Some(Arc::clone(&beat.said));
    }
    for (writer, file) in of_others {
        let Some(facts) = found.get_mut(writer) else {
            continue;
        };
        let path = store.layout.incremental().join(&file.name);
        if file.naive.rows > 0 {
            facts.last_row = Some(file.modified.as_microsecond());
        }
        let pid = writer.split('_').next().and_then(|pid| pid.parse().ok());
        facts.owner = store.disk.owner(&path);
        let known = facts.owner.zip(pid);
        facts.alive = known.and_then(|(owner, pid)| lives(pid, owner, Some(file.modified)));
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

fn facts(writer: &str, host: Option<&str>, processes: &HashMap<Arc<str>, Process>) -> WriterFacts {
    // Of a writer of ours more follows than its process id.
    let end = writer
        .match_indices('_')
        .nth(2)
        .map_or(writer.len(), |(at, _)| at);
    let id = writer.get(..end).unwrap_or(writer);
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
        writer: writer.to_owned(),
        process_id: id.to_owned(),
        host: host.map(str::to_owned),
        on_this_host: host.is_some_and(|host| host == increment::host()),
        lock_held: false,
        unclosed: false,
        unseen: false,
        rows: 0,
        journal_bytes: 0,
        last_row: process.and_then(|process| process.last_row),
        last_model: process.and_then(|process| process.last_model.clone()),
        gaps: gaps.len(),
        p95_gap: p95(&mut gaps),
        heartbeat: None,
        beat_at: None,
        alive: None,
        owner: None,
    }
}
