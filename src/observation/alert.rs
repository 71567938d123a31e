//! What a rule of `health` says when something needs a person.

use serde::{Deserialize, Serialize};

/// How much an alert matters; also the health of the whole store.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Nothing needs anybody.
    #[default]
    Healthy,
    /// Somebody should look.
    Warning,
    /// Results are in danger, or the run stands still.
    Critical,
}

/// What a person can do about an alert: the name of a key's action or of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Remedy {
    /// Merge pending rows into main.
    Consolidate,
    /// Remove leftovers.
    Cleanup,
    /// Check every file.
    Validate,
    /// Look at the model's errors.
    Errors,
    /// Look at the writer.
    Writer,
    /// Nothing that evaltop can do; the message says what is needed.
    None,
}

/// Something that needs a person.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// The rule's name, stable for scripts: `too_many_increments`, …
    pub rule: String,
    /// How much it matters.
    pub severity: Severity,
    /// What is wrong, with figures; fits on a line of 60 columns where possible.
    pub message: String,
    /// What helps.
    pub action: Remedy,
    /// What it is about when not the whole store: a model, a writer, a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Why the rule exists and what to do, in a few sentences, for the detail view.
    #[serde(skip)]
    pub explanation: String,
}
