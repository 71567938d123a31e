//! What is kept of a session: `sessions/<xxh3>.json`, its plan and metadata. A file is immutable
//! and named after its content, so that every writer of a session may say the same.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use xxhash_rust::xxh3::xxh3_64;

/// The format that this version writes.
const FORMAT: u32 = 1;

/// The plan and metadata of a session, as one program said them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SessionNote {
    format: u32,
    /// Its `session_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// How many tests it means to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<u64>,
    /// Whatever else is worth keeping: the prompt's version, the commit, who started it.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub meta: Map<String, Value>,
}

impl SessionNote {
    /// A note of a session; `None` where nothing is said.
    pub fn new(
        session: Option<String>,
        plan: Option<u64>,
        meta: Map<String, Value>,
    ) -> Option<Self> {
        (plan.is_some() || !meta.is_empty()).then_some(Self {
            format: FORMAT,
            session,
            plan,
            meta,
        })
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

    /// The name of its file.
    pub fn name(bytes: &[u8]) -> String {
        format!("{:016x}.json", xxh3_64(bytes))
    }
}
