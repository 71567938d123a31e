use std::sync::Arc;

use arrow::array::{ArrayRef, Float32Array, Int32Array, Int64Array, StringArray};
use proptest::prelude::*;

use super::*;

/// The tests of every cell, without the rows at these positions.
fn cells(summaries: &Summaries, losers: &[u64]) -> BTreeMap<Cell, Tally> {
    let mut cells = BTreeMap::<Cell, Tally>::new();
    summaries.each_without(losers, |cell, tally| {
        cells.entry(cell.clone()).or_default().add(tally);
    });
    cells
}

/// One row a model; columns of counts and scores.
fn read(columns: &[(&str, Vec<f64>)]) -> (Convention, Vec<(u64, u64, u64)>) {
    let rows = columns[0].1.len();
    let models: Vec<String> = (0..rows).map(|at| format!("m{at:03}")).collect();
    let mut all: Vec<(&str, ArrayRef)> = vec![("model", Arc::new(StringArray::from(models)))];
    for (name, values) in columns {
        all.push((name, Arc::new(Float64Array::from(values.clone()))));
    }
    let mut summaries = Summaries::default();
    summaries
        .push(&RecordBatch::try_from_iter(all).unwrap())
        .unwrap();
    let cells = cells(&summaries, &[]);
    (
        summaries.convention(),
        cells
            .values()
            .map(|t| (t.tests, t.full, t.partial))
            .collect(),
    )
}

#[test]
fn full_success_counts_where_it_is_not_zero_filled() {
    let (_, rows) = read(&[
        ("total", vec![100.0, 100.0]),
        ("success", vec![60.0, 0.0]),
        ("successful", vec![60.0, 50.0]),
        ("full_success", vec![40.0, 0.0]),
        ("partial", vec![20.0, 10.0]),
    ]);
    // The first row shows that `success` counts both, so the second has 40 full.
    assert_eq!(rows, [(100, 40, 20), (100, 40, 10)]);
}

#[test]
fn zero_filled_aliases_do_not_hide_the_counts() {
    let (convention, rows) = read(&[
        ("total", vec![1_000.0]),
        ("success", vec![0.0]),
        ("full_success", vec![0.0]),
        ("successful", vec![829.0]),
        ("partial_success", vec![0.0]),
        ("partial", vec![100.0]),
        ("success_rate", vec![0.0]),
    ]);
    assert_eq!(
        (convention, rows),
        (Convention::Assumed, vec![(1_000, 729, 100)])
    );
}

#[test]
fn one_row_with_more_partial_than_success_proves_full_alone() {
    let (convention, rows) = read(&[
        ("total", vec![100.0, 100.0]),
        ("success", vec![10.0, 60.0]),
        ("partial", vec![30.0, 20.0]),
        ("weighted_success_score", vec![f64::NAN, 0.5]),
    ]);
    assert_eq!(
        (convention, rows),
        (Convention::FullOnly, vec![(100, 10, 30), (100, 60, 20)])
    );
}

#[test]
fn the_majority_of_the_scores_decides() {
    let (convention, rows) = read(&[
        ("total", vec![100.0; 3]),
        ("success", vec![60.0; 3]),
        ("partial", vec![20.0; 3]),
        // Full 60, full 60, and a stale one that fits full 40.
        ("weighted_success_score", vec![0.7, 0.701, 0.5]),
    ]);
    assert_eq!(convention, Convention::FullOnly);
    assert_eq!(rows[2], (100, 60, 20));
}

#[test]
fn typed_columns_means_and_errors() {
    let batch = RecordBatch::try_from_iter([
        ("model", Arc::new(StringArray::from(vec!["m"])) as ArrayRef),
        ("tool_success_rate", Arc::new(Float32Array::from(vec![0.8]))),
        ("total", Arc::new(Int32Array::from(vec![10]))),
        ("success", Arc::new(Int64Array::from(vec![4]))),
        ("failed", Arc::new(Int64Array::from(vec![99]))),
        ("timeout_errors", Arc::new(Int32Array::from(vec![3]))),
        (
            "avg_execution_time",
            Arc::new(Float32Array::from(vec![2.5])),
        ),
    ])
    .unwrap();
    let mut summaries = Summaries::default();
    summaries.push(&batch).unwrap();
    let cells = cells(&summaries, &[]);
    let (cell, tally) = cells.first_key_value().unwrap();
    assert_eq!(cell.tool_success_rate, Rate::new(0.8));
    assert_eq!(&*cell.prompt_type, UNKNOWN);
    assert_eq!((tally.tests, tally.full, tally.failed()), (10, 4, 6));
    assert_eq!(tally.errors[ErrorCategory::Timeout as usize], 3);
    assert_eq!(tally.execution_time.mean(), Some(2.5));
}

