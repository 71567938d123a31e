//! The commit record: what main's footer says about the files that main contains.
//! It travels in the same inode as the rows, so that rows and the knowledge that
//! their files were consumed become visible in one rename.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::error::{Error, Result};
use super::layout;
use super::parquet_file::ParquetFile;
use crate::stats::hashed::ByName;

pub mod base;
pub mod log;
pub mod transaction;

/// The footer's key of the commit record.
pub const KEY: &str = "evaltop.commit";
/// The format that this version writes; a reader refuses newer ones.
pub const FORMAT: u32 = 1;

/// A file whose rows main contains.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consumed {
    /// Its name in `incremental/`: an increment, or a dead writer's journal.
    pub name: String,
    /// Its size when it was consumed.
    pub bytes: u64,
    /// The rows that were consumed; of a legacy file, the length of the prefix.
    pub rows: u64,
    /// xxh3 in hex: of the bytes of our files, of the canonical rows of a legacy one.
    pub xxh3: String,
    /// Whether legacy code may rewrite it in place.
    pub legacy: bool,
    /// When it was consumed.
    pub at: Timestamp,
    /// When a commit first found it gone: the entry of a legacy file is kept for seven days more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gone: Option<Timestamp>,
}

/// A file of summary rows that counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summaries {
    /// `summaries_<xxh3>.parquet` beside main.
    pub name: String,
    /// Its rows.
    pub rows: u64,
}

/// What the footer of main says about its last commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitRecord {
    /// Version of this format.
    pub format: u32,
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
    /// Attempts replaced by newer ones, over the store's life.
    pub superseded: u64,
    /// Canonically identical rows seen again, over the store's life.
    pub repeated: u64,
    /// Files whose rows main contains and that may still be there.
    pub consumed: Vec<Consumed>,
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

    /// As JSON on one line.
    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string(self)
            .map_err(|error| Error::Refused(format!("commit record: {error}")))
    }

    /// The consumed files by name, and by stem: an increment's entry stands for its journal too.
    /// A legacy file has an entry for each of its versions that was consumed lately.
    pub fn consumed_by_name(&self) -> ByName<&str, Vec<&Consumed>> {
        let mut found: ByName<&str, Vec<&Consumed>> = ByName::default();
        found.reserve(self.consumed.len());
        for entry in &self.consumed {
            found.entry(entry.name.as_str()).or_default().push(entry);
            if let Some(stem) = layout::stem(&entry.name) {
                found.entry(stem).or_default().push(entry);
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn record() -> CommitRecord {
        CommitRecord {
            format: FORMAT,
            generation: 3,
            commit_id: "c".into(),
            parent_id: None,
            created: Timestamp::UNIX_EPOCH,
            zone: "UTC".into(),
            rows: 2,
            summaries: vec![],
            superseded: 1,
            repeated: 0,
            consumed: vec![Consumed {
                name: "increment_1_20260131_120000_h_0a_0.parquet".into(),
                bytes: 10,
                rows: 2,
                xxh3: "00".into(),
                legacy: false,
                at: Timestamp::UNIX_EPOCH,
                gone: None,
            }],
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
        assert!(error.contains("newer than 1"), "{error}");
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
