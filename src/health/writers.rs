//! Writers that died or fell silent.

use super::{Finding, Remedy, Rule, Severity, plural};
use crate::config::{Thresholds, show_duration};
use crate::observation::{Observation, WriterState, WriterView};

/// More alerts than this about single writers become one about all of them.
const SINGLY: usize = 3;

/// Journals that nobody will close any more.
pub(super) struct DeadWriters;

impl Rule for DeadWriters {
    fn name(&self) -> &'static str {
        "dead_writers"
    }

    fn explanation(&self) -> &'static str {
        "The process ended without closing its journal: it was killed, or crashed. What it had acknowledged \
         is counted and safe; consolidate moves it into main. The tests that it was running are lost, \
         so start the runner again."
    }

    fn findings(&self, seen: &Observation, _: &Thresholds) -> Vec<Finding> {
        if seen.waiting.dead_journals == 0 {
            return Vec::new();
        }
        let gone: Vec<&WriterView> = seen
            .writers
            .iter()
            .filter(|writer| writer.state == WriterState::Gone)
            .collect();
        let finding = if let [writer] = gone.as_slice() {
            let rows = plural(writer.rows, "row is", "rows are");
            let message = format!("{} died: its {rows} safe, consolidate", named(writer));
            Finding::new(Severity::Warning, message, Remedy::Consolidate).about(&writer.process_id)
        } else {
            let journals = plural(seen.waiting.dead_journals, "journal", "journals");
            let message = format!("{journals} of dead writers, rows are safe: consolidate");
            Finding::new(Severity::Warning, message, Remedy::Consolidate)
        };
        vec![finding]
    }
}

/// Writers whose process lives and records nothing.
pub(super) struct StalledWriters;

impl Rule for StalledWriters {
    fn name(&self) -> &'static str {
        "stalled_writer"
    }

    fn explanation(&self) -> &'static str {
        "Its process is alive but has recorded nothing for longer than is usual for it: a hanging request, \
         a rate limit, or a very long test. Look at the runner's own log; evaltop can't tell which."
    }

    fn findings(&self, seen: &Observation, _: &Thresholds) -> Vec<Finding> {
        let silence = |writer: &WriterView| {
            writer
                .last_row
                .map_or(0.0, |last| seen.at.duration_since(last).as_secs_f64())
        };
        let mut quiet: Vec<&WriterView> = seen
            .writers
            .iter()
            .filter(|writer| writer.state == WriterState::Quiet)
            .collect();
        quiet.sort_by(|a, b| silence(b).total_cmp(&silence(a)));
        let single = |writer: &&WriterView| {
            let message = format!(
                "{} quiet {}, process alive",
                named(writer),
                show_duration(silence(writer))
            );
            Finding::new(Severity::Warning, message, Remedy::Writer).about(&writer.process_id)
        };
        match quiet.as_slice() {
            [longest, ..] if quiet.len() > SINGLY => {
                let message = format!(
                    "{} quiet, processes alive; {} for {}",
                    plural(quiet.len() as u64, "writer", "writers"),
                    named(longest),
                    show_duration(silence(longest))
                );
                vec![
                    Finding::new(Severity::Warning, message, Remedy::Writer)
                        .about(&longest.process_id),
                ]
            }
            few => few.iter().map(single).collect(),
        }
    }
}

/// "writer 48213 (qwen2.5-72b)": the start time in the id helps nobody.
fn named(writer: &WriterView) -> String {
    let pid = writer
        .process_id
        .split('_')
        .next()
        .unwrap_or(&writer.process_id);
    match &writer.model {
        Some(model) => format!("writer {pid} ({model})"),
        None => format!("writer {pid}"),
    }
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};

    use super::*;

    fn seen(states: &[(WriterState, i64)]) -> Observation {
        let at: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        let writers = states
            .iter()
            .enumerate()
            .map(|(index, (state, silent))| WriterView {
                process_id: format!("4821{index}_20260131_110000"),
                state: *state,
                rows: 41,
                journal_bytes: 26_300,
                last_row: Some(at - SignedDuration::from_secs(*silent)),
                model: Some("qwen2.5-72b".to_owned()),
                limit_seconds: 60.0,
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
    fn only_quiet_writers_are_stalled() {
        let all = seen(&[
            (WriterState::Live, 400),
            (WriterState::Quiet, 400),
            (WriterState::Done, 400),
            (WriterState::Gone, 400),
            (WriterState::Unknown, 400),
        ]);
        assert_eq!(
            messages(&StalledWriters, &all),
            ["writer 48211 (qwen2.5-72b) quiet 6m, process alive"]
        );
    }

    #[test]
    fn many_stalled_writers_are_one_alert() {
        let some = seen(&[
            (WriterState::Quiet, 100),
            (WriterState::Quiet, 400),
            (WriterState::Quiet, 200),
        ]);
        assert_eq!(messages(&StalledWriters, &some).len(), 3);
        assert!(
            messages(&StalledWriters, &some)[0].contains("48211"),
            "the longest silence first"
        );
        let many = seen(&[(WriterState::Quiet, 100); 5]);
        assert_eq!(
            messages(&StalledWriters, &many),
            ["5 writers quiet, processes alive; writer 48210 (qwen2.5-72b) for 1m"]
        );
    }

    #[test]
    fn a_dead_writer_matters_while_its_journal_waits() {
        let mut one = seen(&[(WriterState::Gone, 400), (WriterState::Live, 0)]);
        assert!(messages(&DeadWriters, &one).is_empty());
        one.waiting.dead_journals = 1;
        assert_eq!(
            messages(&DeadWriters, &one),
            ["writer 48210 (qwen2.5-72b) died: its 41 rows are safe, consolidate"]
        );
        one.waiting.dead_journals = 2;
        one.writers.clear();
        assert_eq!(
            messages(&DeadWriters, &one),
            ["2 journals of dead writers, rows are safe: consolidate"]
        );
    }
}
