//! The store as a whole: there or not, readable or not, of which kind, how watched.

use super::{Finding, Remedy, Rule, Severity, plural};
use crate::config::Thresholds;
use crate::observation::{MainKind, Observation, StoreState, WatchMode};

/// Main, or the folder, can't be read.
pub(super) struct Unreadable;

impl Rule for Unreadable {
    fn name(&self) -> &'static str {
        "store_unreadable"
    }

    fn explanation(&self) -> &'static str {
        "The figures on the screen are those of the last scan that worked, if there was one. Nothing was \
         changed. Validate tells more; restore brings a backup of main back."
    }

    fn findings(&self, seen: &Observation, _: &Thresholds) -> Vec<Finding> {
        match &seen.state {
            StoreState::Unreadable(sentence) => {
                vec![Finding::new(
                    Severity::Critical,
                    sentence.clone(),
                    Remedy::Validate,
                )]
            }
            StoreState::Ready | StoreState::Missing => Vec::new(),
        }
    }
}

/// Nothing there, or nothing there any more.
pub(super) struct Missing;

impl Rule for Missing {
    fn name(&self) -> &'static str {
        "store_missing"
    }

    fn explanation(&self) -> &'static str {
        "The dashboard waits for a store to appear here. Writers make it: evaltop record, or evaltop import. \
         If it should be somewhere else, start evaltop with that folder."
    }

    fn findings(&self, seen: &Observation, _: &Thresholds) -> Vec<Finding> {
        if seen.state != StoreState::Missing {
            return Vec::new();
        }
        // Figures of an earlier scan mean that there was a store here.
        let finding = if seen.totals.tests > 0 {
            let message = "the store has vanished: its folder was moved or deleted".to_owned();
            Finding::new(Severity::Critical, message, Remedy::None)
        } else {
            Finding::new(
                Severity::Warning,
                "no store here yet: waiting for the first result".to_owned(),
                Remedy::None,
            )
        };
        vec![finding]
    }
}

/// Main lost rows, or is gone.
pub(super) struct Shrunk;

impl Rule for Shrunk {
    fn name(&self) -> &'static str {
        "main_shrunk"
    }

    fn explanation(&self) -> &'static str {
        "Another program rewrote main or removed it, and the figures are those of what is left. Nothing is \
         merged until somebody decides: evaltop restore brings a backup back, without losing what arrived since; \
         evaltop consolidate --accept-main goes on with what is there."
    }

    fn findings(&self, seen: &Observation, _: &Thresholds) -> Vec<Finding> {
        if seen.main.of_other {
            let message = "main was copied here from another store".to_owned();
            return vec![Finding::new(Severity::Critical, message, Remedy::Validate)];
        }
        let Some(expected) = seen.main.expected_rows else {
            let lacking = seen.main.lacking_tests;
            let tests = plural(lacking, "test", "tests");
            let message = format!("main lacks {tests} that the last commit had");
            let finding = || Finding::new(Severity::Critical, message, Remedy::Validate);
            return Vec::from_iter((lacking > 0).then(finding));
        };
        let left = plural(expected, "row", "rows");
        let message = if seen.main.modified.is_some() {
            let has = plural(seen.main.rows, "row", "rows");
            format!("main has {has}, but the last commit left {left}")
        } else {
            format!("main is gone: the last commit left {left} in it")
        };
        vec![Finding::new(Severity::Critical, message, Remedy::Validate)]
    }
}

/// Which rows were removed on purpose is not known.
pub(super) struct RemovedUnread;

impl Rule for RemovedUnread {
    fn name(&self) -> &'static str {
        "removed_set_unread"
    }

    fn explanation(&self) -> &'static str {
        "Rows that were removed with evaltop remove count again where a file brings them back, and nothing is \
         merged until the file is there. Copies of a store need it too."
    }

    fn findings(&self, seen: &Observation, _: &Thresholds) -> Vec<Finding> {
        let found = seen.removed_unread.iter();
        found
            .map(|why| {
                let message = "the list of removed rows is missing or damaged".to_owned();
                Finding::new(Severity::Critical, message, Remedy::Validate)
                    .detail(format!("{why}."))
            })
            .collect()
    }
}

/// A legacy main of summary rows, which records can't join.
pub(super) struct LegacySummaries;

impl Rule for LegacySummaries {
    fn name(&self) -> &'static str {
        "legacy_summaries"
    }

    fn explanation(&self) -> &'static str {
        "Main is an older store's table with one row for many tests. It is counted as it is; records stay in \
         increments, where they are safe and counted too, because rows of both kinds in one file mislead \
         every reader."
    }

    fn findings(&self, seen: &Observation, _: &Thresholds) -> Vec<Finding> {
        let waiting = seen.waiting.increment_rows + seen.waiting.journal_rows;
        if seen.main.kind != MainKind::Summaries || waiting == 0 {
            return Vec::new();
        }
        let records = plural(waiting, "record is pending", "records are pending");
        let message = format!("main holds summary rows: {records} next to it");
        vec![Finding::new(Severity::Warning, message, Remedy::None)]
    }
}

