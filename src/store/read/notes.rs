//! What people should know about the data, gathered while it is read.

use std::collections::BTreeSet;

use crate::config::show_counted;
use crate::store::aggregate::Digest;
use crate::store::aggregate::summary::{Convention, Summaries};

/// Sentences about the data, the same from scan to scan while the data stays.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    bad_times: u64,
    implausible: u64,
    out_of_range: u64,
    sentences: BTreeSet<String>,
}

impl Notes {
    /// What a file's rows give to say.
    pub(crate) fn digest(&mut self, file: &str, digest: &Digest) {
        self.times(digest);
        self.summaries(file, &digest.summaries);
        if digest.records > 0 && digest.summaries.rows() > 0 {
            self.sentences.insert(format!(
                "{file} mixes records with {}; both count",
                show_counted(digest.summaries.rows(), "summary row")
            ));
        }
    }

    /// Rows whose time is none, or can't be right.
    pub(crate) fn times(&mut self, digest: &Digest) {
        self.bad_times += digest.bad_times;
        self.implausible += digest.activity.implausible;
        self.out_of_range += digest.bad_values;
    }

    /// What summary rows give to say.
    pub(crate) fn summaries(&mut self, file: &str, summaries: &Summaries) {
        if summaries.convention() == Convention::Assumed {
            self.sentences.insert(format!(
                "{file}: nothing says whether its 'success' counts partial successes too; read as if it does"
            ));
        }
    }

    /// That main does not contain commits whose folders are there.
    pub(crate) fn unsettled(&mut self, main: Option<u64>, newest: u64) {
        let what = match main {
            Some(generation) if generation < newest => {
                format!("main is of commit {generation}, and commit {newest} was made after it")
            }
            Some(_) => "main does not contain all commits that were made".to_owned(),
            None => "other code wrote main after the last commit".to_owned(),
        };
        self.sentences.insert(format!(
            "{what}: what it lacks of their rows counts from incremental/.consumed/, and the next \
             consolidate takes it in"
        ));
    }

    /// That a commit is recorded which this main does not have.
    pub(crate) fn ahead(&mut self, main: u64, recorded: u64) {
        self.sentences.insert(format!(
            "main is of commit {main}, and commits/ has the record of commit {recorded}: this is a copy that was \
             made during a commit, or that commit was ended; a copy may lack rows, so copy again with evaltop \
             backup --to"
        ));
    }

    /// What a legacy writer's pending rows give to say.
    pub(crate) fn transaction(&mut self, name: &str) {
        self.sentences.insert(format!(
            "{name}: a legacy writer left rows in it that don't count (evaltop validate --repair takes them in)"
        ));
    }

    /// What a journal's lines give to say.
    pub(crate) fn journal(&mut self, name: &str, malformed: u64) {
        if malformed > 0 {
            let (lines, are) = (
                show_counted(malformed, "line"),
                if malformed == 1 {
                    "is not a record and doesn't"
                } else {
                    "are not records and don't"
                },
            );
            self.sentences
                .insert(format!("{name}: {lines} {are} count"));
        }
    }

    /// What a file system without flock gives to say.
    pub(crate) fn no_locks(&mut self) {
        self.sentences.insert(
            "this file system has no locks (flock): whether writers live is unknown, and only one process \
             at a time may consolidate"
                .to_owned(),
        );
    }

    /// Everything, in a stable order.
    pub(crate) fn into_sentences(self) -> Vec<String> {
        let mut sentences: Vec<String> = self.sentences.into_iter().collect();
        if self.bad_times > 0 {
            let (rows, have) = (
                show_counted(self.bad_times, "row"),
                if self.bad_times == 1 { "has" } else { "have" },
            );
            sentences.push(format!(
                "{rows} {have} a timestamp that is not a time; it is kept in the column timestamp_text"
            ));
        }
        if self.implausible > 0 {
            let (rows, have) = (
                show_counted(self.implausible, "row"),
                if self.implausible == 1 { "has" } else { "have" },
            );
            sentences.push(format!(
                "{rows} {have} a time before 2000 or more than a day ahead; charts and rates leave {} out",
                if self.implausible == 1 { "it" } else { "them" }
            ));
        }
        if self.out_of_range > 0 {
            let (rows, have) = (
                show_counted(self.out_of_range, "row"),
                if self.out_of_range == 1 {
                    "has"
                } else {
                    "have"
                },
            );
            sentences.push(format!(
                "{rows} {have} a negative time or a rate outside 0 to 1; means take them as they are"
            ));
        }
        sentences
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_whose_time_cannot_be_right_are_counted() {
        let mut digest = Digest::default();
        digest.activity.implausible = 2;
        digest.bad_values = 1;
        let mut notes = Notes::default();
        notes.times(&digest);
        assert_eq!(
            notes.into_sentences(),
            [
                "2 rows have a time before 2000 or more than a day ahead; charts and rates leave them out",
                "1 row has a negative time or a rate outside 0 to 1; means take them as they are"
            ]
        );
    }

    #[test]
    fn one_line_is_one() {
        let reported = |malformed| {
            let mut notes = Notes::default();
            notes.journal("j", malformed);
            notes.into_sentences()
        };
        assert_eq!(reported(1), ["j: 1 line is not a record and doesn't count"]);
        assert_eq!(
            reported(1_200),
            ["j: 1,200 lines are not records and don't count"]
        );
        assert!(reported(0).is_empty());
    }
}
