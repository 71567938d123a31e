//! What a snapshot means at a moment: totals, models with their rates and bursts,
//! pending rows. Pure: the same snapshot and time give the same figures.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use strum::IntoEnumIterator;

use super::filtered::Filtered;
use super::time;
use crate::observation::{
    Burst, Detail, Failure, FileState, IdentityView, ModelView, Observation, OffView, WaitingView,
    ZoneFrom, ZoneView,
};
use crate::stats::burst::{self, Before};
use crate::stats::{ErrorCategory, Tally};
use crate::store::format::layout;
use crate::store::format::layout::IncrementalName;
use crate::store::read::snapshot;
use crate::store::read::snapshot::{
    IdentityFacts, ModelActivity, Recent, Snapshot, WaitingFile, ZoneFacts,
};

/// Throughput is taken over this many seconds.
const WINDOW: i64 = 300;
/// A burst ends, for people, when its model has recorded nothing for so long.
const BURST_LIFE: SignedDuration = SignedDuration::from_hours(1);
/// Tests to a point of the trend.
const TREND_TESTS: usize = 20;
/// Points of the trend.
const TREND: usize = 8;
/// One of our segments is published at this age at the latest.
const SEGMENT_LIFE: SignedDuration = SignedDuration::from_mins(10);

/// Fills an observation with everything that the snapshot alone says.
/// The names of the files move over: there may be many.
pub(super) fn fill(seen: &mut Observation, snapshot: &mut Snapshot) {
    let now = seen.at.as_second();
    seen.main = snapshot.main.clone();
    seen.waiting = waiting_view(std::mem::take(&mut snapshot.waiting), seen.at);
    seen.superseded = snapshot.superseded;
    seen.repeated = snapshot.repeated;
    seen.identity = identity(&snapshot.identity);
    seen.zone = zone(&snapshot.zone);
    seen.removed_unread.clone_from(&snapshot.removed_unread);
    seen.notes.clone_from(&snapshot.notes);
    seen.cells = Arc::clone(&snapshot.cells);
    seen.history.clone_from(&snapshot.history);
    let window = seen.history.window(now, WINDOW);
    seen.per_minute = seen.history.per_minute(now, window);
    seen.models = models(snapshot, seen.at, window);
    seen.totals = Tally::default();
    for model in &seen.models {
        seen.totals.add(&model.tally);
    }
    seen.errors = ErrorCategory::iter()
        .zip(seen.totals.errors)
        .filter(|(_, count)| *count > 0)
        .collect();
}

fn identity(facts: &IdentityFacts) -> IdentityView {
    let rewritten = facts.rewritten.iter();
    IdentityView {
        bare: (facts.bare, facts.bare_in.clone()),
        identical: facts.identical.clone(),
        rewritten: rewritten
            .map(|of| (of.file.clone(), of.column.clone(), of.rows))
            .collect(),
    }
}

fn zone(facts: &ZoneFacts) -> ZoneView {
    ZoneView {
        name: facts.name.clone(),
        from: if facts.fixed {
            ZoneFrom::Store
        } else {
            ZoneFrom::Machine
        },
        naive: facts.naive,
        off: facts.off.as_ref().map(|off| OffView {
            file: off.file.clone(),
            seconds: off.seconds,
            fits: off.fits,
        }),
    }
}

/// The figures of some of the tests.
pub(super) fn filtered(snapshot: &Snapshot, at: Timestamp) -> Filtered {
    let window = snapshot.history.window(at.as_second(), WINDOW);
    let models = models(snapshot, at, window);
    let mut totals = Tally::default();
    for model in &models {
        totals.add(&model.tally);
    }
    Filtered {
        expression: None,
        models,
        totals,
        cells: Arc::clone(&snapshot.cells),
        history: snapshot.history.clone(),
    }
}

