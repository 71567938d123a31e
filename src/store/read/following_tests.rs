//! A scanner that scans again and again sees what one sees that looks for the first time.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use super::snapshot::tests::totals;
use super::snapshot::*;
use crate::store::commit::consolidate;
use crate::store::testing::fixture::{Fixture, batch, record};
use crate::store::write::journal::{Journal, to_lines};
use crate::store::{Control, Record};

/// Numbers that scan random.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    /// Attempts at some of three hundred tests: many are repeated, some are the same row.
    fn records(&mut self, n: u64) -> Vec<Record> {
        (0..n)
            .map(|_| {
                let (id, time) = (self.roll(300), self.roll(4));
                let task_id = Some(format!("task {}", id % 7));
                let test_id = (id > 3).then(|| format!("t{id}"));
                let model = if id % 3 == 0 { "m" } else { "n" }.to_owned();
                let success = (id + time) % 2 == 0;
                Record {
                    test_id,
                    model,
                    task_id,
                    ..record("", success, time as i64 * 1_000_000)
                }
            })
            .collect()
    }
}

/// Of each test the newest attempt; those without an id all count. Attempts of one time are
/// the same row.
fn expected(files: &BTreeMap<String, Vec<Record>>) -> (u64, u64) {
    let mut newest: BTreeMap<(&str, &str), &Record> = BTreeMap::new();
    let (mut tests, mut full) = (0, 0);
    for record in files.values().flatten() {
        let Some(id) = &record.test_id else {
            tests += 1;
            full += u64::from(record.success == Some(true));
            continue;
        };
        let best = newest.entry((id, &record.model)).or_insert(record);
        if record.timestamp > best.timestamp {
            *best = record;
        }
    }
    let counted = newest.values();
    (
        tests + newest.len() as u64,
        full + counted
            .filter(|record| record.success == Some(true))
            .count() as u64,
    )
}

#[test]
fn the_next_look_sees_what_a_first_one_sees() {
    let fixture = Fixture::new();
    let (mut dice, mut scanner) = (Dice(7), Scanner::new());
    let mut files: BTreeMap<String, Vec<Record>> = BTreeMap::new();
    let name = |at: u64| format!("increment_12_20260131_120000_host_0a1b_{at}.parquet");
    let mut journal = fixture.journal("12_20260131_120000_host_0a1b_9999", &[]);
    let mut reasons = BTreeSet::new();
    for round in 0..40 {
        let reason = if round == 5 { 0 } else { 1 + dice.roll(12) };
        reasons.insert(reason);
        match reason {
            // Enough to be read at once.
            0 => {
                for at in 0..70 {
                    let rows = dice.records(5);
                    fixture.increment(&name(1_000 + at), &batch(&rows));
                    files.insert(name(1_000 + at), rows);
                }
            }
            // One goes, as no program of ours makes it go.
            1 | 2 => {
                let at = dice.roll(files.len().max(1) as u64) as usize;
                let gone = files
                    .keys()
                    .filter(|name| name.starts_with("increment"))
                    .nth(at)
                    .cloned();
                if let Some(gone) = gone {
                    fs::remove_file(fixture.store.layout.incremental().join(&gone)).unwrap();
                    files.remove(&gone);
                }
            }
            3..6 => {
                let rows = dice.records(4);
                journal.append(&to_lines(&rows).unwrap(), 4, false).unwrap();
                files.entry("journal".to_owned()).or_default().extend(rows);
            }
            6 if round > 15 => {
                let options = consolidate::Options::default();
                consolidate::run(&fixture.store, &options, fixture.now, &Control::default())
                    .unwrap();
                // Where they are does not matter; that they can't go any more does.
                let merged: Vec<(String, Vec<Record>)> = files
                    .extract_if(.., |name, _| name.starts_with("increment"))
                    .collect();
                let main = files.entry("main".to_owned()).or_default();
                main.extend(merged.into_iter().flat_map(|(_, rows)| rows));
            }
            _ => {
                let rows = dice.records(6);
                fixture.increment(&name(round), &batch(&rows));
                files.insert(name(round), rows);
            }
        }
        let seen = scanner
            .scan(&fixture.store, fixture.now, &Control::default())
            .unwrap();
        let (tests, full, _) = totals(&seen);
        assert_eq!((tests, full), expected(&files), "round {round}: {reason}");
        let fresh = Scanner::new()
            .scan(&fixture.store, fixture.now, &Control::default())
            .unwrap();
        assert_eq!(seen, fresh, "round {round}: {reason}");
    }
    assert!(
        reasons.is_superset(&BTreeSet::from([0, 1, 3, 6, 7])),
        "{reasons:?}"
    );
    let _: Journal = journal;
}
