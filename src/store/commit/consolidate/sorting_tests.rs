//! A main whose rows lie in any order is sorted within its row groups, and stays the same table.

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::{cast, concat_batches, take_record_batch};
use arrow::datatypes::DataType;
use arrow::util::display::array_value_to_string;
use parquet::file::metadata::RowGroupMetaData;

use super::*;
use crate::store::commit::old_main::mixed_groups;
use crate::store::format::commit_record::KEY;
use crate::store::format::record::{Record, to_batch};
use crate::store::maintain::restore;
use crate::store::parquet::table::{TableWriter, with_group_rows};
use crate::store::read::snapshot::Scanner;
use crate::store::testing::fixture::{Fixture, STEM, batch};

/// Rows in main.
const ROWS: i64 = 240;
const EARLIER: &str = "11_20260131_110000_host_0a1b_0";
/// Rows of a full row group.
const GROUP: usize = 60;

fn record(at: i64) -> Record {
    Record {
        // Ids of some rows are derived.
        test_id: (at % 7 > 0).then(|| format!("t{at}")),
        model: format!("model-{}", at % 3),
        prompt_type: (at % 5 > 0).then(|| format!("prompt {}", at % 2)),
        success: Some(at % 4 > 0),
        error_message: (at % 4 == 0).then(|| format!("step {} failed", at % 9)),
        task_id: Some(format!("task-{}", at % 40)),
        timestamp: Some(1_000_000 * (at * 7 % 1_000) + 1),
        ..Record::default()
    }
}

fn records(range: std::ops::Range<i64>) -> Vec<Record> {
    range.map(record).collect()
}

fn main_of(fixture: &Fixture) -> ParquetFile {
    let (store, path) = (&fixture.store, fixture.store.layout.main());
    ParquetFile::open(&*store.disk, &path).unwrap()
}

fn all(main: &ParquetFile) -> RecordBatch {
    let batches: Vec<RecordBatch> = main.batches(None, 0).unwrap().map(Result::unwrap).collect();
    concat_batches(main.schema(), &batches).unwrap()
}

/// Main's rows as text, sorted.
fn rows(fixture: &Fixture) -> Vec<String> {
    let rows = all(&main_of(fixture));
    let schema = rows.schema();
    // Arrow's words for a time need a table of zones.
    let plain = |column: &ArrayRef| match column.data_type() {
        DataType::Timestamp(..) => cast(column, &DataType::Int64).unwrap(),
        _ => column.clone(),
    };
    let columns: Vec<ArrayRef> = rows.columns().iter().map(plain).collect();
    let mut lines = Vec::new();
    for at in 0..rows.num_rows() {
        let value = |column: &ArrayRef| array_value_to_string(column, at).unwrap();
        let names = schema.fields().iter().map(|field| field.name());
        let values = names.zip(&columns);
        let values = values.map(|(name, column)| format!("{name}={}", value(column)));
        lines.push(values.collect::<Vec<_>>().join(" "));
    }
    lines.sort();
    lines
}

fn mixed(fixture: &Fixture) -> Vec<bool> {
    mixed_groups(&main_of(fixture), &Control::default()).unwrap()
}

fn merge(fixture: &Fixture, optimize: bool) -> Outcome {
    let options = Options {
        optimize,
        ..Options::default()
    };
    run(&fixture.store, &options, fixture.now, &Control::default()).unwrap()
}

/// Every fact of a snapshot that the order of rows could touch.
fn counts(fixture: &Fixture) -> Vec<String> {
    let seen = Scanner::new()
        .scan(&fixture.store, fixture.now, &Control::default())
        .unwrap();
    let mut cells: Vec<String> = seen
        .cells
        .iter()
        .map(|(cell, tally)| format!("{cell:?} {tally:?}"))
        .collect();
    cells.sort();
    cells.push(format!("{} {}", seen.superseded, seen.repeated));
    cells
}

/// Main with the rows of some row groups in an order in which no cell lies together, as this
/// program's own commit.
fn shuffle(fixture: &Fixture, of: &[usize]) {
    let main = main_of(fixture);
    let rows = all(&main);
    let (mut order, mut start) = (Vec::new(), 0);
    for (at, group) in main.metadata().row_groups().iter().enumerate() {
        let length = u32::try_from(group.num_rows()).unwrap();
        let place = |row: u32| {
            if of.contains(&at) {
                // From both ends in turn.
                let turn = row / 2;
                start
                    + if row.is_multiple_of(2) {
                        turn
                    } else {
                        length - 1 - turn
                    }
            } else {
                start + row
            }
        };
        order.extend((0..length).map(place));
        start += length;
    }
    let rows = take_record_batch(&rows, &UInt32Array::from(order)).unwrap();
    let path = fixture.store.layout.main();
    let new = path.with_extension("new");
    let file = fixture.store.disk.create(&new).unwrap();
    let mut table = TableWriter::new(file, &new, main.schema()).unwrap();
    table.write(&rows).unwrap();
    table.key_value(KEY, main.key_value(KEY).unwrap().to_owned());
    table.finish().unwrap();
    drop(main);
    std::fs::rename(&new, &path).unwrap();
}

