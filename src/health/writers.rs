//! Writers that died, failed, fell silent or do nothing.

use super::{Finding, Remedy, Rule, Severity, plural};
use crate::config::{Thresholds, show_duration};
use crate::observation::{Observation, WriterState, WriterView};

/// More alerts than this about single writers become one about all of them.
const SINGLY: usize = 3;

/// Those in one state, the one that was heard of last first.
fn those(seen: &Observation, state: WriterState) -> Vec<&WriterView> {
    let mut found: Vec<&WriterView> = seen
        .writers
        .iter()
        .filter(|writer| writer.state == state)
        .collect();
    found.sort_by_key(|writer| std::cmp::Reverse(writer.since.max(writer.last_row)));
    found
}

/// One finding about each, or one about all.
fn about(
    writers: &[&WriterView],
    remedy: Remedy,
    one: impl Fn(&WriterView) -> String,
    all: impl Fn(u64) -> String,
) -> Vec<Finding> {
    let finding = |message: String, writer: &WriterView| {
        Finding::new(Severity::Warning, message, remedy).about(&writer.writer)
    };
    match writers {
        [first, ..] if writers.len() > SINGLY => {
            let message = format!("{}; {}", all(writers.len() as u64), one(first));
            vec![finding(message, first)]
        }
        few => few
            .iter()
            .map(|writer| finding(one(writer), writer))
            .collect(),
    }
}

/// Writers that were killed, or died with tests in flight.
pub(super) struct LostWriters;

impl Rule for LostWriters {
    fn name(&self) -> &'static str {
        "lost_writers"
    }

    fn explanation(&self) -> &'static str {
        "The program was killed, crashed, or ended with tests in flight. What it had recorded is counted and \
         safe; the tests that it was running have no result, so start the runner again. The alert goes when they \
         have results, when it is acknowledged, or after a week."
    }

    fn findings(&self, seen: &Observation, _: &Thresholds) -> Vec<Finding> {
        let one = |writer: &WriterView| {
            let tests = writer.oldest().map_or_else(String::new, |test| {
                let more = match writer.running.saturating_sub(1) {
                    0 => String::new(),
                    more => format!(" +{more}"),
                };
                format!(": {} {}{more} in flight", test.model, test.name)
            });
            let name = if tests.is_empty() {
                named(writer)
            } else {
                writer.label()
            };
            format!("{name} lost{}{tests}", because(writer))
        };
        let mut lost = those(seen, WriterState::Lost);
        lost.retain(|writer| writer.is_missed());
        about(&lost, Remedy::Writer, one, |n| {
            format!("{} lost", plural(n, "writer", "writers"))
        })
    }
}

/// Writers that ended with an error.
pub(super) struct FailedWriters;

impl Rule for FailedWriters {
    fn name(&self) -> &'static str {
        "failed_writers"
    }

    fn explanation(&self) -> &'static str {
        "The program ended with an error that it named, or with a non-zero exit status. What it had recorded is \
         counted and safe."
    }

    fn findings(&self, seen: &Observation, _: &Thresholds) -> Vec<Finding> {
        let failed = those(seen, WriterState::Failed);
        let one = |writer: &WriterView| format!("{} failed{}", named(writer), because(writer));
        about(&failed, Remedy::Writer, one, |n| {
            format!("{} failed", plural(n, "writer", "writers"))
        })
    }
}

/// Writers that can't be seen from here and say nothing more.
pub(super) struct SilentWriters;

impl Rule for SilentWriters {
    fn name(&self) -> &'static str {
        "silent_writers"
    }

    fn explanation(&self) -> &'static str {
        "Its process can't be seen from here, on another machine or in another container, and its heartbeat has \
         not changed for two minutes: the program, its machine or the way to it is gone. Look there."
    }

    fn findings(&self, seen: &Observation, _: &Thresholds) -> Vec<Finding> {
        let silent = those(seen, WriterState::Silent);
        let one = |writer: &WriterView| {
            let since = writer.since.map_or(0.0, |since| age(seen, since));
            format!("{} silent for {}", named(writer), show_duration(since))
        };
        about(&silent, Remedy::Writer, one, |n| {
            format!("{} silent", plural(n, "writer", "writers"))
        })
    }
}

/// Writers whose process lives and records nothing.
pub(super) struct StalledWriters;

