//! The commit record: what main's footer says about the files that main contains.
//! It travels in the same inode as the rows, so that rows and the knowledge that
//! their files were consumed become visible in one rename.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::{layout, zone};
use crate::stats::collections::ByName;
use crate::store::error::{Error, Result};
use crate::store::parquet::ParquetFile;
use crate::store::write::increment::JournalPart;

/// The footer's key of the commit record.
pub const KEY: &str = "evaltop.commit";
/// The format that this version writes; a reader refuses newer ones.
pub const FORMAT: u32 = 2;

/// A file whose rows main contains. That is a cache: without it the rows are read again, and are
/// repeats. It is believed only in main's own record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consumed {
    /// Its place in `incremental/`.
    pub name: String,
    /// Its size when it was consumed.
    pub bytes: u64,
    /// The rows that were consumed.
    pub rows: u64,
    /// xxh3 of its bytes, in hex; of an entry of format 1 that is `legacy`, of its first rows.
    pub xxh3: String,
    /// In format 1: that other code wrote it, and main contains its first rows.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub legacy: bool,
    /// Its modification time, nanoseconds since the epoch: a file that other code wrote is what
    /// was read while it has that, wherever it was moved.
    #[serde(default)]
    pub modified: i64,
    /// When it was consumed.
    pub at: Timestamp,
    /// The part of a journal that an increment of ours was made of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub journal: Option<JournalPart>,
}

/// A commit whose rows main contains, by its own rows or by those of its folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ancestor {
    /// Its id.
    pub id: String,
    /// The number of the commit that took it in: its own, or that which found it not settled.
    pub generation: u64,
    /// When that was made.
    pub at: Timestamp,
}

/// A file of summary rows that counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summaries {
    /// `summaries_<xxh3>.parquet` next to main.
    pub name: String,
    /// Its rows.
    pub rows: u64,
}

/// What was removed on purpose: it holds against every file that brings the rows again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemovedSet {
    /// `removed_<xxh3>.parquet` next to main.
    pub name: String,
    /// Its keys.
    pub rows: u64,
}

/// What the footer of main says about its last commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitRecord {
    /// Version of this format.
    pub format: u32,
    /// The store's id, given by its first commit; empty in format 1.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub store: String,
    /// Number of the commit, from 1.
    pub generation: u64,
    /// Its id.
    pub commit_id: String,
    /// The commit that it follows.
    pub parent_id: Option<String>,
    /// When it was made.
    pub created: Timestamp,
    /// Zone of naive timestamps, fixed by the first commit.
    pub zone: String,
    /// Rows of main.
    pub rows: u64,
    /// Files of summary rows.
    #[serde(default)]
    pub summaries: Vec<Summaries>,
    /// The rows that were removed on purpose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed: Option<RemovedSet>,
    /// Attempts replaced by newer ones, over the store's life.
    pub superseded: u64,
    /// Canonically identical rows seen again, over the store's life.
    pub repeated: u64,
    /// Files whose rows main contains and that may still be there.
    pub consumed: Vec<Consumed>,
    /// The commits that main contains, as far as they have a folder: any other folder is pending.
    #[serde(default)]
    pub lineage: Vec<Ancestor>,
    /// When a commit took over a main that other code had written, the last time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rewritten: Option<Timestamp>,
    /// Entries of format 1 about files of other code, for seven days: such a file may hold rows
    /// without any time, which main had before rows had ids.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub format1: Vec<Consumed>,
}

impl CommitRecord {
    /// Of an open main; `None` where other code wrote it.
    pub fn of(main: &ParquetFile) -> Result<Option<Self>> {
        main.key_value(KEY)
            .map(|text| Self::parse(text, main.path()))
            .transpose()
    }