#[test]
fn a_main_of_other_code_is_sorted_when_it_is_first_encoded_again() {
    with_group_rows(GROUP, || {
        let fixture = Fixture::new();
        let own = Fixture::new();
        let main = to_batch(&records(0..ROWS)).unwrap();
        // Row groups of other code are larger than ours, and end anywhere.
        let groups = [main.slice(0, 150), main.slice(150, 90)];
        fixture.main_in_groups(&groups, None);
        let new = batch(&records(ROWS..ROWS + 3));
        for fixture in [&fixture, &own] {
            fixture.increment(&format!("increment_{STEM}.parquet"), &new);
        }
        assert_eq!(mixed(&fixture), [true, true]);
        let done = merge(&fixture, false);
        assert_eq!((done.commits, done.rows_added), (1, 3));
        assert_eq!((done.rows_superseded, done.rows_repeated), (0, 0));
        assert_eq!(main_of(&fixture).rows(), ROWS as u64 + 3);
        let sizes = main_of(&fixture);
        let sizes = sizes
            .metadata()
            .row_groups()
            .iter()
            .map(RowGroupMetaData::num_rows);
        assert_eq!(sizes.collect::<Vec<_>>(), [60, 60, 60, 60, 3]);
        assert_eq!(mixed(&fixture), [false; 5]);
        // The same rows as those of a store that had all of them in increments.
        own.increment(&format!("increment_{EARLIER}.parquet"), &main);
        merge(&own, false);
        assert_eq!(
            (rows(&fixture), counts(&fixture)),
            (rows(&own), counts(&own))
        );
    });
}

#[test]
fn what_is_sorted_on_demand_stays_the_same_table() {
    with_group_rows(GROUP, || {
        for shuffled in [vec![0, 1, 2, 3], vec![2], vec![0, 3]] {
            let fixture = Fixture::new();
            fixture.increment(
                &format!("increment_{STEM}.parquet"),
                &batch(&records(0..ROWS)),
            );
            merge(&fixture, false);
            let before = (rows(&fixture), counts(&fixture));
            shuffle(&fixture, &shuffled);
            let is_shuffled = (0..4).map(|at| shuffled.contains(&at)).collect::<Vec<_>>();
            assert_eq!(mixed(&fixture), is_shuffled);
            assert_eq!((rows(&fixture), counts(&fixture)), before);
            let plan = plan(
                &fixture.store,
                &Options {
                    optimize: true,
                    ..Options::default()
                },
                fixture.now,
            );
            let plan = plan.unwrap();
            assert!(!plan.is_empty());
            assert_eq!(plan.mixed, (GROUP * shuffled.len()) as u64);
            let done = merge(&fixture, true);
            assert_eq!(
                (done.commits, done.rows_added, done.rows_total),
                (1, 0, ROWS as u64)
            );
            assert_eq!(done.rows_sorted, plan.mixed);
            assert!(done.backup.is_some());
            assert_eq!(mixed(&fixture), [false; 4]);
            assert_eq!((rows(&fixture), counts(&fixture)), before);
            // Where nothing is to be sorted nothing is committed.
            let again = merge(&fixture, true);
            assert_eq!((again.commits, again.generation), (0, done.generation));
        }
    });
}

#[test]
fn new_rows_and_the_order_of_old_ones_take_one_commit() {
    with_group_rows(GROUP, || {
        let fixture = Fixture::new();
        fixture.increment(
            &format!("increment_{STEM}.parquet"),
            &batch(&records(0..ROWS)),
        );
        let first = merge(&fixture, false);
        shuffle(&fixture, &[0, 2]);
        // A later attempt at a test of a row group that is sorted, and a new row.
        let mut later = records(1..2);
        later.extend(records(ROWS + 1..ROWS + 2));
        later[0].timestamp = later[0].timestamp.map(|time| time + 1_000_000_000);
        fixture.increment(&format!("increment_{EARLIER}.parquet"), &batch(&later));
        let done = merge(&fixture, true);
        assert_eq!((done.commits, done.generation), (1, first.generation + 1));
        assert_eq!((done.rows_added, done.rows_superseded), (2, 1));
        assert_eq!(main_of(&fixture).rows(), ROWS as u64 + 1);
        assert!(!mixed(&fixture).contains(&true));
        // It is undone like any other commit.
        let (undo, control) = (restore::Options::default(), Control::default());
        restore::run(&fixture.store, &undo, fixture.now, &control).unwrap();
        assert_eq!(main_of(&fixture).rows(), ROWS as u64);
    });
}
