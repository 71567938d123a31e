use proptest::prelude::*;

use super::*;
use crate::store::parquet::table::with_group_rows;

/// An id, a model, a time, and whether it has a column of its own.
type Made = (u8, u8, i64, bool);

fn commits() -> impl Strategy<Value = Vec<Vec<Made>>> {
    let row = (0..60_u8, 0..3_u8, 0..4_i64, prop::bool::weighted(0.02));
    prop::collection::vec(prop::collection::vec(row, 1..24), 1..7)
}

fn made((id, model, time, extra): &Made) -> Record {
    let id = if *id < 5 {
        String::new()
    } else {
        format!("t{id}")
    };
    let mut record = Record {
        model: format!("m{model}"),
        ..record(&id, *time)
    };
    if *extra {
        record
            .extra
            .insert("tokens".to_owned(), serde_json::json!(time));
    }
    record
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// With small row groups most of main is copied; with large ones more of it is
    /// encoded again.
    #[test]
    fn copying_and_encoding_rewritten_make_the_same_main(commits in commits()) {
        let mut mains = [8, 1 << 20].map(|rows| with_group_rows(rows, || {
            let mut f = fixture();
            let mut totals = Vec::new();
            for commit in &commits {
                f.increment(&commit.iter().map(made).collect::<Vec<_>>());
                let done = f.run();
                totals.push((done.rows_added, done.rows_superseded, done.rows_repeated, done.rows_total));
                let metadata = std::fs::read(f.store.layout.metadata()).unwrap();
                let metadata: serde_json::Value = serde_json::from_slice(&metadata).unwrap();
                assert_eq!(metadata["totals"]["tests"], done.rows_total);
            }
            let report = crate::store::maintain::validate::check(&f.store, Timestamp::now(), &Control::default()).unwrap();
            let bad = report.findings.iter().filter(|found| found.level > crate::store::maintain::validate::Level::Note);
            assert_eq!(bad.count(), 0, "{:?}", report.findings);
            (sorted_rows(&f), f.main().schema().fields().clone(), totals)
        }));
        let (rewritten, copied) = (mains[1].clone(), &mut mains[0]);
        prop_assert_eq!(&copied.2, &rewritten.2);
        prop_assert_eq!(&copied.1, &rewritten.1);
        prop_assert_eq!(&copied.0, &rewritten.0);
    }
}

#[test]
fn after_a_commit_readers_need_no_row_of_main() {
    use std::io::{Seek, SeekFrom, Write};
    let mut f = fixture();
    f.increment(
        &(0..45)
            .map(|at| record(&format!("t{at:02}"), at))
            .collect::<Vec<_>>(),
    );
    f.run();
    let scan = || {
        let scan = crate::store::read::snapshot::Scanner::new();
        let snapshot = { scan }
            .scan(&f.store, Timestamp::now(), &Control::default())
            .unwrap();
        (
            snapshot.cells,
            snapshot.models,
            snapshot.clusters,
            snapshot.main.kind,
        )
    };
    let before = scan();
    assert_eq!(before.0.values().map(|tally| tally.tests).sum::<u64>(), 45);
    let end = f.main().metadata().row_group(0).column(0).byte_range().1;
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .open(f.store.layout.main())
        .unwrap();
    file.seek(SeekFrom::Start(4)).unwrap();
    file.write_all(&vec![0; end as usize]).unwrap();
    assert_eq!(scan(), before);
}

#[test]
fn a_footer_that_reports_something_else_than_its_rows_is_found() {
    use crate::stats::Tally;
    use crate::store::aggregate::Digest;
    use crate::store::aggregate::tallies;
    use crate::store::format::commit_record;
    use crate::store::parquet::table::TableWriter;
    let mut f = fixture();
    f.increment(&[record("a", 1), record("b", 2)]);
    f.run();
    let main = f.main();
    let reported = tallies::of(&main, &f.commit()).unwrap();
    let wrong = reported.cells().map(|(cell, tally)| {
        (
            cell.clone(),
            Tally {
                full: 1,
                ..tally.clone()
            },
        )
    });
    let wrong = Digest::of_cells(wrong.collect());
    let path = f.store.layout.root().join("wrong");
    let schema = Arc::new(arrow::datatypes::Schema::new(
        main.schema().fields().clone(),
    ));
    let mut table = TableWriter::new(f.store.disk.create(&path).unwrap(), &path, &schema).unwrap();
    for batch in main.batches(None, 0).unwrap() {
        table
            .write(&batch.unwrap().with_schema(schema.clone()).unwrap())
            .unwrap();
    }
    table.key_value(commit_record::KEY, f.commit().to_json().unwrap());
    tallies::write(&mut table, &f.commit(), &wrong).unwrap();
    table.finish().unwrap();
    std::fs::rename(path, f.store.layout.main()).unwrap();
    let report =
        crate::store::maintain::validate::check(&f.store, Timestamp::now(), &Control::default())
            .unwrap();
    let worst = &report.findings[0];
    assert!(
        worst.message.starts_with("the tallies in its footer"),
        "{:?}",
        report.findings
    );
}

#[test]
fn row_groups_without_lost_rows_are_copied() {
    with_group_rows(10, || {
        let mut f = fixture();
        f.increment(
            &(0..45)
                .map(|at| record(&format!("t{at:02}"), at))
                .collect::<Vec<_>>(),
        );
        f.run();
        let starts = |f: &Fixture| -> Vec<(i64, u64)> {
            let groups = f.main().metadata().row_groups().to_vec();
            groups
                .iter()
                .map(|group| (group.num_rows(), group.column(0).byte_range().1))
                .collect()
        };
        let before = starts(&f);
        f.increment(&[record("t15", 100), record("t50", 50)]);
        f.run();
        let after = starts(&f);
        assert_eq!(
            after.iter().map(|group| group.0).collect::<Vec<_>>(),
            [10, 9, 10, 10, 5, 2]
        );
        assert_eq!((after[0], &after[2..5]), (before[0], &before[2..5]));
        assert_eq!(f.ids().len(), 46);
    });
}
