use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use proptest::prelude::*;

use super::*;
use crate::stats::Rate;
use crate::store::aggregate;
use crate::store::format::commit_record::Consumed;
use crate::store::legacy::format1::fingerprint;
use crate::store::parquet::ParquetFile;
use crate::store::testing::fixture::{Fixture, LEGACY, STEM, batch, legacy, record, records};
use crate::store::{Control, Error, Record};

fn all(fixture: &Fixture, selection: &Selection) -> RecordBatch {
    let rows = rows(&fixture.store, selection, &Control::default()).unwrap();
    let schema = rows.schema().clone();
    let batches: Vec<RecordBatch> = rows.map(|batch| batch.unwrap()).collect();
    arrow::compute::concat_batches(&schema, &batches).unwrap()
}

fn ids(batch: &RecordBatch) -> Vec<String> {
    let mut ids: Vec<String> = batch["test_id"]
        .as_string::<i32>()
        .iter()
        .map(|id| id.unwrap_or("-").to_owned())
        .collect();
    ids.sort();
    ids
}

fn group(fixture: &Fixture, filter: &Filter, by: &[&str]) -> Vec<(Vec<GroupValue>, u64, u64)> {
    let by: Vec<String> = by.iter().map(|name| (*name).to_owned()).collect();
    let groups = grouped(&fixture.store, filter, &by, &Control::default()).unwrap();
    groups
        .into_iter()
        .map(|group| (group.values, group.tally.tests, group.tally.full))
        .collect()
}

/// Main with t0 to t9, an increment with newer t1 and older t2, a journal with t10 and t11.
fn store() -> (Fixture, crate::store::write::journal::Journal) {
    let fixture = Fixture::new();
    fixture.main(&batch(&records(0, 10)), Some(vec![]));
    fixture.increment(
        LEGACY,
        &batch(&[record("t1", true, 99_000_000), record("t2", false, 1)]),
    );
    let journal = fixture.journal(STEM, &records(10, 12));
    (fixture, journal)
}

#[test]
fn each_record_once_and_the_newest_attempt() {
    let (fixture, _journal) = store();
    let rows = all(&fixture, &Selection::default());
    let expected: Vec<String> = (0..12).map(|at| format!("t{at}")).collect();
    let mut sorted = expected.clone();
    sorted.sort();
    assert_eq!(ids(&rows), sorted);
    let at = rows["test_id"]
        .as_string::<i32>()
        .iter()
        .position(|id| id == Some("t1"))
        .unwrap();
    assert!(rows["success"].as_boolean().value(at));
    assert_eq!(rows.schema().field(0).name(), "test_id");
}

#[test]
fn columns_limits_and_filters() {
    let (fixture, _journal) = store();
    let selection = Selection {
        columns: Some(vec!["success".into(), "test_id".into()]),
        limit: Some(3),
        filter: Filter {
            since: Some(Timestamp::from_second(8).unwrap()),
            ..Filter::default()
        },
        ..Selection::default()
    };
    let rows = all(&fixture, &selection);
    assert_eq!((rows.num_rows(), rows.num_columns()), (3, 2));
    assert_eq!(rows.schema().field(0).name(), "success");
    let unlimited = Selection {
        limit: None,
        ..selection
    };
    assert_eq!(
        ids(&all(&fixture, &unlimited)),
        ["t1", "t10", "t11", "t8", "t9"]
    );
    let other = Filter {
        models: vec!["other".into()],
        ..Filter::default()
    };
    assert_eq!(
        all(
            &fixture,
            &Selection {
                filter: other,
                ..Selection::default()
            }
        )
        .num_rows(),
        0
    );
    let unknown = Selection {
        columns: Some(vec!["colour".into()]),
        ..Selection::default()
    };
    let error = rows_error(&fixture, &unknown);
    assert!(
        error.starts_with("no column 'colour': the columns are test_id, model,"),
        "{error}"
    );
}

fn rows_error(fixture: &Fixture, selection: &Selection) -> String {
    rows(&fixture.store, selection, &Control::default())
        .unwrap_err()
        .to_string()
}

