//! Jobs that are disturbed in each of their phases: cancelled, or the store moved away
//! under them. No result may be lost or counted twice, and what is said must be true.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use jiff::{SignedDuration, Timestamp};

use super::*;
use crate::store::Record;
use crate::store::disk::sim::SimDisk;
use crate::store::maintain::cleanup::Reason;
use crate::store::maintain::operations::Followed;
use crate::store::read::snapshot::Scanner;
use crate::store::write::writer::{Writer, WriterOptions};

/// Tests in the store below.
const TESTS: u64 = 40;

/// Findings that can be mended there.
const MENDABLE: usize = 3;

fn write(store: &Store, tests: u64) {
    let mut writer = Writer::open(store, WriterOptions::default()).unwrap();
    let record = |at| Record {
        model: "m".to_owned(),
        success: Some(at % 2 == 0),
        ..Record::default()
    };
    writer.append_all((0..tests).map(record).collect()).unwrap();
    writer.close().unwrap();
}

fn done(store: &Store, request: &Request) -> Outcome {
    let control = Control::default();
    run(store, &plan(store, request, &control).unwrap(), &control).unwrap()
}

fn consolidate() -> Request {
    Request::Consolidate(ConsolidateOptions::default())
}

/// Main with a backup, two increments, and files that a dead process left behind.
fn store(root: &Path) -> Store {
    let store = Store::new(root.join("results"));
    write(&store, 10);
    done(&store, &consolidate());
    write(&store, 10);
    done(&store, &consolidate());
    for _ in 0..2 {
        write(&store, 10);
    }
    for number in 0..3 {
        let path = store
            .layout
            .incremental()
            .join(format!(".increment_{number}.tmp"));
        std::fs::write(&path, "left").unwrap();
        let old = Timestamp::now() - SignedDuration::from_hours(1);
        std::fs::File::open(&path)
            .unwrap()
            .set_modified(old.into())
            .unwrap();
    }
    // What a repair mends.
    std::fs::write(store.layout.metadata(), "{}").unwrap();
    for number in 0..2 {
        let path = store
            .layout
            .incremental()
            .join(format!("increment_{number}_20260131_120000.parquet"));
        std::fs::write(&path, "no Parquet").unwrap();
        let old = Timestamp::now() - SignedDuration::from_hours(1);
        std::fs::File::open(&path)
            .unwrap()
            .set_modified(old.into())
            .unwrap();
    }
    store
}

/// The files of a store that wait to be mended.
fn mendable(store: &Store) -> usize {
    let report =
        crate::store::maintain::validate::check(store, Timestamp::now(), &Control::default())
            .unwrap();
    report
        .findings
        .iter()
        .filter(|finding| finding.repair.is_some())
        .count()
}

fn requests(root: &Path) -> Vec<Request> {
    let export = |format| {
        let output = root.join("out");
        Request::Export(ExportOptions {
            format,
            output,
            filter: crate::store::read::query::Filter::default(),
            overwrite: true,
            strict: false,
        })
    };
    vec![
        consolidate(),
        Request::Restore(RestoreOptions {
            from: None,
            exactly: false,
        }),
        Request::Cleanup(CleanupOptions {
            keep: 0,
            ..CleanupOptions::default()
        }),
        Request::Backup,
        Request::Validate { repair: false },
        Request::Validate { repair: true },
        export(ExportFormat::Parquet),
        export(ExportFormat::Json),
        Request::Report(ReportOptions {
            output: root.join("report.md"),
            request: Box::default(),
            overwrite: true,
        }),
    ]
}

fn tests(store: &Store) -> u64 {
    let snapshot = Scanner::new()
        .scan(store, Timestamp::now(), &Control::default())
        .unwrap();
    snapshot.cells.values().map(|tally| tally.tests).sum()
}

/// Runs every job again and again, with `trouble` at its first, second, … sign of life,
/// until it gets through all of them; `after` looks at how it ended.
fn disturbed(
    trouble: impl Fn(&Store, &Control) + Send + Sync + Copy + 'static,
    after: impl Fn(&Store, &Request, Result<Outcome>),
) {
    let names = requests(Path::new("")).len();
    for at in 0..names {
        for phase in 0.. {
            let folder = tempfile::tempdir().unwrap();
            let store = store(folder.path());
            let request = requests(folder.path()).swap_remove(at);
            let plan = plan(&store, &request, &Control::default()).unwrap();
            let own: Arc<Mutex<Option<Control>>> = Arc::default();
            let (heard, reached, on) = (Arc::clone(&own), Arc::new(Mutex::new(0)), store.clone());
            let count = Arc::clone(&reached);
            let control = Control::new(move |_| {
                let mut count = count.lock().unwrap();
                if *count == phase {
                    trouble(&on, heard.lock().unwrap().as_ref().unwrap());
                }
                *count += 1;
            });
            *own.lock().unwrap() = Some(control.clone());
            let ended = run(&store, &plan, &control);
            *own.lock().unwrap() = None;
            after(&store, &request, ended);
            assert_eq!(tests(&store), TESTS, "{request:?}, {phase}");
            if *reached.lock().unwrap() <= phase {
                break;
            }
        }
    }
}

