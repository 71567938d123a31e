//! What happened, as main says it: columns, and times as the distance from the one
//! before, which compress to a fifth.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Failure, ModelActivity, Process, Recent};
use crate::stats::history::History;
use crate::stats::spread::Spread;
use crate::stats::{Cell, ErrorCategory};

/// Numbers as their distance from the one before.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Steps(Vec<i64>);

impl FromIterator<i64> for Steps {
    fn from_iter<T: IntoIterator<Item = i64>>(numbers: T) -> Self {
        let mut last = 0_i64;
        let step = |number: i64| number.wrapping_sub(std::mem::replace(&mut last, number));
        Self(numbers.into_iter().map(step).collect())
    }
}

impl Steps {
    fn numbers(self) -> impl Iterator<Item = i64> {
        self.0.into_iter().scan(0_i64, |last, step| {
            *last = last.wrapping_add(step);
            Some(*last)
        })
    }
}

/// A model's part.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PackedModel {
    history: Arc<History>,
    times: Spread,
    /// Of the last tests: when, how it ended (0 failure, 1 full success, 2 unscored), what
    /// went wrong.
    recent: (Steps, Vec<u8>, Vec<Option<ErrorCategory>>),
    failures: PackedFailures,
    last_row: Option<i64>,
}

#[derive(Debug, Serialize, Deserialize)]
struct PackedFailures {
    timestamps: Steps,
    errors: Vec<Option<ErrorCategory>>,
    messages: Vec<Box<str>>,
    test_ids: Vec<Box<str>>,
    cells: Vec<Cell>,
}

impl From<ModelActivity> for PackedModel {
    fn from(model: ModelActivity) -> Self {
        let failures = PackedFailures {
            timestamps: model
                .failures
                .iter()
                .map(|failure| failure.timestamp)
                .collect(),
            errors: model.failures.iter().map(|failure| failure.error).collect(),
            messages: model
                .failures
                .iter()
                .map(|failure| failure.message.clone())
                .collect(),
            test_ids: model
                .failures
                .iter()
                .map(|failure| failure.test_id.clone())
                .collect(),
            cells: model
                .failures
                .into_iter()
                .map(|failure| failure.cell)
                .collect(),
        };
        let recent = (
            model.recent.iter().map(|test| test.timestamp).collect(),
            model
                .recent
                .iter()
                .map(|test| u8::from(test.full) + 2 * u8::from(test.unscored))
                .collect(),
            model.recent.iter().map(|test| test.error).collect(),
        );
        Self {
            history: model.history,
            times: model.times,
            recent,
            failures,
            last_row: model.last_row,
        }
    }
}

impl From<PackedModel> for ModelActivity {
    fn from(packed: PackedModel) -> Self {
        let (times, full, errors) = packed.recent;
        let recent = times.numbers().zip(full).zip(errors);
        let failures = packed.failures;
        let what = failures
            .errors
            .into_iter()
            .zip(failures.messages)
            .zip(failures.test_ids);
        let failed = failures.timestamps.numbers().zip(what).zip(failures.cells);
        Self {
            history: packed.history,
            times: packed.times,
            recent: recent
                .map(|((timestamp, ended), error)| Recent {
                    timestamp,
                    full: ended == 1,
                    unscored: ended == 2,
                    error,
                })
                .collect(),
            failures: failed
                .map(|((timestamp, ((error, message), test_id)), cell)| Failure {
                    timestamp,
                    error,
                    message,
                    test_id,
                    cell,
                })
                .collect(),
            last_row: packed.last_row,
        }
    }
}

/// A process's part.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PackedProcess {
    rows: u64,
    last_row: Option<i64>,
    last_model: Option<Arc<str>>,
    times: Steps,
}

impl From<Process> for PackedProcess {
    fn from(mut process: Process) -> Self {
        process.times.sort_unstable();
        let Process {
            rows,
            last_row,
            last_model,
            times,
        } = process;
        Self {
            rows,
            last_row,
            last_model,
            times: times.into_iter().collect(),
        }
    }
}

impl From<PackedProcess> for Process {
    fn from(packed: PackedProcess) -> Self {
        let PackedProcess {
            rows,
            last_row,
            last_model,
            times,
        } = packed;
        Self {
            rows,
            last_row,
            last_model,
            times: times.numbers().collect(),
        }
    }
}