    /// From JSON; `path` is for the message.
    pub fn parse(text: &str, path: &std::path::Path) -> Result<Self> {
        let wrong = |what: String| {
            Error::Refused(format!(
                "{}: {what}; use a version of evaltop that is at least as new as the one that wrote it",
                path.display()
            ))
        };
        let record: Self = serde_json::from_str(text)
            .map_err(|error| wrong(format!("its commit record can't be read ({error})")))?;
        if record.format > FORMAT {
            return Err(wrong(format!(
                "its commit record has format {}, newer than {FORMAT}",
                record.format
            )));
        }
        Ok(record)
    }

    /// Whether every row of the main that it speaks for has an id.
    pub fn identifies(&self) -> bool {
        self.format >= 2
    }

    /// The zone of naive times.
    pub fn time_zone(&self) -> Option<TimeZone> {
        zone::of(&self.zone).ok()
    }

    /// As JSON on one line.
    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string(self)
            .map_err(|error| Error::Refused(format!("commit record: {error}")))
    }

    /// Whether main contains a commit, so that what is in the folder of that is settled.
    pub fn has_merged(&self, commit_id: &str) -> bool {
        self.commit_id == commit_id || self.lineage.iter().any(|merged| merged.id == commit_id)
    }

    /// The consumed files by name, and by stem of the journal: an increment's entry stands for as
    /// much of that as it says, or for all of it where an earlier version wrote it.
    pub fn consumed_by_name(&self) -> ByName<&str, Vec<&Consumed>> {
        let mut found: ByName<&str, Vec<&Consumed>> = ByName::default();
        found.reserve(self.consumed.len());
        for entry in self.consumed.iter().chain(&self.format1) {
            found.entry(entry.name.as_str()).or_default().push(entry);
            let part = entry.journal.as_ref();
            let stem = part.map_or_else(|| layout::stem(&entry.name), |part| Some(&part.stem));
            if let Some(stem) = stem {
                found.entry(stem).or_default().push(entry);
            }
        }
        found
    }
}

/// How many bytes of a journal main has, by the entries of its stem.
pub fn consumed_bytes(entries: &[&Consumed]) -> u64 {
    if entries.iter().any(|entry| entry.journal.is_none()) {
        return u64::MAX;
    }
    JournalPart::covered(&entries.iter().filter_map(|entry| entry.journal.as_ref()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn record() -> CommitRecord {
        CommitRecord {
            format: FORMAT,
            store: "s".into(),
            generation: 3,
            commit_id: "c".into(),
            parent_id: None,
            created: Timestamp::UNIX_EPOCH,
            zone: "UTC".into(),
            rows: 2,
            summaries: vec![],
            removed: Some(RemovedSet {
                name: "removed_0123456789abcdef.parquet".into(),
                rows: 4,
            }),
            superseded: 1,
            repeated: 0,
            consumed: vec![Consumed {
                name: "increment_1_20260131_120000_h_0a_0.parquet".into(),
                bytes: 10,
                rows: 2,
                xxh3: "00".into(),
                legacy: false,
                modified: 5,
                at: Timestamp::UNIX_EPOCH,
                journal: None,
            }],
            lineage: vec![Ancestor {
                id: "b".into(),
                generation: 2,
                at: Timestamp::UNIX_EPOCH,
            }],
            rewritten: None,
            format1: vec![],
        }
    }

    #[test]
    fn survives_its_json() {
        let json = record().to_json().unwrap();
        assert_eq!(
            CommitRecord::parse(&json, Path::new("main")).unwrap(),
            record()
        );
    }

    #[test]
    fn a_newer_format_and_damage_are_one_sentence() {
        let newer = CommitRecord {
            format: FORMAT + 1,
            ..record()
        }
        .to_json()
        .unwrap();
        let error = CommitRecord::parse(&newer, Path::new("main"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("newer than 2"), "{error}");
        let error = CommitRecord::parse("{", Path::new("main"))
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("main: its commit record can't be read"),
            "{error}"
        );
    }

    #[test]
    fn an_increments_entry_stands_for_its_journal() {
        let record = record();
        let found = record.consumed_by_name();
        assert!(found.contains_key("1_20260131_120000_h_0a_0"));
        assert!(found.contains_key("increment_1_20260131_120000_h_0a_0.parquet"));
    }
}