#[test]
fn groups_count_every_kind_of_row() {
    let (fixture, _journal) = store();
    let text = |text: &str| GroupValue::Text(text.to_owned());
    assert_eq!(
        group(&fixture, &Filter::default(), &["model"]),
        [(vec![text("m")], 12, 7)]
    );
    assert_eq!(group(&fixture, &Filter::default(), &[]), [(vec![], 12, 7)]);
    let since = Filter {
        since: Some(Timestamp::from_second(8).unwrap()),
        ..Filter::default()
    };
    assert_eq!(
        group(&fixture, &since, &["difficulty"]),
        [(vec![text("unknown")], 5, 3)]
    );
    let error = grouped(
        &fixture.store,
        &since,
        &["colour".into()],
        &Control::default(),
    )
    .unwrap_err();
    let expected = "cannot group by 'colour': the columns are model, prompt_type, tool_success_rate, difficulty, task_type";
    assert_eq!(error.to_string(), expected);

    let fixture = Fixture::new();
    let summaries = RecordBatch::try_from_iter([
        (
            "model",
            Arc::new(StringArray::from(vec!["a", "b", "none"])) as ArrayRef,
        ),
        (
            "total",
            Arc::new(Int64Array::from(vec![100, 50, 0])) as ArrayRef,
        ),
        (
            "success",
            Arc::new(Int64Array::from(vec![60, 10, 0])) as ArrayRef,
        ),
    ])
    .unwrap();
    fixture.main(&summaries, None);
    fixture.increment(LEGACY, &legacy(&["a", "c"], &[true, false]));
    let groups = group(
        &fixture,
        &Filter::default(),
        &["model", "tool_success_rate"],
    );
    assert_eq!(groups.len(), 4, "none of a summary of no test");
    assert_eq!(
        groups[1],
        (vec![text("a"), GroupValue::Rate(Some(0.8))], 1, 1)
    );
    let only = Filter {
        tool_success_rates: vec![Rate::from(0.8)],
        ..Filter::default()
    };
    assert_eq!(group(&fixture, &only, &["model"]).len(), 2);
    // Records and summary rows come apart.
    assert_eq!(all(&fixture, &Selection::default()).num_rows(), 2);
    let rows = all(
        &fixture,
        &Selection {
            summaries: true,
            ..Selection::default()
        },
    );
    assert_eq!((rows.num_rows(), rows.num_columns()), (3, 3));
    assert_eq!(
        rows["success"]
            .as_primitive::<arrow::datatypes::Int64Type>()
            .value(0),
        60
    );
}

#[test]
fn row_groups_that_cannot_match_are_skipped_and_positions_stay_right() {
    let fixture = Fixture::new();
    let of = |model: &str, from: i64| -> Vec<Record> {
        records(from, from + 4)
            .into_iter()
            .map(|r| Record {
                model: model.into(),
                ..r
            })
            .collect()
    };
    fixture.main_in_groups(
        &[batch(&of("a", 0)), batch(&of("b", 0)), batch(&of("c", 0))],
        Some(vec![]),
    );
    // Supersedes the second row of the second group.
    let newer = Record {
        model: "b".into(),
        ..record("t1", true, 99_000_000)
    };
    fixture.increment(LEGACY, &batch(&[newer]));
    let filter = Filter {
        models: vec!["b".into()],
        ..Filter::default()
    };
    let rows = all(
        &fixture,
        &Selection {
            filter,
            ..Selection::default()
        },
    );
    assert_eq!(ids(&rows), ["t0", "t1", "t2", "t3"]);
    assert_eq!(rows["success"].as_boolean().true_count(), 3);
}

#[test]
fn the_consumed_beginning_of_a_legacy_file_is_left_out() {
    let fixture = Fixture::new();
    fixture.increment(LEGACY, &legacy(&["a", "b"], &[true, false]));
    let path = fixture.store.layout.incremental().join(LEGACY);
    let open = ParquetFile::open(&*fixture.store.disk, &path).unwrap();
    let consumed = Consumed {
        name: LEGACY.to_owned(),
        bytes: 0,
        rows: 2,
        xxh3: fingerprint(&open, 2).unwrap(),
        legacy: true,
        at: fixture.now,
        journal: None,
        modified: 0,
    };
    fixture.main(&legacy(&["a", "b"], &[true, false]), Some(vec![consumed]));
    fixture.increment(LEGACY, &legacy(&["a", "b", "c"], &[true, false, true]));
    let rows = all(
        &fixture,
        &Selection {
            columns: Some(vec!["model".into()]),
            ..Selection::default()
        },
    );
    let models: Vec<_> = rows["model"].as_string::<i32>().iter().flatten().collect();
    assert_eq!(models, ["a", "b", "c"]);
}