impl Rule for StalledWriters {
    fn name(&self) -> &'static str {
        "stalled_writer"
    }

    fn explanation(&self) -> &'static str {
        "Its process is alive but has recorded nothing for longer than is usual for it, and has no young test in \
         flight: a hanging request, a deadlock, or a very long test. Look at the runner's own log."
    }

    fn findings(&self, seen: &Observation, _: &Thresholds) -> Vec<Finding> {
        let mut stalled = those(seen, WriterState::Stalled);
        stalled.reverse();
        let one = |writer: &WriterView| {
            let silent = writer.last_row.map(|last| age(seen, last));
            let silent =
                silent.map_or_else(String::new, |age| format!(" for {}", show_duration(age)));
            format!("{} stalled{silent}, process alive", named(writer))
        };
        about(&stalled, Remedy::Writer, one, |n| {
            format!(
                "{} stalled, processes alive",
                plural(n, "writer", "writers")
            )
        })
    }
}

fn age(seen: &Observation, since: jiff::Timestamp) -> f64 {
    seen.at.duration_since(since).as_secs_f64()
}

/// " (killed by SIGKILL)"; nothing where nobody knows why.
fn because(writer: &WriterView) -> String {
    writer
        .reason
        .as_ref()
        .map_or_else(String::new, |reason| format!(" ({reason})"))
}

/// "node7:4121 (qwen2.5-72b)": the start time in the id helps nobody.
fn named(writer: &WriterView) -> String {
    match &writer.model {
        Some(model) => format!("{} ({model})", writer.label()),
        None => writer.label(),
    }
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};

    use super::*;
    use crate::observation::InFlightView;

    fn seen(states: &[(WriterState, i64)]) -> Observation {
        let at: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        let writers = states
            .iter()
            .enumerate()
            .map(|(index, (state, silent))| {
                let then = at - SignedDuration::from_secs(*silent);
                WriterView {
                    writer: format!("4821{index}_20260131_110000_node7_0a_0"),
                    process_id: format!("4821{index}_20260131_110000"),
                    host: Some("node7".to_owned()),
                    pid: Some(48_210 + index as u32),
                    state: *state,
                    since: Some(then),
                    rows: 41,
                    last_row: Some(then),
                    model: Some("m".to_owned()),
                    ..WriterView::default()
                }
            })
            .collect();
        Observation {
            at,
            writers,
            ..Observation::default()
        }
    }

    fn messages(rule: &dyn Rule, seen: &Observation) -> Vec<String> {
        rule.findings(seen, &Thresholds::default())
            .into_iter()
            .map(|finding| finding.message)
            .collect()
    }

    #[test]
    fn each_state_has_its_alert_and_the_well_ones_none() {
        use WriterState as S;
        let states = [
            S::Live,
            S::Idle,
            S::Ended,
            S::Finished,
            S::Unknown,
            S::Lost,
            S::Failed,
            S::Silent,
            S::Stalled,
        ];
        let mut all = seen(&states.map(|state| (state, 400)));
        all.writers[6].reason = Some("exit status 3".to_owned());
        assert_eq!(messages(&LostWriters, &all), ["node7:48215 (m) lost"]);
        assert_eq!(
            messages(&FailedWriters, &all),
            ["node7:48216 (m) failed (exit status 3)"]
        );
        assert_eq!(
            messages(&SilentWriters, &all),
            ["node7:48217 (m) silent for 6m"]
        );
        assert_eq!(
            messages(&StalledWriters, &all),
            ["node7:48218 (m) stalled for 6m, process alive"]
        );
    }

    #[test]
    fn a_lost_writer_is_named_with_its_tests() {
        let mut one = seen(&[(WriterState::Lost, 60)]);
        one.writers[0].reason = Some("killed by SIGKILL".to_owned());
        one.writers[0].running = 3;
        one.writers[0].tests = vec![InFlightView {
            model: "m".to_owned(),
            name: "gpqa/31".to_owned(),
            since: one.at,
            ..InFlightView::default()
        }];
        assert_eq!(
            messages(&LostWriters, &one),
            ["node7:48210 lost (killed by SIGKILL): m gpqa/31 +2 in flight"]
        );
        one.writers[0].running = 1;
        assert!(messages(&LostWriters, &one)[0].ends_with(": m gpqa/31 in flight"));
        one.writers[0].settled = true;
        assert!(messages(&LostWriters, &one).is_empty());
    }

    #[test]
    fn many_are_one_alert() {
        let some = seen(&[
            (WriterState::Stalled, 100),
            (WriterState::Stalled, 400),
            (WriterState::Stalled, 200),
        ]);
        assert_eq!(messages(&StalledWriters, &some).len(), 3);
        assert!(
            messages(&StalledWriters, &some)[0].contains("48211"),
            "the longest silence first"
        );
        let many = seen(&[(WriterState::Lost, 100); 5]);
        let found = messages(&LostWriters, &many);
        assert_eq!(found.len(), 1);
        assert!(
            found[0].starts_with("5 writers lost; node7:4821"),
            "{found:?}"
        );
    }
}