/// What reading the data brought up.
pub(super) struct DataNotes;

impl Rule for DataNotes {
    fn name(&self) -> &'static str {
        "data_note"
    }

    fn explanation(&self) -> &'static str {
        "The rows are counted as well as they can be; the note says what was assumed."
    }

    fn findings(&self, seen: &Observation, _: &Thresholds) -> Vec<Finding> {
        let note = |note: &String| Finding::new(Severity::Warning, note.clone(), Remedy::None);
        seen.notes.iter().map(note).collect()
    }
}

/// No events from the operating system.
pub(super) struct Polling;

impl Rule for Polling {
    fn name(&self) -> &'static str {
        "watch_polling"
    }

    fn explanation(&self) -> &'static str {
        "Changes are noticed a few seconds later than with native events; the figures are right all the same."
    }

    fn findings(&self, seen: &Observation, _: &Thresholds) -> Vec<Finding> {
        match &seen.watch {
            WatchMode::Polling(reason) => {
                vec![Finding::new(
                    Severity::Warning,
                    format!("polling for changes: {reason}"),
                    Remedy::None,
                )]
            }
            WatchMode::Off | WatchMode::Native(_) => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn found(rule: &dyn Rule, seen: &Observation) -> Vec<(Severity, String)> {
        let findings = rule.findings(seen, &Thresholds::default());
        findings
            .into_iter()
            .map(|finding| (finding.severity, finding.message))
            .collect()
    }

    #[test]
    fn an_unreadable_store_is_critical() {
        let state = StoreState::Unreadable("main can't be read as Parquet".into());
        let seen = Observation {
            state,
            ..Observation::default()
        };
        assert_eq!(
            found(&Unreadable, &seen),
            [(
                Severity::Critical,
                "main can't be read as Parquet".to_owned()
            )]
        );
        assert!(found(&Missing, &seen).is_empty());
    }

    #[test]
    fn a_store_that_was_there_is_worse_than_none() {
        let mut seen = Observation {
            state: StoreState::Missing,
            ..Observation::default()
        };
        assert_eq!(found(&Missing, &seen)[0].0, Severity::Warning);
        seen.totals.tests = 1;
        assert_eq!(found(&Missing, &seen)[0].0, Severity::Critical);
    }

    #[test]
    fn a_main_that_lost_rows_is_critical() {
        let mut seen = Observation::default();
        assert!(found(&Shrunk, &seen).is_empty());
        seen.main.expected_rows = Some(86_263);
        let gone = "main is gone: the last commit left 86,263 rows in it";
        assert_eq!(
            found(&Shrunk, &seen),
            [(Severity::Critical, gone.to_owned())]
        );
        (seen.main.rows, seen.main.modified) = (1_000, Some(Timestamp::UNIX_EPOCH));
        let shrunk = "main has 1,000 rows, but the last commit left 86,263 rows";
        assert_eq!(
            found(&Shrunk, &seen),
            [(Severity::Critical, shrunk.to_owned())]
        );
        seen.main.of_other = true;
        let other = "main was copied here from another store";
        assert_eq!(
            found(&Shrunk, &seen),
            [(Severity::Critical, other.to_owned())]
        );
        seen.main.of_other = false;
        (seen.main.expected_rows, seen.main.lacking_tests) = (None, 3);
        let lacks = "main lacks 3 tests that the last commit had";
        assert_eq!(
            found(&Shrunk, &seen),
            [(Severity::Critical, lacks.to_owned())]
        );
    }

    #[test]
    fn summaries_matter_once_records_wait() {
        let mut seen = Observation::default();
        seen.main.kind = MainKind::Summaries;
        assert!(found(&LegacySummaries, &seen).is_empty());
        seen.waiting.journal_rows = 1;
        assert_eq!(
            found(&LegacySummaries, &seen)[0].1,
            "main holds summary rows: 1 record is pending next to it"
        );
        seen.main.kind = MainKind::Records;
        assert!(found(&LegacySummaries, &seen).is_empty());
    }

    #[test]
    fn polling_says_why() {
        let mut seen = Observation {
            watch: WatchMode::Native("inotify"),
            ..Observation::default()
        };
        assert!(found(&Polling, &seen).is_empty());
        seen.watch = WatchMode::Polling("NFS".to_owned());
        assert_eq!(found(&Polling, &seen)[0].1, "polling for changes: NFS");
    }

    #[test]
    fn every_note_is_an_alert() {
        let notes = vec!["a".to_owned(), "b".to_owned()];
        let seen = Observation {
            notes,
            ..Observation::default()
        };
        assert_eq!(found(&DataNotes, &seen).len(), 2);
    }
}