#[test]
fn knows_the_tests_that_are_there() {
    let (fixture, _journal) = store();
    let cell = crate::stats::Cell {
        model: "m".into(),
        prompt_type: "unknown".into(),
        tool_success_rate: None,
        difficulty: "unknown".into(),
        task_type: "unknown".into(),
    };
    let key = |id: &str| aggregate::key(Some(id), &cell, None).unwrap();
    let keys = ["t1", "t2", "t3", "t11", "t12"].map(key).into();
    let found = existing(&fixture.store, &keys, &Control::default()).unwrap();
    assert_eq!(found.len(), 4);
    assert_eq!(found[&key("t1")].timestamp, Some(99_000_000));
    assert_eq!(found[&key("t2")].timestamp, Some(2_000_000));
}

#[test]
fn a_file_that_is_rewritten_while_its_rows_are_returned() {
    let (fixture, _journal) = store();
    let open = || rows(&fixture.store, &Selection::default(), &Control::default()).unwrap();
    // A legacy increment was held as it was when the query began.
    let begun = open();
    let path = fixture.store.layout.incremental().join(LEGACY);
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, b"its writer has just begun").unwrap();
    assert_eq!(
        begun.map(|batch| batch.unwrap().num_rows()).sum::<usize>(),
        12
    );
    // Main is too large for that: the query ends, and says what happened.
    std::fs::write(&path, whole).unwrap();
    let mut begun = open();
    std::fs::write(
        fixture.store.layout.main(),
        b"other code writes main in place",
    )
    .unwrap();
    assert!(matches!(begun.next(), Some(Err(Error::Changed { .. }))));
}

#[test]
fn a_cancelled_query_ends_with_an_error() {
    let (fixture, _journal) = store();
    let control = Control::default();
    let mut rows = rows(&fixture.store, &Selection::default(), &control).unwrap();
    control.cancel();
    assert!(matches!(rows.next(), Some(Err(Error::Cancelled))));
    assert!(rows.next().is_none());
}

