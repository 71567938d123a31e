//! The log of a Delta table: one JSON file a commit, of which each line is an action. Protocol
//! reader 1, writer 2, as every engine knows it.

use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use uuid::Uuid;

use super::schema::Shape;
use super::{Place, checkpoint};
use crate::store::{Control, Error, Result};

/// The folder of the log.
pub(super) const FOLDER: &str = "_delta_log";

/// Removed files are named in checkpoints for a week, as a vacuum keeps them.
const KEPT_MS: i64 = 7 * 24 * 3_600 * 1_000;

/// What a commit does.
#[derive(Debug)]
pub(super) enum Action {
    Add { path: String, bytes: u64, rows: u64 },
    Remove { path: String, size: u64 },
}

/// What the log comes to.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// The last version; `None` where there is no table yet.
    pub(super) version: Option<u64>,
    /// The files of the table with their sizes.
    pub(super) files: BTreeMap<String, u64>,
    /// The schema, as the log has it.
    pub(super) schema: Option<Value>,
    id: Option<String>,
    /// The actions that still hold, for a checkpoint: files that are part of the table and those
    /// that are not any more, by path, and the last of the others, by kind.
    adds: BTreeMap<String, Value>,
    removes: BTreeMap<String, Value>,
    others: BTreeMap<&'static str, Value>,
}

impl Log {
    /// Reads it, commit by commit.
    pub(super) fn read(place: &dyn Place) -> Result<Self> {
        let mut log = Self::default();
        let table = format!("{}/{FOLDER}", place.name());
        let names = place.list(FOLDER)?;
        let mut versions: Vec<u64> = names
            .iter()
            .filter_map(|name| name.strip_suffix(".json")?.parse().ok())
            .collect();
        versions.sort_unstable();
        let last = versions.last().copied();
        let checkpoints = names.iter().filter_map(|name| checkpoint::version(name));
        let begin = checkpoints.filter(|version| Some(*version) <= last).max();
        if let Some(version) = begin {
            log.take(&checkpoint::read(place, version)?, &table)?;
            log.version = Some(version);
            versions.retain(|later| *later > version);
        }
        let first = begin.map_or(0, |version| version + 1);
        let whole = (first..).take(versions.len()).eq(versions.iter().copied());
        if !whole {
            return Err(Error::Refused(format!(
                "{table} does not reach back to the first version or a checkpoint: export into a \
                 new folder"
            )));
        }
        for version in versions {
            let path = format!("{FOLDER}/{}", file(version));
            let gone = || {
                Error::Refused(format!(
                    "{table}: version {version} went away while it was read: export again"
                ))
            };
            let bytes = place.read(&path)?.ok_or_else(gone)?;
            let text = String::from_utf8(bytes)
                .map_err(|_| Error::Refused(format!("{table}: version {version} is not UTF-8")))?;
            log.take(&text, &table)?;
            log.version = Some(version);
        }
        Ok(log)
    }

