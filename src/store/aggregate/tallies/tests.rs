use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::stats::paired::Trials;
use crate::stats::{Cell, ErrorCategory, Rate, Sum, Tally};
use crate::store::aggregate::Outcome;
use crate::store::aggregate::activity::Event;
use crate::store::disk::{Disk, RealDisk};
use crate::store::format::commit_record;
use crate::store::testing::fixture::{batch, record as row};

fn record(rows: u64) -> CommitRecord {
    CommitRecord {
        lineage: Vec::new(),
        rewritten: None,
        format1: Vec::new(),
        format: commit_record::FORMAT,
        store: "s".into(),
        generation: 1,
        commit_id: "c".into(),
        parent_id: None,
        created: Timestamp::UNIX_EPOCH,
        zone: "UTC".into(),
        rows,
        summaries: Vec::new(),
        removed: None,
        superseded: 0,
        repeated: 0,
        consumed: Vec::new(),
    }
}

fn cell(model: &str) -> Cell {
    Cell {
        model: model.into(),
        prompt_type: "p".into(),
        tool_success_rate: None,
        difficulty: "d".into(),
        task_type: "t".into(),
    }
}

fn cells() -> impl Strategy<Value = Vec<(Cell, Tally)>> {
    let one = (
        ".{0,6}",
        0..30_000_i64,
        1..1_000_u64,
        any::<i128>(),
        any::<[u64; 9]>(),
    );
    let cell = one.prop_map(|(text, rate, tests, micros, errors)| {
        let cell = Cell {
            tool_success_rate: Rate::new(rate as f64 / 1e4),
            difficulty: text.as_str().into(),
            ..cell(&text)
        };
        let execution_time = Sum { n: tests, micros };
        let turns = Sum {
            n: tests,
            micros: i128::from(tests) * 1_000_000,
        };
        (
            cell,
            Tally {
                tests,
                full: tests / 2,
                errors,
                execution_time,
                turns,
                cost: crate::stats::money::Money {
                    n: 3,
                    billionths: micros,
                },
                tokens: crate::stats::money::Tokens {
                    n: 1,
                    input: tests,
                    cache_write: 2,
                    ..Default::default()
                },
                ..Tally::default()
            },
        )
    });
    prop::collection::btree_map(any::<u16>(), cell, 0..20).prop_map(|cells| {
        let mut unique = std::collections::BTreeMap::new();
        unique.extend(cells.into_values());
        unique.into_iter().collect()
    })
}

/// A model's tests, a second apart.
fn happened(models: usize, tests: i64) -> Digest {
    let mut digest = Digest::default();
    let now = 1_800_000_000_000_000;
    for model in 0..models {
        let cell = cell(&format!("model-{model}"));
        for at in 0..tests {
            let full = at % 3 == 0;
            let error = (!full).then_some(ErrorCategory::Timeout);
            let outcome = Outcome {
                full,
                partial: false,
                unscored: false,
                error,
                execution_time: at as f64,
                turns: f64::NAN,
                tool_calls: f64::NAN,
                tool_coverage_rate: f64::NAN,
                cost: f64::NAN,
                judge_cost: f64::NAN,
                tokens: crate::stats::money::Tokens::default(),
            };
            let time = Some(now - at * 1_000_000);
            let event = Event {
                cell: &cell,
                test_id: Some("id"),
                process: Some("7"),
                time,
                outcome,
                message: Some("late"),
            };
            digest.activity.add(event, now);
            digest.clusters.add(
                &cell.model,
                at as u64 % 100,
                Trials {
                    n: 1,
                    full: u64::from(full),
                },
            );
        }
    }
    digest
}

proptest! {
    #[test]
    fn every_number_survives(cells in cells()) {
        let digest = Digest::of_cells(cells.clone());
        let read = unpack(&pack(&digest).unwrap(), &record(digest.records), digest.records).unwrap();
        let mut found: Vec<_> = read.cells().map(|(cell, tally)| (cell.clone(), tally.clone())).collect();
        found.sort_by(|a, b| a.0.cmp(&b.0));
        prop_assert_eq!(found, cells);
    }
}

#[test]
fn what_happened_survives_and_is_small() {
    let mut digest = happened(10, 2_000);
    let packed = pack(&digest).unwrap();
    let read = unpack(&packed, &record(0), 0).unwrap();
    digest.activity.settle();
    let sorted = |digest: &Digest| {
        let mut activity = digest.activity.clone();
        activity
            .processes
            .values_mut()
            .for_each(|process| process.times.sort_unstable());
        activity
    };
    assert_eq!(sorted(&read), sorted(&digest));
    assert_eq!(read.clusters, digest.clusters);
    assert!(packed.len() < 20_000, "{} bytes", packed.len());
}

#[test]
fn only_what_belongs_to_the_commit_is_believed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("main");
    let rows = batch(&[row("a", true, 1), row("b", true, 2), row("c", true, 3)]);
    let digest = Digest::of_cells(vec![(
        cell("m"),
        Tally {
            tests: 3,
            ..Tally::default()
        },
    )]);
    let mut table =
        TableWriter::new(RealDisk.create(&path).unwrap(), &path, &rows.schema()).unwrap();
    table.write(&rows).unwrap();
    write(&mut table, &record(3), &digest).unwrap();
    table.finish().unwrap();
    let open = || ParquetFile::open(&RealDisk, &path).unwrap();
    let main = open();
    assert_eq!(
        main.batches(None, 0)
            .unwrap()
            .map(|batch| batch.unwrap().num_rows())
            .sum::<usize>(),
        3
    );
    assert!(of(&main, &record(3)).is_some());
    assert!(
        of(
            &main,
            &CommitRecord {
                commit_id: "d".into(),
                ..record(3)
            }
        )
        .is_none()
    );
    assert!(of(&main, &record(4)).is_none());

    let good = std::fs::read(&path).unwrap();
    let place: Place = serde_json::from_str(main.key_value(KEY).unwrap()).unwrap();
    for at in place.offset..place.offset + place.bytes {
        let mut bad = good.clone();
        bad[at as usize] ^= 1;
        std::fs::write(&path, bad).unwrap();
        assert!(of(&open(), &record(3)).is_none(), "byte {at}");
    }
    let place = format!("\"format\":{FORMAT}");
    let at = good
        .windows(place.len())
        .position(|window| window == place.as_bytes())
        .unwrap();
    let mut other = good;
    other[at + place.len() - 1] = b'1';
    std::fs::write(&path, other).unwrap();
    assert!(of(&open(), &record(3)).is_none());
}

#[test]
fn what_is_too_long_is_left_out() {
    let cell = |at: u32| cell(&format!("{at}{}", "m".repeat(400)));
    let cells = (0..50_000)
        .map(|at| {
            (
                cell(at),
                Tally {
                    tests: 1,
                    ..Tally::default()
                },
            )
        })
        .collect();
    assert!(pack(&Digest::of_cells(cells)).is_none());
}