proptest! {
    // Each case writes files.
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// What rows are returned agrees with what the tallies count, wherever they lie.
    #[test]
    fn rows_and_tallies_agree(rows in prop::collection::vec((0..8_i64, 0..4_i64, any::<bool>()), 1..40), cut in 0..40_usize, committed: bool) {
        let fixture = Fixture::new();
        let made: Vec<Record> =
            rows.iter().map(|(id, time, success)| record(&format!("t{id}"), *success, *time)).collect();
        let (one, two) = made.split_at(cut.min(made.len()));
        // A commit leaves one attempt of each test in main.
        let mut main: Vec<Record> = Vec::new();
        let mut waiting: Vec<Record> = two.to_vec();
        for row in one {
            let taken = main.iter().any(|other| other.test_id == row.test_id);
            if taken && committed { waiting.push(row.clone()) } else { main.push(row.clone()) }
        }
        fixture.main(&batch(&main), committed.then(Vec::new));
        fixture.increment(LEGACY, &batch(&waiting));
        let distinct: HashSet<_> = made.iter().map(|row| row.test_id.clone()).collect();
        let found = all(&fixture, &Selection::default());
        prop_assert_eq!(found.num_rows(), distinct.len());
        let full = found["success"].as_boolean().true_count() as u64;
        prop_assert_eq!(group(&fixture, &Filter::default(), &[]), [(vec![], distinct.len() as u64, full)]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Choosing rows first and counting each test once comes to the same as the other way
    /// round, with main read in pieces on several threads or as a whole.
    #[test]
    fn a_filter_chooses_among_the_rows_that_count(
        rows in prop::collection::vec((0..6_i64, 0..3_u8, 0..8_i64), 1..160),
        cut in 0..160_usize, groups in 1..30_usize, committed: bool,
        model in prop::option::of(0..3_u8), since in prop::option::of(0..4_i64), until in prop::option::of(4..8_i64),
        by_id: bool,
    ) {
        let fixture = Fixture::new();
        let id = |at: usize, id: i64| if by_id { format!("t{id}") } else { format!("t{at}") };
        let made: Vec<Record> = rows
            .iter()
            .enumerate()
            .map(|(at, (own, model, time))| Record { model: format!("m{model}"), ..record(&id(at, *own), at % 3 == 0, *time) })
            .collect();
        let (main, waiting) = made.split_at(cut.min(made.len()));
        let mut main = main.to_vec();
        if committed {
            let mut seen = HashSet::new();
            main.retain(|row| seen.insert((row.test_id.clone(), row.model.clone())));
        }
        let groups: Vec<RecordBatch> = main.chunks(groups).map(batch).collect();
        if !groups.is_empty() {
            fixture.main_in_groups(&groups, committed.then(Vec::new));
        }
        if !waiting.is_empty() {
            fixture.increment(LEGACY, &batch(waiting));
        }
        let filter = Filter {
            models: model.iter().map(|model| format!("m{model}")).collect(),
            since: since.map(|since| Timestamp::from_microsecond(since).unwrap()),
            until: until.map(|until| Timestamp::from_microsecond(until).unwrap()),
            ..Filter::default()
        };
        let whole = all(&fixture, &Selection::default());
        let columns = aggregate::Columns::new(&whole).unwrap();
        let expected: Vec<usize> = (0..whole.num_rows()).filter(|row| filter.matches(&columns, *row)).collect();
        let chosen = all(&fixture, &Selection { filter, ..Selection::default() });
        prop_assert_eq!(chosen.num_rows(), expected.len());
        for (at, row) in expected.into_iter().enumerate() {
            prop_assert_eq!(chosen.slice(at, 1), whole.slice(row, 1));
        }
    }
}

/// How often each side tried and passed each test it is paired by, smallest first.
fn paired(fixture: &Fixture, side: Side, sides: [&str; 2]) -> Vec<[u64; 4]> {
    let pairs = pairs(
        &fixture.store,
        &Filter::default(),
        side,
        sides,
        &Control::default(),
    )
    .unwrap();
    let mut found: Vec<[u64; 4]> = pairs
        .map(Result::unwrap)
        .map(|p| [p.first.n, p.first.full, p.second.n, p.second.full])
        .collect();
    found.retain(|counts| *counts != [0; 4]);
    found.sort_unstable();
    found
}

fn tried(
    model: &str,
    prompt: &str,
    test: Option<&str>,
    task: Option<&str>,
    success: bool,
) -> Record {
    Record {
        test_id: test.map(str::to_owned),
        model: model.to_owned(),
        prompt_type: Some(prompt.to_owned()),
        task_id: task.map(str::to_owned),
        success: Some(success),
        timestamp: Some(1_000_000),
        ..Record::default()
    }
}

#[test]
fn tests_pair_by_task_then_by_id_within_the_rest_of_their_cell() {
    let fixture = Fixture::new();
    let rows = [
        tried("a", "p", Some("a1"), Some("one"), true),
        tried("a", "p", Some("a2"), Some("one"), false),
        tried("b", "p", Some("b1"), Some("one"), true),
        tried("b", "q", Some("b2"), Some("one"), true),
        tried("a", "p", Some("same"), None, true),
        tried("b", "p", Some("same"), None, false),
        tried("a", "p", None, None, true),
        tried("b", "p", Some("nan"), None, true),
        tried("c", "p", Some("same"), None, true),
    ];
    fixture.main(&batch(&rows[..4]), Some(vec![]));
    fixture.increment(LEGACY, &batch(&rows[4..]));
    assert_eq!(
        paired(&fixture, Side::Model, ["a", "b"]),
        [
            [0, 0, 1, 1],
            [0, 0, 1, 1],
            [1, 1, 0, 0],
            [1, 1, 1, 0],
            [2, 1, 1, 1]
        ]
    );
    // Prompt types are compared within each model.
    assert_eq!(
        paired(&fixture, Side::PromptType, ["q", "p"])[5],
        [1, 1, 1, 1]
    );
    assert!(paired(&fixture, Side::Model, ["x", "y"]).is_empty());
}
