//! Rows that are alike in every column, or count once more than they should.

use super::{Finding, Remedy, Rule, Severity, plural};
use crate::config::Thresholds;
use crate::observation::Observation;

/// Rows with neither an id nor a time.
pub(super) struct WithoutIdentity;

impl Rule for WithoutIdentity {
    fn name(&self) -> &'static str {
        "rows_without_identity"
    }

    fn explanation(&self) -> &'static str {
        "Such rows differ from their equals only by their place in the file. A copy of the file counts once more, and a \
         file that is started over may bring nothing new. Give each row a test_id, or a timestamp, where it is written."
    }

    fn findings(&self, seen: &Observation, _: &Thresholds) -> Vec<Finding> {
        let (rows, file) = &seen.identity.bare;
        if *rows == 0 {
            return Vec::new();
        }
        let bring = plural(*rows, "row brings", "rows bring");
        let message = format!("{bring} neither an id nor a time: add a test_id");
        let mut finding = Finding::new(Severity::Warning, message, Remedy::None);
        if let Some(file) = file {
            finding = finding.about(file).detail(format!("{file} has such rows."));
        }
        vec![finding]
    }
}

/// Two files with the same rows.
pub(super) struct IdenticalRows;

impl Rule for IdenticalRows {
    fn name(&self) -> &'static str {
        "identical_rows"
    }

    fn explanation(&self) -> &'static str {
        "Rows that bring no id and say the same at the same microsecond are one row, so they count once. If one file is \
         a copy, remove it from incremental/. If they are different tests, give each a test_id."
    }

    fn findings(&self, seen: &Observation, _: &Thresholds) -> Vec<Finding> {
        let pairs = &seen.identity.identical;
        let Some((one, other, rows)) = pairs.first() else {
            return Vec::new();
        };
        let all: u64 = pairs.iter().map(|(.., rows)| rows).sum();
        let message = match pairs.len() {
            1 => format!(
                "{} in two files: count once",
                plural(all, "row lies", "rows lie")
            ),
            _ => format!(
                "{} in several files: count once",
                plural(all, "row lies", "rows lie")
            ),
        };
        let detail = format!("{one} and {other} share {}.", plural(*rows, "row", "rows"));
        vec![
            Finding::new(Severity::Warning, message, Remedy::None)
                .about(other)
                .detail(detail),
        ]
    }
}

/// Rows that other code changed after a commit took them in.
pub(super) struct RewrittenRows;

impl Rule for RewrittenRows {
    fn name(&self) -> &'static str {
        "rewritten_rows"
    }

    fn explanation(&self) -> &'static str {
        "Rows without ids are known by what they say. Another program wrote this file again with other values, so the rows \
         that main has of it count too. Remove those of before with evaltop remove, or bring the file back as it was; \
         give the rows a test_id."
    }

    fn findings(&self, seen: &Observation, _: &Thresholds) -> Vec<Finding> {
        let found = seen.identity.rewritten.iter();
        found
            .map(|(file, column, rows)| {
                let rows = plural(*rows, "row", "rows");
                let message = format!(
                    "{rows} rewritten in column {column} count twice: remove those of before"
                );
                let detail = format!("{file} brings {rows} again with another {column}.");
                Finding::new(Severity::Warning, message, Remedy::None)
                    .about(file)
                    .detail(detail)
            })
            .collect()
    }
}

/// Fewer may be sessions that have the same tests, one after the other.
const FEW: u64 = 5;

/// Retries that carry a session of their own.
pub(super) struct SeveralSessions;

impl Rule for SeveralSessions {
    fn name(&self) -> &'static str {
        "tests_in_several_sessions"
    }

    fn explanation(&self) -> &'static str {
        "The session is part of what makes two rows attempts at one test, so an attempt in another session does not replace \
         the one before: both count. Keep one session_id for all that one run records, retries included."
    }

    fn findings(&self, seen: &Observation, _: &Thresholds) -> Vec<Finding> {
        let writers = seen.writers.iter();
        let writers = writers.filter(|writer| writer.several_sessions >= FEW);
        writers
            .map(|writer| {
                let tests = plural(writer.several_sessions, "retry carries", "retries carry");
                let message = format!("{tests} a new session: keep the session_id");
                let detail = format!("Writer {} recorded them.", writer.writer);
                Finding::new(Severity::Warning, message, Remedy::None)
                    .about(&writer.writer)
                    .detail(detail)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::IdentityView;

    #[test]
    fn each_says_what_to_do() {
        let said = |rule: &dyn Rule, identity: IdentityView| {
            let seen = Observation {
                identity,
                ..Observation::default()
            };
            let found = rule.findings(&seen, &Thresholds::default());
            found
                .into_iter()
                .map(|finding| finding.message)
                .collect::<Vec<_>>()
        };
        let file = || "increment_7_20260131_120000.parquet".to_owned();
        let none = IdentityView::default;
        for rule in [
            &WithoutIdentity as &dyn Rule,
            &IdenticalRows,
            &RewrittenRows,
            &SeveralSessions,
        ] {
            assert!(said(rule, none()).is_empty(), "{}", rule.name());
        }
        let bare = IdentityView {
            bare: (1_200, Some(file())),
            ..none()
        };
        assert_eq!(
            said(&WithoutIdentity, bare),
            ["1,200 rows bring neither an id nor a time: add a test_id"]
        );
        let identical = IdentityView {
            identical: vec![(file(), "increment_8_20260131_120000.parquet".to_owned(), 1)],
            ..none()
        };
        assert_eq!(
            said(&IdenticalRows, identical),
            ["1 row lies in two files: count once"]
        );
        let rewritten = IdentityView {
            rewritten: vec![(file(), "turns".to_owned(), 3)],
            ..none()
        };
        assert_eq!(
            said(&RewrittenRows, rewritten),
            ["3 rows rewritten in column turns count twice: remove those of before"]
        );
    }
}
