//! What people should know about the data, gathered while it is read.

use std::collections::BTreeSet;

use crate::config::show_counted;
use crate::store::digest::Digest;
use crate::store::summary::{Convention, Summaries};

/// Sentences about the data, the same from scan to scan while the data stays.
#[derive(Debug, Default)]
pub(super) struct Notes {
    bad_times: u64,
    sentences: BTreeSet<String>,
}

impl Notes {
    /// What a file's rows give to say.
    pub(super) fn digest(&mut self, file: &str, digest: &Digest) {
        self.bad_times += digest.bad_times;
        self.summaries(file, &digest.summaries);
        if digest.records > 0 && digest.summaries.rows() > 0 {
            self.sentences.insert(format!(
                "{file} mixes records with {}; both count",
                show_counted(digest.summaries.rows(), "summary row")
            ));
        }
    }

    /// Rows whose time is none.
    pub(super) fn bad_times(&mut self, rows: u64) {
        self.bad_times += rows;
    }

    /// What summary rows give to say.
    pub(super) fn summaries(&mut self, file: &str, summaries: &Summaries) {
        if summaries.convention() == Convention::Assumed {
            self.sentences.insert(format!(
                "{file}: nothing tells whether its 'success' counts partial successes too; read as if it does"
            ));
        }
    }

    /// What a legacy writer's pending rows give to say.
    pub(super) fn transaction(&mut self, name: &str) {
        self.sentences.insert(format!(
            "{name}: a legacy writer left rows in it that don't count (evaltop validate --repair takes them in)"
        ));
    }

    /// What a journal's lines give to say.
    pub(super) fn journal(&mut self, name: &str, malformed: u64) {
        if malformed > 0 {
            let (lines, are) = (
                show_counted(malformed, "line"),
                if malformed == 1 {
                    "is no record and doesn't"
                } else {
                    "are no records and don't"
                },
            );
            self.sentences
                .insert(format!("{name}: {lines} {are} count"));
        }
    }

    /// Everything, in a stable order.
    pub(super) fn into_sentences(self) -> Vec<String> {
        let mut sentences: Vec<String> = self.sentences.into_iter().collect();
        if self.bad_times > 0 {
            let (rows, have) = (
                show_counted(self.bad_times, "row"),
                if self.bad_times == 1 { "has" } else { "have" },
            );
            sentences.push(format!(
                "{rows} {have} a timestamp that is no time; it is kept in the column timestamp_text"
            ));
        }
        sentences
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_is_one() {
        let told = |malformed| {
            let mut notes = Notes::default();
            notes.journal("j", malformed);
            notes.into_sentences()
        };
        assert_eq!(told(1), ["j: 1 line is no record and doesn't count"]);
        assert_eq!(
            told(1_200),
            ["j: 1,200 lines are no records and don't count"]
        );
        assert!(told(0).is_empty());
    }
}
