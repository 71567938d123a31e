//! Files in `incremental/` that can't be used, or whose dates can't be right.

use super::{Finding, Remedy, Rule, Severity, plural};
use crate::config::{Thresholds, show_duration};
use crate::observation::{FileState, Observation, WaitingFile};

/// Files that can't be read.
pub(super) struct UnreadableFiles;

impl Rule for UnreadableFiles {
    fn name(&self) -> &'static str {
        "unreadable_files"
    }

    fn explanation(&self) -> &'static str {
        "Their rows are not counted anywhere. Validate says what is wrong with each, and with --repair moves \
         them to quarantine/ with the reason; nothing is deleted."
    }

    fn findings(&self, seen: &Observation, _: &Thresholds) -> Vec<Finding> {
        with_reasons(
            seen,
            ["can't be read", "can't be read"],
            |state| match state {
                FileState::Unreadable(reason) => Some(reason),
                _ => None,
            },
        )
    }
}

/// Files that can't be united with the others.
pub(super) struct SchemaConflict;

impl Rule for SchemaConflict {
    fn name(&self) -> &'static str {
        "schema_conflict"
    }

    fn explanation(&self) -> &'static str {
        "No wider type holds both kinds of values, so the rows of these files are not counted and \
         consolidate leaves them where they are. Convert the column in the writer and in the file, \
         or move the file out of the store."
    }

    fn findings(&self, seen: &Observation, _: &Thresholds) -> Vec<Finding> {
        with_reasons(
            seen,
            ["doesn't fit the others", "don't fit the others"],
            |state| match state {
                FileState::Conflict(reason) => Some(reason),
                _ => None,
            },
        )
    }
}

/// One file by its name and reason; several in one finding, the reasons in its detail.
fn with_reasons(
    seen: &Observation,
    [one, many]: [&str; 2],
    reason: impl Fn(&FileState) -> Option<&String>,
) -> Vec<Finding> {
    let found: Vec<(&WaitingFile, &String)> = seen
        .waiting
        .files
        .iter()
        .filter_map(|file| Some((file, reason(&file.state)?)))
        .collect();
    match found.as_slice() {
        [] => Vec::new(),
        [(file, reason)] => {
            // The part that says what to do stands in the detail.
            let why = reason
                .rsplit_once(": ")
                .map_or(reason.as_str(), |(why, _)| why);
            let message = match why {
                named if named.starts_with(&file.name) => named.to_owned(),
                columns if columns.starts_with("it has no column") => {
                    format!("{}: {columns}", file.name)
                }
                _ => format!("{} {one}", file.name),
            };
            let detail = format!("{}: {reason}.", file.name);
            vec![
                Finding::new(Severity::Warning, message, Remedy::Validate)
                    .about(&file.name)
                    .detail(detail),
            ]
        }
        several => {
            let message = format!(
                "{} {many}: validate",
                plural(several.len() as u64, "file", "files")
            );
            let reasons: Vec<String> = several
                .iter()
                .take(3)
                .map(|(file, reason)| format!("{}: {reason}.", file.name))
                .collect();
            vec![
                Finding::new(Severity::Warning, message, Remedy::Validate)
                    .detail(reasons.join(" ")),
            ]
        }
    }
}

/// Files from the future.
pub(super) struct FutureFiles;

impl Rule for FutureFiles {
    fn name(&self) -> &'static str {
        "files_in_the_future"
    }

    fn explanation(&self) -> &'static str {
        "A clock is wrong, on this machine or on a writer's. Between attempts at one test the newest counts, \
         so a clock that runs ahead lets an older attempt win. Set the clocks."
    }

    fn findings(&self, seen: &Observation, limits: &Thresholds) -> Vec<Finding> {
        let ahead = |time: jiff::Timestamp| time.duration_since(seen.at).as_secs_f64();
        let times = seen
            .waiting
            .files
            .iter()
            .map(|file| file.modified)
            .chain(seen.main.modified);
        let late: Vec<f64> = times
            .map(ahead)
            .filter(|ahead| *ahead > limits.future_seconds as f64)
            .collect();
        let Some(most) = late.iter().copied().max_by(f64::total_cmp) else {
            return Vec::new();
        };
        let message = format!(
            "{} up to {} in the future: set the clocks",
            plural(late.len() as u64, "file is", "files are"),
            show_duration(most)
        );
        vec![Finding::new(Severity::Warning, message, Remedy::None)]
    }
}

/// Files that look like results and that nobody reads.
pub(super) struct Misnamed;