    /// Takes in actions, one a line.
    fn take(&mut self, text: &str, table: &str) -> Result<()> {
        let bad = |why: String| Error::Refused(format!("{table}: {why}"));
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let action: Value = serde_json::from_str(line).map_err(|why| bad(why.to_string()))?;
            let name = |action: &Value| {
                let path = action.get("path").and_then(Value::as_str);
                path.map(unescaped).ok_or_else(|| bad("no path".to_owned()))
            };
            if let Some(add) = action.get("add") {
                let size = add.get("size").and_then(Value::as_u64).unwrap_or_default();
                let name = name(add)?;
                self.removes.remove(&name);
                self.files.insert(name.clone(), size);
                self.adds.insert(name, action);
            } else if let Some(remove) = action.get("remove") {
                let name = name(remove)?;
                self.files.remove(&name);
                self.adds.remove(&name);
                self.removes.insert(name, action);
            } else if let Some(meta) = action.get("metaData") {
                let text = |name: &str| meta.get(name).and_then(Value::as_str);
                self.id = text("id").map(str::to_owned);
                self.schema = text("schemaString").and_then(|text| serde_json::from_str(text).ok());
                self.others.insert("metaData", action);
            } else if let Some(protocol) = action.get("protocol") {
                let least = |name: &str| protocol.get(name).and_then(Value::as_u64).unwrap_or(1);
                if least("minWriterVersion") > 2 || least("minReaderVersion") > 1 {
                    return Err(bad(
                        "another program turned features on that evaltop does not write: \
                         export into a new folder"
                            .to_owned(),
                    ));
                }
                self.others.insert("protocol", action);
            }
        }
        Ok(())
    }

    /// Writes what holds now, so that nobody needs the commits before. Removed files are named for
    /// as long as a vacuum keeps them.
    fn checkpoint(
        &self,
        place: &dyn Place,
        version: u64,
        now: Timestamp,
        control: &Control,
    ) -> Result<()> {
        let since = now.as_millisecond() - KEPT_MS;
        let is_young = |action: &&Value| {
            let at = action.pointer("/remove/deletionTimestamp");
            at.and_then(Value::as_i64).is_none_or(|at| at > since)
        };
        let removes = self.removes.values().filter(is_young);
        let actions = self
            .others
            .values()
            .chain(self.adds.values())
            .chain(removes);
        let actions: Vec<Value> = actions.cloned().collect();
        checkpoint::write(place, version, &actions, control)
    }

    /// Whether the table has this schema already.
    pub(super) fn has(&self, shape: &Shape) -> bool {
        self.schema.as_ref() == Some(&shape.schema())
    }

    /// Adds a commit.
    pub(super) fn commit(
        &mut self,
        place: &dyn Place,
        shape: &Shape,
        actions: &[Action],
        now: Timestamp,
        control: &Control,
    ) -> Result<()> {
        let time = now.as_millisecond();
        let version = self.version.map_or(0, |version| version + 1);
        let mut lines = vec![json!({ "commitInfo": {
            "timestamp": time, "operation": "WRITE", "operationParameters": { "mode": "Overwrite" },
            "engineInfo": concat!("evaltop/", env!("CARGO_PKG_VERSION")),
            // No two commits are the same, so that each can be known again.
            "txnId": Uuid::now_v7().to_string(),
        }})];
        if self.version.is_none() {
            lines.push(json!({ "protocol": { "minReaderVersion": 1, "minWriterVersion": 2 } }));
        }
        if !self.has(shape) {
            let id = self
                .id
                .get_or_insert_with(|| Uuid::now_v7().to_string())
                .clone();
            lines.push(json!({ "metaData": {
                "id": id, "format": { "provider": "parquet", "options": {} },
                "schemaString": shape.schema().to_string(), "partitionColumns": [],
                "configuration": {}, "createdTime": time,
            }}));
        }
        for action in actions {
            lines.push(match action {
                Action::Add { path, bytes, rows } => json!({ "add": {
                    "path": path, "partitionValues": {}, "size": bytes, "modificationTime": time,
                    "dataChange": true, "stats": json!({ "numRecords": rows }).to_string(),
                }}),
                Action::Remove { path, size } => json!({ "remove": {
                    "path": path, "deletionTimestamp": time, "dataChange": true,
                    "extendedFileMetadata": true, "partitionValues": {}, "size": size,
                }}),
            });
        }
        let mut text = String::new();
        for line in &lines {
            text.push_str(&line.to_string());
            text.push('\n');
        }
        let path = format!("{FOLDER}/{}", file(version));
        if !place.create(&path, text.as_bytes())? {
            return Err(Error::Refused(format!(
                "another program wrote version {version} of {} at the same time: run this again",
                place.name()
            )));
        }
        (self.version, self.schema) = (Some(version), Some(shape.schema()));
        self.take(&text, &path)?;
        if version > 0 && version.is_multiple_of(checkpoint::EVERY) {
            self.checkpoint(place, version, now, control)?;
        }
        Ok(())
    }
}

fn file(version: u64) -> String {
    format!("{version:020}.json")
}

/// Paths in the log are URLs, so what is unusual in one is escaped.
fn unescaped(path: &str) -> String {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        let hex = (*first == b'%')
            .then(|| more.get(..2).and_then(|hex| std::str::from_utf8(hex).ok()))
            .flatten()
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        bytes.push(hex.unwrap_or(*first));
        rest = match hex {
            Some(_) => more.get(2..).unwrap_or_default(),
            None => more,
        };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
