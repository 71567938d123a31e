use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Float64Type, Int64Type};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::store::Record;
use crate::store::format::record::Extras;
use crate::store::testing::fixture::{Fixture, LEGACY, STEM};

/// What a test is about: scaffold, score in hundredths, task, success.
type Made = (Option<u8>, Option<i16>, u8, bool);

fn record(at: usize, (scaffold, score, task, full): Made) -> Record {
    let mut record = Record {
        test_id: Some(format!("t{at}")),
        model: format!("m{}", at % 2),
        task_id: Some(format!("task-{task}")),
        success: full.into(),
        timestamp: Some(1_769_860_800_000_000 + at as i64 * 600_000_000),
        ..Record::default()
    };
    let mut extra = serde_json::Map::new();
    if let Some(scaffold) = scaffold {
        extra.insert("scaffold".to_owned(), json!(format!("s{scaffold}")));
    }
    if let Some(score) = score {
        extra.insert("points".to_owned(), json!(f64::from(score) / 100.0));
    }
    record.extra = extra;
    record
}

fn batch(records: &[Record]) -> RecordBatch {
    let mut extras = Extras::default();
    extras.add(records);
    extras.to_batch(records).unwrap()
}

/// Main, an increment and a journal, with some tests in two of them.
fn fixture(records: &[Record]) -> (Fixture, crate::store::write::journal::Journal) {
    let fixture = Fixture::new();
    let third = records.len() / 3;
    fixture.main(&batch(&records[..=2 * third]), Some(vec![]));
    fixture.increment(LEGACY, &batch(&records[third..=2 * third]));
    let journal = fixture.journal(STEM, &records[2 * third + 1..]);
    (fixture, journal)
}

fn asked(fixture: &Fixture, by: &str, list: &str, condition: Option<&str>) -> Result<Aggregated> {
    let aggregation = Aggregation {
        filter: Filter {
            condition: condition.map(|text| Box::new(text.parse().unwrap())),
            ..Filter::default()
        },
        by: Expr::list(by).unwrap(),
        aggregates: Aggregate::list(list).unwrap(),
    };
    aggregate(&fixture.store, &aggregation, &Control::default())
}

fn floats(batch: &RecordBatch, name: &str) -> Vec<Option<f64>> {
    batch[name].as_primitive::<Float64Type>().iter().collect()
}

fn whole(batch: &RecordBatch, name: &str) -> Vec<Option<i64>> {
    batch[name].as_primitive::<Int64Type>().iter().collect()
}