proptest! {
    /// Whatever a legacy store says about the same tests, they are read the same.
    #[test]
    fn conventions_and_aliases_agree(
        tests in prop::collection::vec((0u64..50, 1u64..50, 0u64..50), 1..12),
        full_alone: bool,
        alias: bool,
        rate in 0.0..1.0f64,
    ) {
        let expected: Vec<(u64, u64, u64)> = tests.iter().map(|&(f, p, n)| (f + p + n, f, p)).collect();
        let column = |of: &dyn Fn(f64, f64, f64) -> f64| -> Vec<f64> {
            tests.iter().map(|&(f, p, n)| of(f as f64, p as f64, n as f64)).collect()
        };
        let success = column(&|f, p, _| if full_alone { f } else { f + p });
        let zero = vec![0.0; tests.len()];
        let (names, filled) = if alias { (["successful", "partial_success"], ["success", "partial"]) }
            else { (["success", "partial"], ["successful", "partial_success"]) };
        let mut columns = vec![
            ("total", column(&|f, p, n| f + p + n)),
            (names[0], success),
            (names[1], column(&|_, p, _| p)),
            (filled[0], zero.clone()),
            (filled[1], zero.clone()),
            ("success_rate", vec![rate; tests.len()]),
            ("failed", vec![1.0; tests.len()]),
            ("weighted_success_score", column(&|f, p, n| (f + 0.5 * p) / (f + p + n))),
        ];
        prop_assert_eq!(&read(&columns).1, &expected);
        columns.push(("full_success", zero));
        prop_assert_eq!(&read(&columns).1, &expected);
        columns.pop();
        columns.push(("full_success", column(&|f, _, _| f)));
        prop_assert_eq!(&read(&columns).1, &expected);
    }
}

fn of_source(source: &str, columns: &[(&str, Vec<f64>)]) -> Summaries {
    let rows = columns[0].1.len();
    let mut all: Vec<(&str, ArrayRef)> = vec![
        ("model", Arc::new(StringArray::from(vec!["m"; rows]))),
        (SOURCE, Arc::new(StringArray::from(vec![source; rows]))),
    ];
    for (name, values) in columns {
        all.push((name, Arc::new(Float64Array::from(values.clone()))));
    }
    let mut summaries = Summaries::default();
    summaries
        .push(&RecordBatch::try_from_iter(all).unwrap())
        .unwrap();
    summaries
}

#[test]
fn each_source_has_its_own_meaning_of_success() {
    let alone = [
        ("total", vec![100.0]),
        ("success", vec![10.0]),
        ("partial", vec![30.0]),
    ];
    let both = [
        ("total", vec![100.0]),
        ("success", vec![60.0]),
        ("partial", vec![20.0]),
        ("weighted_success_score", vec![0.5]),
    ];
    let mut all = of_source("a", &alone);
    all.rows.extend(of_source("b", &both).rows);
    let tally = cells(&all, &[]).into_values().next().unwrap();
    assert_eq!((tally.tests, tally.full, tally.partial), (200, 50, 50));
    assert_eq!(all.convention(), Convention::FullOnly);
}

#[test]
fn a_row_that_counted_on_stands_for_the_older_one() {
    let row = |total: f64, success: f64| [("total", vec![total]), ("success", vec![success])];
    let older = of_source("a", &row(10.0, 5.0));
    assert_eq!(
        older.continued_by("a", &of_source("x", &row(12.0, 5.0))),
        [0]
    );
    assert_eq!(older.continued_by("a", &older), [0]);
    // Counted again, or something else.
    assert!(
        older
            .continued_by("a", &of_source("x", &row(12.0, 4.0)))
            .is_empty()
    );
    assert!(older.continued_by("b", &older).is_empty());
    // One row continues one row.
    let twice = of_source(
        "a",
        &[("total", vec![10.0, 10.0]), ("success", vec![5.0, 5.0])],
    );
    assert_eq!(twice.continued_by("a", &older), [0]);
    assert_eq!(cells(&twice, &[0]).into_values().next().unwrap().tests, 10);
}