impl Rule for Misnamed {
    fn name(&self) -> &'static str {
        "misnamed_files"
    }

    fn explanation(&self) -> &'static str {
        "Only increment_*.parquet in incremental/ counts. A Parquet file with one row a test can be renamed to that; \
         any other one comes in with evaltop import. What is not a result belongs elsewhere."
    }

    fn findings(&self, seen: &Observation, _: &Thresholds) -> Vec<Finding> {
        let files = &seen.misnamed;
        let Some(first) = files.first() else {
            return Vec::new();
        };
        let message = match files.len() as u64 {
            1 => format!("{first} does not count: rename it to increment_*.parquet or import it"),
            many => format!(
                "{} under other names than increment_*.parquet: rename or import them",
                plural(many, "file", "files with rows are")
            ),
        };
        let named: Vec<&str> = files.iter().take(5).map(String::as_str).collect();
        let more = if files.len() > named.len() {
            ", …"
        } else {
            ""
        };
        let detail = format!("Not read: {}{more}.", named.join(", "));
        vec![Finding::new(Severity::Warning, message, Remedy::None).detail(detail)]
    }
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};

    use super::*;

    fn seen(files: Vec<(&str, FileState, i64)>) -> Observation {
        let at: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        let mut seen = Observation {
            at,
            ..Observation::default()
        };
        let files = files
            .into_iter()
            .map(|(name, state, ahead)| WaitingFile {
                name: name.to_owned(),
                bytes: 4,
                rows: 0,
                modified: at + SignedDuration::from_secs(ahead),
                state,
                journal: false,
                dead: false,
                oldest: None,
                naive: crate::store::read::snapshot::Naive::default(),
            })
            .collect();
        seen.waiting.files = std::sync::Arc::new(files);
        seen
    }

    fn messages(rule: &dyn Rule, seen: &Observation) -> Vec<String> {
        rule.findings(seen, &Thresholds::default())
            .into_iter()
            .map(|finding| finding.message)
            .collect()
    }

    #[test]
    fn files_that_are_being_written_are_no_alarm() {
        let seen = seen(vec![
            ("a", FileState::Ready, 0),
            ("b", FileState::InProgress, 0),
        ]);
        assert!(messages(&UnreadableFiles, &seen).is_empty());
        assert!(messages(&SchemaConflict, &seen).is_empty());
    }

    #[test]
    fn one_unreadable_file_is_named_several_are_counted() {
        let torn = || FileState::Unreadable("the footer is missing".into());
        let one = seen(vec![
            ("increment_1.parquet", torn(), 0),
            ("b", FileState::Conflict("x".into()), 0),
        ]);
        assert_eq!(
            messages(&UnreadableFiles, &one),
            ["increment_1.parquet can't be read"]
        );
        let found = UnreadableFiles.findings(&one, &Thresholds::default());
        assert_eq!(
            found[0].detail,
            "increment_1.parquet: the footer is missing."
        );
        let two = seen(vec![("a", torn(), 0), ("b", torn(), 0)]);
        assert_eq!(
            messages(&UnreadableFiles, &two),
            ["2 files can't be read: validate"]
        );
        assert_eq!(
            messages(&SchemaConflict, &one),
            ["b doesn't fit the others"]
        );
        let conflict = FileState::Conflict(
            "b: column 'turns' is text, but int64 in a: convert the column in one of them".into(),
        );
        assert_eq!(
            messages(&SchemaConflict, &seen(vec![("b", conflict, 0)])),
            ["b: column 'turns' is text, but int64 in a"]
        );
        let nobody = FileState::Unreadable("it has no column 'model': add it".into());
        assert_eq!(
            messages(&UnreadableFiles, &seen(vec![("b", nobody, 0)])),
            ["b: it has no column 'model'"]
        );
    }

    #[test]
    fn files_under_another_name_are_named_or_counted() {
        let mut seen = seen(Vec::new());
        assert!(messages(&Misnamed, &seen).is_empty());
        seen.misnamed = vec!["late.csv".to_owned()];
        assert_eq!(
            messages(&Misnamed, &seen),
            ["late.csv does not count: rename it to increment_*.parquet or import it"]
        );
        seen.misnamed.push("incremental/a.parquet".to_owned());
        assert_eq!(
            messages(&Misnamed, &seen),
            [
                "2 files with rows are under other names than increment_*.parquet: rename or import them"
            ]
        );
        let found = Misnamed.findings(&seen, &Thresholds::default());
        assert_eq!(
            found[0].detail,
            "Not read: late.csv, incremental/a.parquet."
        );
    }

    #[test]
    fn five_minutes_ahead_are_forgiven() {
        let within = seen(vec![("a", FileState::Ready, 300)]);
        assert!(messages(&FutureFiles, &within).is_empty());
        let beyond = seen(vec![
            ("a", FileState::Ready, 301),
            ("b", FileState::Ready, 7_200),
        ]);
        assert_eq!(
            messages(&FutureFiles, &beyond),
            ["2 files are up to 2h in the future: set the clocks"]
        );
    }
}