fn made() -> impl Strategy<Value = Vec<Made>> {
    let one = (
        prop::option::of(0_u8..3),
        prop::option::of(-500_i16..500),
        0_u8..6,
        any::<bool>(),
    );
    prop::collection::vec(one, 4..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn each_test_counts_once_in_its_group(made in made()) {
        let records: Vec<Record> = made.iter().enumerate().map(|(at, one)| record(at, *one)).collect();
        // A column must be there to be named.
        prop_assume!(made.iter().any(|one| one.0.is_some()) && made.iter().any(|one| one.1.is_some()));
        let (fixture, _journal) = fixture(&records);
        let list = "count(),sum(points),mean(points),min(points),max(points),median(points),stddev(points),count_distinct(task_id),count(points)";
        let found = asked(&fixture, "scaffold,model", list, None).unwrap().batch;
        let mut expected: BTreeMap<(Option<String>, String), Vec<&Made>> = BTreeMap::new();
        for (at, one) in made.iter().enumerate() {
            let key = (one.0.map(|scaffold| format!("s{scaffold}")), format!("m{}", at % 2));
            expected.entry(key).or_default().push(one);
        }
        // Null comes last.
        let mut expected: Vec<_> = expected.into_iter().collect();
        expected.sort_by_key(|((scaffold, model), _)| (scaffold.is_none(), scaffold.clone(), model.clone()));
        prop_assert_eq!(found.num_rows(), expected.len());
        for (row, ((scaffold, model), tests)) in expected.into_iter().enumerate() {
            let text = |name: &str| {
                let texts = found[name].as_string::<i32>();
                texts.is_valid(row).then(|| texts.value(row).to_owned())
            };
            prop_assert_eq!((text("scaffold"), text("model")), (scaffold, Some(model)));
            let mut points: Vec<f64> = tests.iter().filter_map(|one| Some(f64::from(one.1?) / 100.0)).collect();
            points.sort_by(f64::total_cmp);
            let hundredths: i64 = tests.iter().filter_map(|one| Some(i64::from(one.1?))).sum();
            prop_assert_eq!(whole(&found, "count")[row], Some(tests.len() as i64));
            prop_assert_eq!(whole(&found, "count_points")[row], Some(points.len() as i64));
            let sum = (!points.is_empty()).then(|| hundredths as f64 / 100.0);
            prop_assert_eq!(floats(&found, "sum_points")[row], sum);
            prop_assert_eq!(floats(&found, "mean_points")[row], sum.map(|sum| sum / points.len() as f64));
            prop_assert_eq!(floats(&found, "min_points")[row], points.first().copied());
            prop_assert_eq!(floats(&found, "max_points")[row], points.last().copied());
            let tasks: BTreeSet<u8> = tests.iter().map(|one| one.2).collect();
            prop_assert_eq!(whole(&found, "count_distinct_task_id")[row], Some(tasks.len() as i64));
            let mean = sum.unwrap_or_default() / points.len() as f64;
            let squares: f64 = points.iter().map(|value| (value - mean).powi(2)).sum();
            let deviation = floats(&found, "stddev_points")[row];
            if points.len() > 1 {
                let expected = (squares / (points.len() - 1) as f64).sqrt();
                prop_assert!((deviation.unwrap() - expected).abs() < 1e-9);
            } else {
                prop_assert_eq!(deviation, None);
            }
        }
    }
}

fn few() -> Vec<Record> {
    let ends = [true, true, false, true, false, false, true, true];
    let one = |at: usize| {
        record(
            at,
            (
                Some(at as u8 % 2),
                Some(at as i16 * 10),
                at as u8 / 4,
                ends[at],
            ),
        )
    };
    (0..8).map(one).collect()
}

#[test]
fn trials_of_tasks() {
    // Both models have two trials of each of two tasks.
    let (fixture, _journal) = fixture(&few());
    let found = asked(&fixture, "model", "pass@1,pass@2,pass^2,pass@3", None).unwrap();
    // m0: tests 0, 2 of task 0 (1 of 2), 4, 6 of task 1 (1 of 2); m1: 1, 3 (2 of 2), 5, 7 (1 of 2).
    assert_eq!(floats(&found.batch, "pass@1"), [Some(0.5), Some(0.75)]);
    assert_eq!(floats(&found.batch, "pass@2"), [Some(1.0), Some(1.0)]);
    assert_eq!(floats(&found.batch, "pass^2"), [Some(0.0), Some(0.5)]);
    assert_eq!(floats(&found.batch, "pass@3"), [None, None]);
    assert_eq!(
        found.notes,
        ["pass@3 leaves out 4 tasks with fewer than 3 scored trials"]
    );
}

#[test]
fn a_metric_has_a_clustered_error() {
    let (fixture, _journal) = fixture(&few());
    let aggregation = Aggregation {
        by: Expr::list("model").unwrap(),
        aggregates: vec![Aggregate::metric("points".parse().unwrap())],
        ..Aggregation::default()
    };
    let found = aggregate(&fixture.store, &aggregation, &Control::default())
        .unwrap()
        .batch;
    // m0: 0.0, 0.2 of one task, 0.4, 0.6 of the other: mean 0.3, d = ∓0.4, SE = √(2 · 0.32)/4.
    assert_eq!(floats(&found, "mean_points")[0], Some(0.3));
    let error = floats(&found, "standard_error_points")[0].unwrap();
    assert!((error - 0.2).abs() < 1e-12, "{error}");
    let low = floats(&found, "ci_low_points")[0].unwrap();
    assert!((low - (0.3 - 0.2 * 12.706_204_736_4)).abs() < 1e-9, "{low}");
    assert_eq!(whole(&found, "n_points"), [Some(4), Some(4)]);
}

#[test]
fn conditions_and_computed_groups() {
    let (fixture, _journal) = fixture(&few());
    let found = asked(
        &fixture,
        "hour(timestamp), bucket(points, 0.4)",
        "count()",
        None,
    )
    .unwrap()
    .batch;
    // Ten minutes apart from 12:00 on: six in the first hour.
    assert_eq!(
        whole(&found, "hour(timestamp)"),
        [Some(12), Some(12), Some(13)]
    );
    assert_eq!(
        floats(&found, "bucket(points, 0.4)"),
        [Some(0.0), Some(0.4), Some(0.4)]
    );
    assert_eq!(whole(&found, "count"), [Some(4), Some(2), Some(2)]);
    let found = asked(
        &fixture,
        "scaffold",
        "count()",
        Some("points >= 0.3 and scaffold = s1"),
    )
    .unwrap();
    assert_eq!(whole(&found.batch, "count"), [Some(3)]);
    for (by, list, condition, expected) in [
        (
            "scafold",
            "count()",
            None,
            "no column 'scafold' (did you mean 'scaffold'?)",
        ),
        (
            "model",
            "mean(pionts)",
            None,
            "no column 'pionts' (did you mean 'points'?)",
        ),
        (
            "model",
            "mean(scaffold)",
            None,
            "mean_scaffold needs numbers, but its column holds text",
        ),
        (
            "model",
            "count()",
            Some("scaffold = nope"),
            "'nope' is neither a column nor a value of scaffold: there are s0, s1",
        ),
    ] {
        let error = asked(&fixture, by, list, condition)
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn conditions_on_dimensions_are_answered_by_cells() {
    let (fixture, _journal) = fixture(&few());
    let count = |condition: &str, by: &str| {
        let filter = Filter {
            condition: Some(Box::new(condition.parse().unwrap())),
            ..Filter::default()
        };
        let groups = super::super::grouped(
            &fixture.store,
            &filter,
            &[by.to_owned()],
            &Control::default(),
        );
        groups.map(|groups| {
            groups
                .iter()
                .map(|group| group.tally.tests)
                .collect::<Vec<_>>()
        })
    };
    assert_eq!(count("model = m1", "model").unwrap(), [4]);
    assert_eq!(count("difficulty is null", "difficulty").unwrap(), [8]);
    assert_eq!(count("points >= 0.3", "model").unwrap(), [2, 3]);
    let error = count("model = m7", "model").unwrap_err().to_string();
    assert!(
        error.contains("'m7' is neither a column nor a value of model"),
        "{error}"
    );
}
