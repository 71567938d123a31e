//! What is written does not depend on how many threads write it.

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::Schema;
use parquet::file::metadata::RowGroupMetaData;

use super::*;
use crate::store::Control;
use crate::store::aggregate::Columns;
use crate::store::aggregate::key_index::TestKeys;
use crate::store::aggregate::tallies;
use crate::store::format::commit_record::CommitRecord;
use crate::store::format::record::Record;
use crate::store::parquet::ParquetFile;
use crate::store::parquet::table::with_groups;
use crate::store::testing::fixture::{Fixture, LEGACY, STEM, batch};
use crate::store::threads::with_cores;

/// Record number `at`, its `attempt`.
fn record(at: i64, attempt: i64) -> Record {
    Record {
        // Some have no id.
        test_id: (at % 17 > 0).then(|| format!("t{at}")),
        model: format!("model-{}", at % 5),
        prompt_type: Some(format!("prompt {}", at % 3)),
        tool_success_rate: Some([0.6, 0.8][at as usize % 2]),
        success: Some(at % 4 > 0),
        error_message: (at % 4 == 0).then(|| format!("step {} failed, for {at}", at % 9)),
        task_id: Some(format!("task-{}", at % 40)),
        // Not a whole second: ids that are derived are then the same in every store.
        timestamp: Some(1_000_000 * (at * 7 % 1_000) + attempt + 1),
        ..Record::default()
    }
}

/// Main's rows with the sizes of its row groups, its tallies and its index.
type Seen = (RecordBatch, Vec<i64>, String, Vec<(u64, u16)>);

fn seen(fixture: &Fixture) -> Seen {
    let main = ParquetFile::open(&*fixture.store.disk, &fixture.store.layout.main()).unwrap();
    let commit = CommitRecord::of(&main).unwrap().unwrap();
    let batches: Vec<RecordBatch> = main.batches(None, 0).unwrap().map(Result::unwrap).collect();
    let rows = concat_batches(&batches[0].schema(), &batches).unwrap();
    // Without the commit record.
    let plain = Schema::new(main.schema().fields().clone());
    let rows = rows.with_schema(plain.into()).unwrap();
    let groups = main
        .metadata()
        .row_groups()
        .iter()
        .map(RowGroupMetaData::num_rows)
        .collect();
    let mut reported = tallies::of(&main, &commit).expect("tallies");
    reported.activity.settle();
    let mut cells: Vec<_> = reported
        .cells()
        .map(|(cell, tally)| format!("{cell:?} {tally:?}"))
        .collect();
    cells.sort();
    let mut models: Vec<_> = reported
        .activity
        .models
        .iter()
        .map(|model| format!("{model:?}"))
        .collect();
    models.sort();
    let index = TestKeys::of(&fixture.store, &main, &commit)
        .expect("an index")
        .entries()
        .unwrap();
    (rows, groups, [cells, models].concat().join("\n"), index)
}

