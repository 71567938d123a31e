//! Who and what the simulated benchmark is made of. Effects are in log-odds of
//! full success.

/// A simulated model.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) name: &'static str,
    /// Log-odds of full success on an average test.
    pub(super) strength: f64,
    /// Its time per test relative to others.
    pub(super) pace: f64,
}

const fn model(name: &'static str, strength: f64, pace: f64) -> Model {
    Model {
        name,
        strength,
        pace,
    }
}

/// Strongest first. Nobody's figures are meant, so no such model exists.
pub(super) const MODELS: [Model; 12] = [
    model("opal-4", 2.0, 1.3),
    model("quartz-xl", 1.7, 1.6),
    model("beryl-pro", 1.45, 1.2),
    model("onyx-4", 1.2, 0.9),
    model("garnet-v3-0324", 0.95, 1.1),
    model("quartz-m", 0.7, 0.8),
    model("topaz-72b-instruct", 0.4, 1.0),
    model("beryl-flash", 0.15, 0.5),
    model("Jasper-70B-Instruct", -0.15, 0.9),
    model("Lapis-Large-2411", -0.5, 1.0),
    model("quartz-mini", -0.9, 0.6),
    model("Jasper-8B-Instruct", -1.6, 0.4),
];

/// A kind of task.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) name: &'static str,
    pub(super) effect: f64,
    /// Median seconds at average pace.
    pub(super) seconds: f64,
    /// Usual turns.
    pub(super) turns: f64,
}

const fn task(name: &'static str, effect: f64, seconds: f64, turns: f64) -> Task {
    Task {
        name,
        effect,
        seconds,
        turns,
    }
}

pub(super) const TASKS: [Task; 5] = [
    task("simple_task", 1.1, 7.0, 4.0),
    task("basic_task", 0.6, 12.0, 6.0),
    task("data_pipeline", -0.2, 32.0, 10.0),
    task("api_integration", -0.4, 40.0, 11.0),
    task("multi_stage_pipeline", -1.0, 75.0, 16.0),
];

/// How a task is put.
#[derive(Debug)]
pub(super) struct Prompt {
    pub(super) name: &'static str,
    pub(super) effect: f64,
    pub(super) weight: f64,
    /// The category of error that it provokes.
    pub(super) provokes: Option<&'static str>,
}

const fn prompt(
    name: &'static str,
    effect: f64,
    weight: f64,
    provokes: Option<&'static str>,
) -> Prompt {
    Prompt {
        name,
        effect,
        weight,
        provokes,
    }
}

/// What the names of flawed prompts begin with; the rest is the flaw.
pub(super) const FLAWED: &str = "flawed_";

pub(super) const PROMPTS: [Prompt; 10] = [
    prompt("baseline", 0.0, 3.0, None),
    prompt("optimal", 0.4, 3.0, None),
    prompt("cot", 0.25, 3.0, None),
    prompt("flawed_vague", -0.4, 1.0, Some("tool_selection")),
    prompt(
        "flawed_sequence_disorder",
        -0.6,
        1.0,
        Some("sequence_order"),
    ),
    prompt("flawed_tool_misuse", -0.8, 1.0, Some("tool_selection")),
    prompt(
        "flawed_parameter_error",
        -0.7,
        1.0,
        Some("parameter_config"),
    ),
    prompt("flawed_missing_step", -0.9, 1.0, Some("dependency")),
    prompt("flawed_redundant_operations", -0.2, 1.0, Some("max_turns")),
    prompt(
        "flawed_logical_inconsistency",
        -1.0,
        1.0,
        Some("sequence_order"),
    ),
];

/// Name, effect, factor on time and turns.
pub(super) const DIFFICULTIES: [(&str, f64, f64); 3] = [
    ("easy", 0.6, 0.8),
    ("medium", 0.0, 1.0),
    ("hard", -0.7, 1.3),
];

/// Share of tool calls that the environment lets succeed, and its effect.
pub(super) const TOOL_RATES: [(f64, f64); 4] = [(0.6, -0.6), (0.7, -0.25), (0.8, 0.1), (0.9, 0.4)];

/// Category of error, weight, messages.
pub(super) const ERRORS: [(&str, f64, &[&str]); 7] = [
    (
        "tool_call_format",
        2.0,
        &[
            "tool call is not valid JSON: expected `,` or `}` at line 1 column 148",
            "no <tool_call> block in the response",
        ],
    ),
    (
        "tool_selection",
        3.0,
        &[
            "called file_operations_writer, required data_processing_parser",
            "unknown tool 'search_web'",
        ],
    ),
    (
        "parameter_config",
        3.0,
        &[
            "missing required parameter 'schema'",
            "parameter 'timeout' must be an integer, got \"30s\"",
        ],
    ),
    (
        "sequence_order",
        2.5,
        &[
            "data_processing_validator called before data_processing_parser",
            "steps 2 and 3 swapped",
        ],
    ),
    (
        "dependency",
        1.5,
        &[
            "network_fetcher result was never read",
            "required step 'authenticate' skipped",
        ],
    ),
    ("max_turns", 1.0, &["no final answer after 30 turns"]),
    (
        "other",
        1.0,
        &[
            "empty response",
            "final answer does not match the expected output",
        ],
    ),
];

/// Failures that are nobody's fault here.
pub(super) const OUTAGES: [&str; 4] = [
    "HTTP 429 Too Many Requests: retry after 20s",
    "HTTP 503 Service Unavailable",
    "connection reset by peer",
    "HTTP 529 overloaded_error",
];