fn waiting_view(files: Vec<WaitingFile>, now: Timestamp) -> WaitingView {
    let mut view = WaitingView::default();
    let mut began = Began::default();
    for file in &files {
        match (&file.state, file.journal) {
            (FileState::Ready, true) => {
                view.journals += 1;
                view.journal_rows += file.rows;
                view.dead_journals += u64::from(file.dead);
            }
            (FileState::Ready, false) => {
                view.increments += 1;
                view.increment_bytes += file.bytes;
                view.increment_rows += file.rows;
            }
            (FileState::InProgress, _) => view.in_progress += 1,
            (FileState::Unreadable(_), _) => view.unreadable += 1,
            (FileState::Conflict(_), _) => {}
        }
        if file.rows > 0 && file.state == FileState::Ready {
            let since = waiting_since(file, &mut began).min(now);
            let earlier = |known: Option<Timestamp>| known.map_or(since, |known| known.min(since));
            view.oldest = Some(earlier(view.oldest));
            if !file.journal {
                view.oldest_increment = Some(earlier(view.oldest_increment));
            }
        }
    }
    view.files = Arc::new(files);
    view
}

/// When the file's oldest row began to wait. Rows of an import carry the times of
/// their tests, long before: one of our files can't have waited for longer than a
/// segment lives before its last change, nor from before its writer began.
fn waiting_since(file: &WaitingFile, began: &mut Began) -> Timestamp {
    let row = file.oldest.and_then(time).unwrap_or(file.modified);
    match layout::classify(&file.name) {
        IncrementalName::Increment | IncrementalName::Journal => {
            let began = began.of(&file.name).unwrap_or(row);
            row.max(file.modified - SEGMENT_LIFE)
                .max(began.min(file.modified))
        }
        // Whatever the zone is: as long before its file was written as before its newest row.
        _ if file.naive.rows > 0 => {
            let span = file.naive.newest.zip(file.oldest);
            let span = span.map_or(0, |(newest, oldest)| newest.saturating_sub(oldest).max(0));
            file.modified
                .saturating_sub(SignedDuration::from_micros(span))
                .unwrap_or(file.modified)
        }
        _ => row,
    }
}

/// When writers began: many files are of one.
#[derive(Debug, Default)]
struct Began(Option<(String, Option<Timestamp>)>);

impl Began {
    /// When the writer of a file did.
    fn of(&mut self, name: &str) -> Option<Timestamp> {
        let id = layout::process_id(name)?;
        match &self.0 {
            Some((known, began)) if known == id => *began,
            _ => self.0.insert((id.to_owned(), layout::writer_began(name))).1,
        }
    }
}

fn models(snapshot: &Snapshot, at: Timestamp, window: i64) -> Vec<ModelView> {
    let now = at.as_second();
    let nothing = ModelActivity::default();
    let models = snapshot
        .cells
        .models()
        .map(|(model, cells)| (model, cells.sum().clone()));
    models
        .filter(|(_, tally)| tally.tests > 0)
        .map(|(model, tally)| {
            let activity = snapshot
                .models
                .get(model)
                .map_or(&nothing, |activity| &**activity);
            let last_row = activity.last_row.and_then(time);
            let alive = last_row.is_some_and(|last| at.duration_since(last) < BURST_LIFE);
            ModelView {
                model: model.to_string(),
                per_minute: activity.history.per_minute(now, window),
                last_row,
                burst: if alive {
                    model_burst(&tally, &activity.recent)
                } else {
                    None
                },
                trend: trend(&activity.recent),
                effective: snapshot
                    .clusters
                    .effective(model, tally.full, tally.judged()),
                cost: None,
                measured: None,
                detail: Arc::new(detail(activity)),
                tally,
            }
        })
        .collect()
}

/// Success over the last tests, in stretches of twenty, oldest first; the newest is
/// whole, so that it says as much as the others.
fn trend(recent: &[Recent]) -> Vec<f64> {
    let judged: Vec<Recent> = recent.iter().filter(|t| !t.unscored).copied().collect();
    let newest = judged.rchunks_exact(TREND_TESTS).take(TREND);
    let rate =
        |tests: &[Recent]| tests.iter().filter(|t| t.full).count() as f64 / tests.len() as f64;
    let mut rates: Vec<f64> = newest.map(rate).collect();
    rates.reverse();
    rates
}