/// What there is after several commits of many small files, a large one, and attempts at
/// tests of all of them.
fn made(cores: usize) -> Vec<Seen> {
    with_cores(cores, || {
        let fixture = Fixture::new();
        let mut number = 0;
        let mut add = |records: Vec<Record>| {
            number += 1;
            // Ours: of other code's files repeats are not counted.
            fixture.increment(
                &format!("increment_{number}{STEM}.parquet"),
                &batch(&records),
            );
        };
        let mut all = Vec::new();
        let mut commit = || {
            let options = Options::default();
            let done = run(&fixture.store, &options, fixture.now, &Control::default()).unwrap();
            assert!(done.skipped.is_empty() && done.notes.is_empty(), "{done:?}");
            all.push(seen(&fixture));
            (done.rows_added, done.rows_superseded, done.rows_repeated)
        };
        for start in (0..600).step_by(30) {
            add((start..start + 30).map(|at| record(at, 0)).collect());
        }
        assert_eq!(commit(), (600, 0, 0));
        add((600..1_100).map(|at| record(at, 0)).collect());
        // The same test again in the same commit: the newest counts, wherever it is.
        add((1_000..1_020).map(|at| record(at, 2)).collect());
        add((1_000..1_020).map(|at| record(at, 1)).collect());
        let ids = (1_000..1_020).filter(|at| at % 17 > 0).count() as u64;
        assert_eq!(commit(), (540 - 2 * ids, 2 * ids, 0));
        // Attempts at tests of every row group, and rows that are there already.
        add((0..1_100).step_by(13).map(|at| record(at, 5)).collect());
        add((200..240)
            .filter(|at| at % 17 > 0 && at % 13 > 0)
            .map(|at| record(at, 0))
            .collect());
        let again = (200..240).filter(|at| at % 17 > 0 && at % 13 > 0).count() as u64;
        let newer = (0..1_100).step_by(13).filter(|at| at % 17 > 0).count() as u64;
        assert_eq!(commit(), (85, newer, again));
        all
    })
}

#[test]
fn many_threads_write_what_one_writes() {
    with_groups(100, 1 << 20, || {
        let one = made(1);
        assert_eq!(
            one.last().unwrap().0.num_rows(),
            1_100 + 40 - 2 * 19 + 85 - 80
        );
        for cores in [2, 3, 7] {
            assert_eq!(made(cores), one, "{cores} cores");
        }
    });
}

/// Each run is sorted by model, those included that came with a later one.
#[test]
fn models_of_a_later_run_are_in_order_too() {
    with_groups(100, 1 << 20, || {
        let fixture = Fixture::new();
        for file in 0..20 {
            let of = |at: i64| Record {
                model: format!("model-{:03}", file * 10 + at % 7),
                ..record(at, 0)
            };
            let name = LEGACY.replace("7_", &format!("{}7_", file + 10));
            fixture.increment(
                &name,
                &batch(&(file * 30..file * 30 + 30).map(of).collect::<Vec<_>>()),
            );
        }
        run(
            &fixture.store,
            &Options::default(),
            fixture.now,
            &Control::default(),
        )
        .unwrap();
        let (rows, ..) = seen(&fixture);
        let models: Vec<String> = (0..rows.num_rows())
            .map(|row| Columns::new(&rows).unwrap().model(row).to_owned())
            .collect();
        let turns = models.windows(2).filter(|pair| pair[0] > pair[1]).count();
        assert!(turns < 600 / 300, "{turns} turns: {models:?}");
    });
}

/// Row groups that are full by their bytes, of few rows, are not encoded again.
#[test]
fn wide_rows_are_copied_once_their_row_group_is_full() {
    with_groups(1_000, 20_000, || {
        let fixture = Fixture::new();
        let wide = |range: std::ops::Range<i64>| -> Vec<Record> {
            let text = |at: i64| {
                let words = (0..60_u64).map(|word| {
                    format!(
                        "{:016x}",
                        (at as u64 * 61 + word).wrapping_mul(0x9e37_79b9_7f4a_7c15)
                    )
                });
                words.collect::<String>()
            };
            range
                .map(|at| Record {
                    error_message: Some(text(at)),
                    ..record(at, 0)
                })
                .collect()
        };
        let mut groups: Vec<Vec<i64>> = Vec::new();
        for at in 0..6 {
            let name = LEGACY.replace("7_", &format!("{at}7_"));
            fixture.increment(&name, &batch(&wide(at * 100..at * 100 + 100)));
            run(
                &fixture.store,
                &Options::default(),
                fixture.now,
                &Control::default(),
            )
            .unwrap();
            groups.push(seen(&fixture).1);
        }
        for pair in groups.windows(2) {
            // Those that were full stay as they are.
            assert_eq!(pair[0], pair[1][..pair[0].len()], "{groups:?}");
        }
    });
}
