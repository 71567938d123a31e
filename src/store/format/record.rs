//! One test result, one row: the canonical columns of a record, how a JSON object
//! becomes one, and how records become columns.

use serde::Serialize;
use serde_json::{Map, Value};

mod batch;
mod exact;
mod fields;
mod parse;

pub use batch::{Extras, to_batch};
pub use fields::Fields;
pub(crate) use parse::{BOTH, Mended, REPEATED, SURROGATES, is_absent, object, object_mended};

/// A test result. All columns but `model` may be absent, and `success` where there is a
/// `score` or an `error_type`; columns that the store does not know are kept in `extra`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Record {
    /// Identifies the test within its cell; generated (UUIDv7) when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_id: Option<String>,
    /// The model under test.
    pub model: String,
    /// The kind of task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_type: Option<String>,
    /// How the task was put.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_type: Option<String>,
    /// The difficulty of the task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub difficulty: Option<String>,
    /// The share of tool calls that the environment lets succeed, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_success_rate: Option<f64>,
    /// Full success; `None` where the test was not judged (*unscored*).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub success: Option<bool>,
    /// Success in part; counts only where `success` is false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partial_success: Option<bool>,
    /// Seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub execution_time: Option<f64>,
    /// Conversation turns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turns: Option<i64>,
    /// Tool calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_calls: Option<i64>,
    /// Share of the required tools that were called, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_coverage_rate: Option<f64>,
    /// Score of the workflow, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workflow_score: Option<f64>,
    /// Score of the second phase, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase2_score: Option<f64>,
    /// Score of the answer's quality, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quality_score: Option<f64>,
    /// The final score, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub final_score: Option<f64>,
    /// Category of what went wrong (`timeout`, `tool_selection`, `infrastructure`, …: `docs/guide.md` lists them).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_type: Option<String>,
    /// What went wrong, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
    /// Whether the prompt was flawed on purpose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_flawed: Option<bool>,
    /// How it was flawed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flaw_type: Option<String>,
    /// The task; the cluster key for standard errors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_id: Option<String>,
    /// The session of the runner.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// When the test ended, microseconds since the Unix epoch; stamped when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<i64>,
    /// `<pid>_<YYYYmmdd_HHMMSS>` of the writer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process_id: Option<String>,
    /// When evaltop accepted the row, microseconds since the Unix epoch; set by its
    /// [`Writer`](crate::store::write::writer::Writer).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recorded_at: Option<i64>,
    /// The n-th try at one task on purpose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trial: Option<i64>,
    /// A score on any scale.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// Input tokens that no cache had.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_tokens: Option<i64>,
    /// Output tokens, those of reasoning among them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<i64>,
    /// Output tokens of reasoning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_tokens: Option<i64>,
    /// Input tokens read from a cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_read_tokens: Option<i64>,
    /// Input tokens written to a cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_write_tokens: Option<i64>,
    /// US dollars billed for the model's work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<f64>,
    /// US dollars billed for judging it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub judge_cost: Option<f64>,
    /// Where the transcript is: a path or URL, with `#sample`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
    /// Columns that the store does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}
