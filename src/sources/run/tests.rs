use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;
use crate::sources::import;
use crate::store::read::query::{self, Selection};

fn now(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

/// What counts, without what differs from run to run.
fn counted(store: &Store) -> Vec<String> {
    if store.check().is_err() {
        return Vec::new();
    }
    let rows = query::rows(store, &Selection::default(), &Control::default()).unwrap();
    let mut lines: Vec<String> = Vec::new();
    for batch in rows {
        let text = crate::formats::json_text(&[batch.unwrap()]).unwrap();
        let rows: Vec<serde_json::Map<String, serde_json::Value>> =
            serde_json::from_str(&text).unwrap();
        for mut row in rows {
            row.retain(|_, value| !value.is_null());
            row.sort_keys();
            lines.push(serde_json::to_string(&row).unwrap());
        }
    }
    lines.sort();
    lines
}

#[test]
fn many_small_files_become_one_increment() {
    let folder = tempfile::tempdir().unwrap();
    let (store, control) = (Store::new(folder.path().join("store")), Control::default());
    let mut run = Run::new(&store, &control);
    run.patience = Duration::MAX;
    let mut done = Vec::new();
    for at in 0..40 {
        let path = folder.path().join(format!("{at}.jsonl"));
        // Every tenth has a column of another type.
        let n = if at % 10 == 9 { "1.5" } else { "1" };
        let row = format!("{{\"model\":\"m\",\"success\":true,\"file\":{at},\"n\":{n}}}\n");
        std::fs::write(&path, row).unwrap();
        done.extend(run.add(at, &path, &Options::default(), now(0)));
    }
    assert!(done.is_empty(), "nothing is said before it is there");
    let done = run.finish();
    let order: Vec<usize> = done.iter().map(|(at, _)| *at).collect();
    assert_eq!(order, (0..40).collect::<Vec<_>>());
    let increments: HashSet<String> = done
        .into_iter()
        .map(|(_, report)| report.unwrap().increment.unwrap())
        .collect();
    assert_eq!(increments.len(), 2, "one, and one of the other type");
    assert_eq!(counted(&store).len(), 40);
}

/// A row of a file: an id, whether it has one, a time, and how it ended.
type Made = (u8, bool, Option<u8>, bool);

fn file(folder: &Path, name: u8, rows: &[Made]) -> std::path::PathBuf {
    let path = folder.join(format!("{name}.jsonl"));
    let mut text = String::new();
    for (id, named, time, success) in rows {
        let mut row = serde_json::json!({"model": "m", "n": id, "success": success});
        if *named {
            row["test_id"] = format!("t{id}").into();
        }
        if let Some(time) = time {
            row["timestamp"] = format!("2026-01-01T00:00:{time:02}Z").into();
        }
        writeln!(text, "{row}").unwrap();
    }
    std::fs::write(&path, text).unwrap();
    path
}

/// A results file of lm-evaluation-harness: a model, and a task with its tests and successes.
fn results(path: &Path, model: u8, task: u8, tests: u8, full: u8) {
    let (task, share) = (format!("task{task}"), f64::from(full) / f64::from(tests));
    let text = serde_json::json!({
        "results": {&task: {"acc,none": share}}, "n-samples": {&task: {"effective": tests}},
        "group_subtasks": {&task: []}, "model_name": format!("m{model}"), "configs": {}, "versions": {},
    });
    std::fs::write(path, text.to_string()).unwrap();
}

/// Summary rows by model and task: tests, successes.
fn summed(store: &Store) -> Vec<String> {
    if store.check().is_err() {
        return Vec::new();
    }
    let by = ["model".to_owned(), "task_type".to_owned()];
    let all = query::Filter::default();
    let groups = query::grouped(store, &all, &by, &Control::default()).unwrap();
    let line =
        |own: &query::Group| format!("{:?} {} {}", own.values, own.tally.tests, own.tally.full);
    groups.iter().map(line).collect()
}

#[test]
fn many_files_of_counts_are_one_commit() {
    let folder = tempfile::tempdir().unwrap();
    let (store, control) = (Store::new(folder.path().join("store")), Control::default());
    let generations = |expected: [u64; 3]| {
        let mut run = Run::new(&store, &control);
        run.patience = Duration::MAX;
        let mut done = Vec::new();
        for at in 0..40_u8 {
            let path = folder.path().join(format!("results_{at}.json"));
            done.extend(run.add(at.into(), &path, &Options::default(), now(0)));
        }
        assert!(done.is_empty(), "nothing is said before it is there");
        let mut found = [0, 0, 0];
        for (place, (at, report)) in run.finish().into_iter().enumerate() {
            let report = report.unwrap();
            assert_eq!(at, place);
            found[0] += report.new;
            found[1] += report.existing;
            found[2] = report.leaves.unwrap().generation;
        }
        assert_eq!(found, expected);
    };
    let write = |at: u8, full: u8| {
        let path = folder.path().join(format!("results_{at}.json"));
        results(&path, at, 1, 10, full);
    };
    (0..40).for_each(|at| write(at, 5));
    generations([40, 0, 1]);
    generations([0, 40, 1]);
    write(7, 6);
    generations([1, 39, 2]);
    assert_eq!(summed(&store).len(), 40);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// Files that are imported together come to what they come to one after another.
    #[test]
    fn together_is_one_after_another(
        files in prop::collection::vec(
            (0_u8..3, prop::collection::vec((0_u8..4, any::<bool>(), prop::option::of(0_u8..3), any::<bool>()), 0..5), any::<bool>()),
            1..6,
        ),
        cut in 0_usize..6,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let control = Control::default();
        let (alone, together) = (Store::new(folder.path().join("a")), Store::new(folder.path().join("b")));
        let (mut expected, mut found) = (Vec::new(), Vec::new());
        let strict = |strict: bool| Options {
            mapping: crate::sources::Mapping::parse(&[], strict.then_some("n>=2"), None).unwrap(),
            ..Options::default()
        };
        let said = |report: Result<Report>| report.map_or_else(
            |error| (error.to_string(), [0; 4]),
            |r| (String::new(), [r.rows, r.new, r.existing, r.replaced]),
        );
        let mut run = Run::new(&together, &control);
        run.patience = Duration::MAX;
        for (at, (name, rows, other)) in files.iter().enumerate() {
            // A name means another file now: what was read before was read.
            let path = file(folder.path(), *name, rows);
            let (options, now) = (strict(*other), now(at as i64));
            expected.push((at, said(import(&alone, &path, &options, now, &control))));
            if at == cut {
                found.extend(std::mem::replace(&mut run, Run::new(&together, &control)).finish());
                run.patience = Duration::MAX;
            }
            found.extend(run.add(at, &path, &options, now));
        }
        found.extend(run.finish());
        let found: Vec<_> = found.into_iter().map(|(at, report)| (at, said(report))).collect();
        prop_assert_eq!(found, expected);
        prop_assert_eq!(counted(&together), counted(&alone));
    }

    /// The same of files of counts, among which are files of rows.
    #[test]
    fn counts_together_are_counts_one_after_another(
        files in prop::collection::vec(
            (0_u8..4, 0_u8..2, 0_u8..2, 1_u8..5, any::<bool>(), 0_u8..6),
            1..8,
        ),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let control = Control::default();
        let (alone, together) = (Store::new(folder.path().join("a")), Store::new(folder.path().join("b")));
        let (mut expected, mut found) = (Vec::new(), Vec::new());
        let said = |report: Result<Report>| report.map_or_else(
            |error| (error.to_string(), [0; 5], Vec::new()),
            |r| {
                let replaced = r.leaves.as_ref().map_or(0, |own| own.replaced);
                (String::new(), [r.rows, r.new, r.existing, r.replaced, replaced], r.notes)
            },
        );
        let mut run = Run::new(&together, &control);
        run.patience = Duration::MAX;
        for (at, (name, model, task, tests, overlap, kind)) in files.iter().enumerate() {
            // Each is read when it is published: no name is written twice before.
            let path = if *kind == 0 {
                file(folder.path(), *name, &[(*task, false, None, true)])
            } else {
                let path = folder.path().join(format!("results_{name}_{at}.json"));
                results(&path, *model, *task, *tests, (*tests).min(*name));
                path
            };
            let mut options = Options::default();
            options.database.allow_overlap = *overlap;
            options.database.source = (*kind > 3).then(|| format!("source {name}"));
            if *kind == 0 {
                options.database.source = None;
            }
            let now = now(at as i64);
            expected.push((at, said(import(&alone, &path, &options, now, &control))));
            found.extend(run.add(at, &path, &options, now));
        }
        found.extend(run.finish());
        let found: Vec<_> = found.into_iter().map(|(at, report)| (at, said(report))).collect();
        prop_assert_eq!(found, expected);
        prop_assert_eq!(summed(&together), summed(&alone));
    }
}