#[test]
fn a_job_can_be_cancelled_in_each_of_its_phases() {
    disturbed(
        |_, control| control.cancel(),
        |store, request, ended| match ended {
            Ok(outcome) => {
                if let (Request::Cleanup(_), Some(left)) =
                    (request, outcome.json["left"].as_u64().filter(|n| *n > 0))
                {
                    assert!(
                        outcome
                            .summary
                            .contains(&format!("cancelled before {left} more")),
                        "{}",
                        outcome.summary
                    );
                }
                if outcome.json["cancelled"] == true {
                    let mended = outcome.json["repaired"].as_array().unwrap().len();
                    assert!(
                        mended > 0 && mended + mendable(store) == MENDABLE,
                        "{}",
                        outcome.summary
                    );
                }
            }
            Err(error) => {
                assert!(matches!(error, Error::Cancelled), "{error}");
                // Nothing was changed, it says.
                if let Request::Validate { repair: true } = request {
                    assert_eq!(mendable(store), MENDABLE);
                }
                if let Request::Cleanup(options) = request {
                    let plan =
                        crate::store::maintain::cleanup::plan(store, options, Timestamp::now())
                            .unwrap();
                    assert_eq!(
                        plan.items
                            .iter()
                            .filter(|item| item.reason == Reason::StaleTemporary)
                            .count(),
                        3
                    );
                }
            }
        },
    );
}

fn away(store: &Store) -> PathBuf {
    store.layout.root().with_extension("away")
}

#[test]
fn a_store_that_vanishes_under_a_job_is_whole_when_it_comes_back() {
    disturbed(
        |store, _| std::fs::rename(store.layout.root(), away(store)).unwrap(),
        |store, request, ended| {
            if away(store).exists() {
                assert!(
                    !store.layout.root().exists(),
                    "nobody makes another one: {request:?}"
                );
                std::fs::rename(away(store), store.layout.root()).unwrap();
            } else {
                ended.unwrap();
            }
        },
    );
}

#[test]
fn what_changed_the_store_is_noted_in_it_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    for request in requests(folder.path()) {
        done(&store, &request);
    }
    // Nothing is left to do.
    done(&store, &Request::Cleanup(CleanupOptions::default()));
    std::fs::write(store.layout.main(), "no Parquet").unwrap();
    let control = Control::default();
    let plan = Plan {
        request: Request::Backup,
        ..plan(&store, &Request::Validate { repair: false }, &control).unwrap()
    };
    run(&store, &plan, &control).unwrap_err();
    let mut followed = Followed::default();
    let noted: Vec<_> = followed
        .look(&store)
        .iter()
        .map(|o| (o.operation.as_str(), o.generation, o.failed))
        .collect();
    let expected = [
        ("consolidate", Some(1), false),
        ("consolidate", Some(2), false),
        ("consolidate", Some(3), false),
        ("restore", Some(4), false),
        ("cleanup", None, false),
        ("backup", None, false),
        ("repair", None, false),
        ("backup", None, true),
    ];
    assert_eq!(noted, expected);
}

#[test]
fn a_consolidation_that_fails_is_noted_also_when_it_had_committed() {
    let start = SimDisk::new(Timestamp::now().as_nanosecond());
    let on = |disk: &SimDisk| Store {
        disk: Arc::new(disk.clone()),
        ..Store::new("/store")
    };
    // More than one commit takes in.
    for _ in 0..2 {
        write(&on(&start), 1_100);
    }
    let (control, mut had_committed) = (Control::default(), 0);
    for step in (0..).step_by(3) {
        let disk = start.after_kill();
        disk.fault(step, std::io::ErrorKind::Other);
        let store = on(&disk);
        let plan = plan(&store, &consolidate(), &control).unwrap();
        let ended = run(&store, &plan, &control);
        if disk.steps() <= step {
            break;
        }
        let mut followed = Followed::default();
        let noted = followed.look(&store).first();
        match ended {
            Err(error) => {
                let noted = noted.unwrap_or_else(|| panic!("step {step}: nothing says '{error}'"));
                assert!(
                    noted.failed && noted.summary.contains(&error.to_string()),
                    "{noted:?}: {error}"
                );
                had_committed += u64::from(matches!(error, Error::Partly { .. }));
            }
            // The step that failed may be the note's own.
            Ok(_) => assert!(noted.is_none_or(|noted| !noted.failed), "step {step}"),
        }
    }
    assert!(had_committed > 0);
}

#[test]
fn a_cleanup_passes_over_what_is_gone_and_what_is_needed_by_now() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let options = CleanupOptions::default();
    let planned =
        crate::store::maintain::cleanup::plan(&store, &options, Timestamp::now()).unwrap();
    let mut planned = planned.items;
    planned.retain(|item| item.reason == Reason::StaleTemporary);
    std::fs::remove_file(planned[1].folder.join(&planned[1].name)).unwrap();
    // A plan that was made when main had another index.
    let root = store.layout.root().to_path_buf();
    let entries = store.disk.list(&root).unwrap();
    let index = entries
        .into_iter()
        .filter(|entry| entry.name.starts_with(".test_keys."));
    let index = index.map(|entry| crate::store::maintain::cleanup::Item {
        folder: root.clone(),
        name: entry.name,
        stat: entry.stat,
        reason: Reason::StaleTemporary,
    });
    planned.extend(index);
    assert!(planned.len() > 3, "{planned:?}");
    let plan = crate::store::maintain::cleanup::Plan {
        items: planned.clone(),
    };
    let done = crate::store::maintain::cleanup::run(&store, &plan, &Control::default()).unwrap();
    assert_eq!(
        (done.removed.len(), done.kept.len()),
        (2, planned.len() - 3)
    );
}
