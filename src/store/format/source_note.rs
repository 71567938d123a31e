//! What is kept of a place that rows are pulled from: `sources/<xxh3>.json`, rewritten in place.
//! Nothing depends on it: without it everything is looked at again.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

/// The format that this version writes.
const FORMAT: u32 = 1;

/// How far the pulls from one place are.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SourceNote {
    format: u32,
    /// The place: a folder, or `host:path`.
    pub name: String,
    /// The id of the store there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<String>,
    /// What its files were like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<String>,
    /// When a pull ended well, the last time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// Why the last one did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Rows that came from there.
    #[serde(default)]
    pub rows: u64,
    /// How often it is pulled, in seconds; `None` where nobody said that it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<u64>,
}

impl SourceNote {
    /// Of a place that nothing is known of.
    pub fn new(name: &str) -> Self {
        Self {
            format: FORMAT,
            name: name.to_owned(),
            ..Self::default()
        }
    }

    /// The name of its file.
    pub fn file(name: &str) -> String {
        format!("{:016x}.json", xxh3_64(name.as_bytes()))
    }

    /// As it is written.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// Reads one; `None` for what is torn, or of another format.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let found: Self = serde_json::from_slice(bytes).ok()?;
        (found.format == FORMAT).then_some(found)
    }

    /// Whether pulls go on and have not ended well for too long.
    pub fn is_stale(&self, now: Timestamp) -> bool {
        let (Some(every), Some(at)) = (self.every, self.at) else {
            return self.every.is_some() && self.error.is_some();
        };
        let age = now.duration_since(at).as_secs();
        age > i64::try_from(every.saturating_mul(3))
            .unwrap_or(i64::MAX)
            .max(120)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_stale_when_pulls_that_go_on_stop_ending_well() {
        let now = Timestamp::from_second(1_769_860_800).unwrap();
        let before = |seconds: i64| Timestamp::from_second(now.as_second() - seconds).unwrap();
        let mut note = SourceNote::new("node7:/runs");
        assert!(!note.is_stale(now));
        note.at = Some(before(10_000));
        assert!(!note.is_stale(now), "nobody said that it goes on");
        note.every = Some(30);
        assert!(note.is_stale(now));
        note.at = Some(before(100));
        assert!(!note.is_stale(now));
        (note.at, note.error) = (None, Some("no route".into()));
        assert!(note.is_stale(now));
        assert_eq!(SourceNote::read(&note.to_bytes()), Some(note.clone()));
    }
}
