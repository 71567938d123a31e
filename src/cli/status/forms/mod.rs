//! The forms in which `status` prints an observation, one file each. All are pure:
//! an observation becomes text.

use jiff::Timestamp;

use crate::observation::Observation;

/// Seconds since a time; zero where a clock runs ahead.
pub(crate) fn age(seen: &Observation, time: Timestamp) -> f64 {
    seen.at.duration_since(time).as_secs_f64().max(0.0)
}

#[cfg(test)]
pub(crate) mod sample {
    use std::path::PathBuf;

    use jiff::{SignedDuration, Timestamp};

    use crate::config::Thresholds;
    use crate::observation::{
        MainKind, MainState, ModelView, Observation, StoreState, WaitingView, WriterState,
        WriterView,
    };
    use crate::stats::{ErrorCategory, Sum, Tally};

    /// A store with everything in it, and data that tries to steer terminals.
    pub(crate) fn busy() -> Observation {
        let at: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        let before = |seconds| at - SignedDuration::from_secs(seconds);
        let mut tally = Tally {
            tests: 12_400,
            full: 6_200,
            partial: 1_240,
            ..Tally::default()
        };
        tally.errors[ErrorCategory::Infrastructure as usize] = 400;
        tally.execution_time = Sum::of(Some(2.5));
        let nasty = "evil\u{1b}[31m \"m\\odel\"\n#[fg=red]";
        let mut seen = Observation {
            at,
            store: PathBuf::from("/runs/pilot_bench_parquet_data"),
            main: MainState {
                exists: true,
                expected_rows: None,
                lacking_tests: 0,
                of_other: false,
                generation: 7,
                committed: Some(before(600)),
                rows: 10_452,
                bytes: 3_250_586,
                kind: MainKind::Records,
                modified: Some(before(600)),
            },
            waiting: WaitingView {
                increments: 104,
                increment_bytes: 13_002_342,
                increment_rows: 1_978,
                in_progress: 1,
                journals: 3,
                journal_rows: 12,
                oldest: Some(before(840)),
                oldest_increment: Some(before(840)),
                ..WaitingView::default()
            },
            totals: tally.clone(),
            superseded: 24,
            repeated: 2,
            models: vec![
                ModelView {
                    model: nasty.to_owned(),
                    tally,
                    per_minute: 4.1,
                    last_row: Some(before(3)),
                    burst: None,
                    ..ModelView::default()
                },
                ModelView {
                    model: "模型".to_owned(),
                    ..ModelView::default()
                },
            ],
            writers: vec![WriterView {
                writer: "48213_20260131_110000_node7_0a1b".to_owned(),
                process_id: "48213_20260131_110000".to_owned(),
                host: Some("node7".to_owned()),
                pid: Some(48_213),
                state: WriterState::Stalled,
                rows: 41,
                journal_bytes: 26_300,
                last_row: Some(before(360)),
                model: Some(nasty.to_owned()),
                limit_seconds: 60.0,
                ..WriterView::default()
            }],
            per_minute: 41.3,
            disk: Some((40 << 30, 100 << 30)),
            ..Observation::default()
        };
        seen.alerts = crate::health::check(&seen, &Thresholds::default());
        seen
    }

    /// A store that could not be read at all.
    pub(crate) fn torn() -> Observation {
        let mut seen = Observation {
            at: "2026-01-31T12:00:00Z".parse().unwrap(),
            store: PathBuf::from("/runs/torn"),
            state: StoreState::Unreadable(
                "test_results.parquet can't be read as Parquet".to_owned(),
            ),
            ..Observation::default()
        };
        seen.alerts = crate::health::check(&seen, &Thresholds::default());
        seen
    }
}
