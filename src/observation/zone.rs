//! In which zone times were read that name none.

use serde::Serialize;

/// Who says which zone that is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ZoneFrom {
    /// The first commit fixed it.
    Store,
    /// The settings.
    Settings,
    /// Nobody: it is the zone of the machine that reads.
    #[default]
    Machine,
}

impl ZoneFrom {
    /// Whose zone it is, for people.
    pub fn whose(self) -> &'static str {
        match self {
            Self::Store => "the store's zone",
            Self::Settings => "the settings' zone",
            Self::Machine => "this machine's zone",
        }
    }
}

/// What follows from times that name no zone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ZoneView {
    /// The zone in which they were read.
    pub name: String,
    /// Who says so.
    pub from: ZoneFrom,
    /// Rows with such a time that no commit has read yet.
    pub naive: u64,
    /// What contradicts the zone, where something does.
    pub off: Option<OffView>,
}

/// A file that was written whole quarters of an hour before or after its newest row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffView {
    /// The file.
    pub file: String,
    /// So many seconds after it.
    pub seconds: i64,
    /// The offset from UTC, in seconds, that would fit.
    pub fits: i32,
}