fn detail(activity: &ModelActivity) -> Detail {
    let failure = |failure: &snapshot::Failure| Failure {
        at: time(failure.timestamp),
        category: failure.error,
        message: failure.message.to_string(),
        test_id: failure.test_id.to_string(),
        cell: failure.cell.clone(),
    };
    Detail {
        history: Arc::clone(&activity.history),
        times: activity.times.clone(),
        failures: activity.failures.iter().rev().map(failure).collect(),
    }
}

fn model_burst(tally: &Tally, recent: &[Recent]) -> Option<Burst> {
    let failures: Vec<bool> = recent.iter().map(|test| !test.full).collect();
    let failed = failures.iter().filter(|failed| **failed).count() as u64;
    // A test that an error left without a verdict is one that went wrong.
    let tests = tally.judged().saturating_add(tally.unscored_errors);
    let before = Before {
        tests: tests.saturating_sub(recent.len() as u64),
        failed: tests.saturating_sub(tally.full).saturating_sub(failed),
    };
    let alarm = burst::detect(before, &failures)?;
    let mut counts: BTreeMap<ErrorCategory, u64> = BTreeMap::new();
    for error in recent
        .iter()
        .skip(alarm.start)
        .filter_map(|test| test.error)
    {
        *counts.entry(error).or_default() += 1;
    }
    let category = counts
        .into_iter()
        .max_by_key(|(_, count)| *count)
        .map(|(error, _)| error);
    Some(Burst {
        failed: alarm.failed,
        of: alarm.of,
        usual: alarm.usual,
        category,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Cell;
    use crate::stats::history::History;
    use crate::stats::paired::Trials;

    const NOW: i64 = 1_769_860_800;

    fn cell(model: &str, task: &str) -> Cell {
        Cell {
            model: model.into(),
            prompt_type: "optimal".into(),
            tool_success_rate: None,
            difficulty: "easy".into(),
            task_type: task.into(),
        }
    }

    fn tally(tests: u64, full: u64) -> Tally {
        Tally {
            tests,
            full,
            ..Tally::default()
        }
    }

    fn observe(snapshot: &Snapshot) -> Observation {
        let mut seen = Observation {
            at: Timestamp::from_second(NOW).unwrap(),
            ..Observation::default()
        };
        fill(&mut seen, &mut snapshot.clone());
        seen
    }

    fn file(name: &str, rows: u64, age: i64) -> WaitingFile {
        WaitingFile {
            name: name.to_owned(),
            bytes: 1_000,
            rows,
            modified: Timestamp::from_second(NOW - age).unwrap(),
            state: FileState::Ready,
            journal: name.starts_with("journal"),
            dead: false,
            oldest: None,
            naive: snapshot::Naive::default(),
        }
    }

    #[test]
    fn totals_are_the_sum_of_the_models() {
        let mut infra = tally(10, 2);
        infra.errors[ErrorCategory::Infrastructure as usize] = 3;
        let cells = [
            (cell("b", "x"), tally(5, 4)),
            (cell("b", "y"), infra),
            (cell("a", "x"), tally(1, 0)),
            (cell("emptied", "x"), tally(0, 0)),
        ]
        .into_iter()
        .collect();
        let seen = observe(&Snapshot {
            cells: Arc::new(cells),
            superseded: 2,
            ..Snapshot::default()
        });
        let models: Vec<(&str, u64)> = seen
            .models
            .iter()
            .map(|model| (model.model.as_str(), model.tally.tests))
            .collect();
        assert_eq!(models, [("a", 1), ("b", 15)]);
        assert_eq!(
            (seen.totals.tests, seen.totals.full, seen.superseded),
            (16, 6, 2)
        );
        assert_eq!(
            seen.errors,
            BTreeMap::from([(ErrorCategory::Infrastructure, 3)])
        );
    }

    #[test]
    fn rates_by_model_add_up_to_the_whole() {
        let at = |rows: &[(i64, u64)]| {
            let mut activity = ModelActivity::default();
            for (minutes, rows) in rows {
                Arc::make_mut(&mut activity.history).add(NOW - minutes * 60, *rows, 0);
            }
            Arc::new(activity)
        };
        let models = BTreeMap::from([
            ("a".into(), at(&[(60, 100), (3, 20)])),
            ("b".into(), at(&[(3, 5)])),
        ]);
        let mut history = History::default();
        for model in models.values() {
            history.merge(&model.history);
        }
        let cells = [
            (cell("a", "x"), tally(120, 0)),
            (cell("b", "x"), tally(5, 0)),
        ]
        .into_iter()
        .collect();
        let seen = observe(&Snapshot {
            models,
            history,
            cells: Arc::new(cells),
            ..Snapshot::default()
        });
        let sum: f64 = seen.models.iter().map(|model| model.per_minute).sum();
        assert!((seen.per_minute - 5.0).abs() < 1e-9, "{}", seen.per_minute);
        assert!((sum - seen.per_minute).abs() < 1e-9);
    }

    #[test]
    fn files_are_counted_by_their_state() {
        let mut dead = file("journal_1_20260131_120000_h_0a_0.jsonl", 4, 30);
        dead.dead = true;
        let mut torn = file("increment_9.parquet", 0, 4_000);
        torn.state = FileState::Unreadable("no footer".to_owned());
        let mut fresh = file("increment_8.parquet", 0, 4);
        fresh.state = FileState::InProgress;
        let ready = file("increment_2_20260131_120000_h_0a_0.parquet", 10, 60);
        let seen = observe(&Snapshot {
            waiting: vec![dead, torn, fresh, ready],
            ..Snapshot::default()
        });
        let waiting = &seen.waiting;
        assert_eq!(
            (
                waiting.increments,
                waiting.increment_bytes,
                waiting.increment_rows
            ),
            (1, 1_000, 10)
        );
        assert_eq!(
            (
                waiting.journals,
                waiting.journal_rows,
                waiting.dead_journals
            ),
            (1, 4, 1)
        );
        assert_eq!(
            (waiting.in_progress, waiting.unreadable, waiting.files.len()),
            (1, 1, 4)
        );
        assert_eq!(waiting.oldest, Timestamp::from_second(NOW - 60).ok());
    }

    #[test]
    fn old_tests_that_were_imported_just_now_have_not_waited() {
        let year_ago = Some((NOW - 31_536_000) * 1_000_000);
        let mut imported = file("increment_2_20260131_110000_h_0a_0.parquet", 10, 60);
        imported.oldest = year_ago;
        let seen = observe(&Snapshot {
            waiting: vec![imported],
            ..Snapshot::default()
        });
        assert_eq!(seen.waiting.oldest, Timestamp::from_second(NOW - 660).ok());
        let began = Timestamp::from_second(NOW - 63)
            .unwrap()
            .strftime("%Y%m%d_%H%M%S")
            .to_string();
        let mut imported = file(&format!("increment_2_{began}_h_0a_0.parquet"), 10, 60);
        imported.oldest = year_ago;
        let seen = observe(&Snapshot {
            waiting: vec![imported],
            ..Snapshot::default()
        });
        assert_eq!(seen.waiting.oldest, Timestamp::from_second(NOW - 63).ok());
        // A legacy file is rewritten again and again, so only its rows say.
        let mut legacy = file("increment_2_20260131_120000.parquet", 10, 60);
        legacy.oldest = Some((NOW - 7_200) * 1_000_000);
        let seen = observe(&Snapshot {
            waiting: vec![legacy],
            ..Snapshot::default()
        });
        assert_eq!(
            seen.waiting.oldest,
            Timestamp::from_second(NOW - 7_200).ok()
        );
        // The zone of these rows is a guess; that they span two minutes is none.
        let mut naive = file("increment_2_20260131_120000.parquet", 10, 60);
        naive.oldest = Some((NOW - 28_980) * 1_000_000);
        naive.naive = snapshot::Naive {
            rows: 10,
            newest: Some((NOW - 28_860) * 1_000_000),
        };
        let seen = observe(&Snapshot {
            waiting: vec![naive],
            ..Snapshot::default()
        });
        assert_eq!(seen.waiting.oldest, Timestamp::from_second(NOW - 180).ok());
    }

    fn failing(last_row: i64) -> Snapshot {
        let recent: Vec<Recent> = (0..60)
            .map(|index| Recent {
                timestamp: (NOW - 60 + index) * 1_000_000,
                full: index < 40,
                unscored: false,
                error: (index >= 40).then_some(ErrorCategory::Infrastructure),
            })
            .collect();
        let last_row = Some(last_row * 1_000_000);
        let activity = ModelActivity {
            recent,
            last_row,
            ..ModelActivity::default()
        };
        Snapshot {
            cells: Arc::new([(cell("a", "x"), tally(460, 340))].into_iter().collect()),
            models: BTreeMap::from([("a".into(), Arc::new(activity))]),
            ..Snapshot::default()
        }
    }

    #[test]
    fn a_burst_carries_its_figures_and_its_cause() {
        let seen = observe(&failing(NOW));
        let burst = seen.models[0].burst.clone().unwrap();
        assert_eq!((burst.failed, burst.of), (20, 20));
        assert_eq!(burst.category, Some(ErrorCategory::Infrastructure));
        assert!((burst.usual - 0.25).abs() < 0.05, "{}", burst.usual);
    }

    #[test]
    fn a_burst_of_yesterday_is_over() {
        assert_eq!(observe(&failing(NOW - 3_600)).models[0].burst, None);
    }

    #[test]
    fn the_trend_is_of_whole_stretches_of_the_last_tests() {
        let seen = observe(&failing(NOW));
        // Sixty tests: forty that passed, then twenty that failed.
        assert_eq!(seen.models[0].trend, [1.0, 1.0, 0.0]);
        let page = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/statistics.md"));
        let example = "Forty that passed and then twenty that failed are the rates 1, 1, 0: `██▁`";
        assert!(page.contains(example));
        let mut snapshot = failing(NOW);
        let activity = Arc::make_mut(snapshot.models.get_mut("a").unwrap());
        activity.recent.drain(..55);
        assert!(
            observe(&snapshot).models[0].trend.is_empty(),
            "five tests are no trend"
        );
    }

    #[test]
    fn repeated_tasks_widen_the_interval() {
        let mut snapshot = failing(NOW);
        let plain = observe(&snapshot).models[0].interval().unwrap();
        for task in 0..46 {
            let full = if task < 34 { 10 } else { 0 };
            snapshot
                .clusters
                .add(&"a".into(), task, Trials { n: 10, full });
        }
        let wide = observe(&snapshot).models[0].interval().unwrap();
        assert!(
            wide.high - wide.low > 2.5 * (plain.high - plain.low),
            "{plain:?} {wide:?}"
        );
    }

    #[test]
    fn the_newest_failure_comes_first() {
        let failure = |seconds: i64| snapshot::Failure {
            timestamp: (NOW - seconds) * 1_000_000,
            error: Some(ErrorCategory::Timeout),
            message: "no answer".into(),
            test_id: "t".into(),
            cell: cell("a", "x"),
        };
        let mut snapshot = failing(NOW);
        Arc::make_mut(snapshot.models.get_mut("a").unwrap()).failures =
            vec![failure(9), failure(1)];
        let failures = &observe(&snapshot).models[0].detail.failures;
        assert_eq!(failures[0].at, Timestamp::from_second(NOW - 1).ok());
        assert_eq!(
            (failures.len(), failures[0].message.as_str()),
            (2, "no answer")
        );
    }
}
