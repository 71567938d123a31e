//! What a writer says of itself, in `live/<writer>.json`: which program it writes for, what
//! that works on, and how it ended. The file is rewritten in place again and again, and
//! nothing is promised by it: rows count without it, and a torn one is read at the next scan.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

use crate::store::disk::process::Identity;

/// The format that this version writes.
pub const FORMAT: u32 = 1;
/// So many tests in flight are named, the oldest first.
pub const NAMED: usize = 64;
/// So many models are named that are retried.
const MODELS: usize = 256;
/// Minutes of retries that are reported.
const MINUTES: usize = 15;

/// How a writer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Ended {
    /// It said that it is through.
    Finished,
    /// Nothing was said, and nothing shows a violent death.
    Ended,
    /// By an error that it named, or with an exit status that somebody saw.
    Failed,
    /// Its program was killed, or died with tests in flight.
    Lost,
}

/// A test that is being run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InFlight {
    /// The model under test.
    #[serde(default)]
    pub model: String,
    /// The test's id, where its row will have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_id: Option<String>,
    /// Its task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_id: Option<String>,
    /// Which try at the task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<i64>,
    /// Since when, microseconds since the epoch.
    #[serde(default)]
    pub since: i64,
    /// How often it was tried again.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub retries: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // as serde wants it
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl InFlight {
    /// Whether a row of this test, with these names, is its result.
    pub fn is_of(&self, model: &str, names: [Option<&str>; 2], trial: Option<i64>) -> bool {
        let [test_id, task_id] = names;
        let same = |own: &Option<String>, other: Option<&str>| match (own, other) {
            (Some(own), Some(other)) => Some(own == other),
            _ => None,
        };
        let by_id = same(&self.test_id, test_id);
        let by_task = same(&self.task_id, task_id).map(|same| same && self.trial == trial);
        self.model == model && by_id.or(by_task).unwrap_or(false)
    }

    /// What people call it: its task, else its id.
    pub fn name(&self) -> &str {
        let name = self.task_id.as_deref().or(self.test_id.as_deref());
        name.unwrap_or_default()
    }
}

/// What one model was retried in one minute.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Retries {
    /// The model.
    pub model: String,
    /// The start of the minute, in seconds since the epoch.
    pub minute: i64,
    /// Retries.
    pub count: u64,
    /// Seconds of waiting.
    pub waited: f64,
    /// Seconds that its tests were in flight.
    #[serde(default)]
    pub in_flight: f64,
    /// The last status that caused one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<i64>,
}

/// That a pull brought a heartbeat, and when the writer said it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Brought {
    /// Microseconds since the epoch.
    pub at: i64,
    /// How often it is pulled, in seconds, where that goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<u64>,
}

/// What a writer says of itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// [`FORMAT`].
    pub format: u32,
    /// The part of file names that is the writer's own.
    pub writer: String,
    /// The machine.
    pub host: String,
    /// The process that writes the rows.
    pub recorder: Identity,
    /// The user's program, where that is another process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<Identity>,
    /// When it began, microseconds since the epoch.
    pub began: i64,
    /// Grows by one with each beat.
    pub beat: u64,
    /// Rows so far.
    pub rows: u64,
    /// Its newest row, microseconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_row: Option<i64>,
    /// Tests that it recorded again, each in a session of its own.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub several_sessions: u64,
    /// It says that it has nothing to do.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub idle: bool,
    /// How many tests are in flight.
    #[serde(default)]
    pub running: u64,
    /// The oldest of them.
    #[serde(default)]
    pub in_flight: Vec<InFlight>,
    /// What was retried lately, oldest first.
    #[serde(default, skip_serializing_if = "VecDeque::is_empty")]
    pub retries: VecDeque<Retries>,
    /// How many tests its session means to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<u64>,
    /// Of these, how many were there when it began.
    #[serde(default)]
    pub there: u64,
    /// Its session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// How it ended; `None` while it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Ended>,
    /// When, microseconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<i64>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// It was stopped on purpose: Ctrl-C, SIGTERM.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub interrupted: bool,
    /// Of a writer of another store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub brought: Option<Brought>,
}

impl Heartbeat {
    /// The user's program: the other process, or the one that writes the rows.
    pub fn program(&self) -> &Identity {
        self.program.as_ref().unwrap_or(&self.recorder)
    }

    /// Notes a retry of a model.
    pub fn retried(&mut self, model: &str, second: i64, waited: f64, status: Option<i64>) {
        let minute = second - second.rem_euclid(60);
        self.retries
            .retain(|known| known.minute > minute - 60 * MINUTES as i64);
        let same = |known: &Retries| known.minute == minute && known.model == model;
        if !self.retries.iter().any(same) {
            if self.retries.len() >= MODELS {
                self.retries.pop_front();
            }
            self.retries.push_back(Retries {
                model: model.to_owned(),
                minute,
                ..Retries::default()
            });
        }
        let Some(known) = self.retries.iter_mut().rev().find(|known| same(known)) else {
            return;
        };
        known.count += 1;
        known.waited += waited.max(0.0);
        known.status = status.or(known.status);
    }

    /// Reads one; `None` for what is torn, or of another format.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let found: Self = serde_json::from_slice(bytes).ok()?;
        (found.format == FORMAT).then_some(found)
    }

    /// As it is written.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_the_result_of_the_test_that_it_names() {
        let by_id = InFlight {
            model: "m".into(),
            test_id: Some("t".into()),
            ..InFlight::default()
        };
        assert!(by_id.is_of("m", [Some("t"), None], None));
        assert!(!by_id.is_of("m", [Some("u"), None], None));
        assert!(!by_id.is_of("n", [Some("t"), None], None));
        let by_task = InFlight {
            model: "m".into(),
            task_id: Some("x".into()),
            trial: Some(1),
            ..InFlight::default()
        };
        assert!(by_task.is_of("m", [Some("any"), Some("x")], Some(1)));
        assert!(!by_task.is_of("m", [Some("any"), Some("x")], None));
        assert!(!by_task.is_of("m", [Some("any"), None], Some(1)));
    }

    #[test]
    fn survives_json_and_nothing_torn_is_read() {
        let mut beat = Heartbeat {
            format: FORMAT,
            writer: "w".into(),
            ended: Some(Ended::Lost),
            ..Heartbeat::default()
        };
        beat.retried("m", 61, 2.5, Some(429));
        beat.retried("m", 119, 1.0, None);
        beat.retried("m", 121, 1.0, None);
        assert_eq!(beat.retries.len(), 2);
        assert_eq!((beat.retries[0].count, beat.retries[0].waited), (2, 3.5));
        let bytes = beat.to_bytes();
        assert_eq!(Heartbeat::read(&bytes), Some(beat));
        assert_eq!(Heartbeat::read(&bytes[..bytes.len() / 2]), None);
        beat_of_another_format();
    }

    fn beat_of_another_format() {
        let other = Heartbeat {
            format: FORMAT + 1,
            ..Heartbeat::default()
        };
        assert_eq!(Heartbeat::read(&other.to_bytes()), None);
    }
}
