//! Every name and path of a store, and what a name found on disk means.
//! The names of main, `model_stats.parquet`, `metadata.json` and
//! `incremental/increment_*.parquet` are a public contract with other tools.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// The default name of a store's folder.
pub const DEFAULT_NAME: &str = "pilot_bench_parquet_data";
/// Main: everything consolidated so far.
pub const MAIN: &str = "test_results.parquet";
/// The flock of every operation that changes main; never unlinked.
pub const LOCK: &str = "test_results.parquet.lock";
/// Derived: one row a model.
pub const MODEL_STATS: &str = "model_stats.parquet";
/// Derived: totals, models, dimensions, schema, generation.
pub const METADATA: &str = "metadata.json";

/// What was done to the store, for people.
pub const OPERATIONS: &str = "operations.jsonl";

/// Names of which any one makes a folder a store.
pub const PARTS: [&str; 4] = [MAIN, "incremental", "commits", "backups"];

/// The paths of one store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The store in `root`. Touches nothing.
    pub fn new(root: impl AsRef<Path>) -> Self {
        Self {
            root: root.as_ref().to_path_buf(),
        }
    }

    /// The store's folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Main.
    pub fn main(&self) -> PathBuf {
        self.root.join(MAIN)
    }

    /// The lock file.
    pub fn lock(&self) -> PathBuf {
        self.root.join(LOCK)
    }

    /// The flock under which runs claim what they work on; never unlinked.
    pub fn runs_lock(&self) -> PathBuf {
        self.root.join("runs.lock")
    }

    /// The derived table of models.
    pub fn model_stats(&self) -> PathBuf {
        self.root.join(MODEL_STATS)
    }

    /// The derived totals.
    pub fn metadata(&self) -> PathBuf {
        self.root.join(METADATA)
    }

    /// What was done to the store, for people.
    pub fn operations(&self) -> PathBuf {
        self.root.join(OPERATIONS)
    }

    /// Where writers publish increments and keep journals.
    pub fn incremental(&self) -> PathBuf {
        self.root.join("incremental")
    }

    /// Copies of the last commit records.
    pub fn commits(&self) -> PathBuf {
        self.root.join("commits")
    }

    /// Earlier mains.
    pub fn backups(&self) -> PathBuf {
        self.root.join("backups")
    }

    /// Files that can't be read, each with its reason.
    pub fn quarantine(&self) -> PathBuf {
        self.root.join("quarantine")
    }
}

/// What a name inside `incremental/` means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IncrementalName {
    /// `increment_<pid>_<ts>_<host>_<random>_<seq>.parquet`, `staged_….parquet`: ours, immutable.
    Increment,
    /// Any other `increment_*.parquet`: a legacy writer may rewrite it in place.
    LegacyIncrement,
    /// `journal_<pid>_<ts>_<host>_<random>_<seq>.jsonl`: ours.
    Journal,
    /// A temporary file of ours (`.<name>.tmp`).
    Temporary,
    /// `rejected_*.jsonl`: lines that `record` could not accept.
    Rejected,
    /// `transaction_*.tmp`: a legacy writer's pending rows, Parquet inside.
    Transaction,
    /// Nothing of ours: lock files, `.DS_Store`, anything else.
    Stray,
}

/// Tells what a name inside `incremental/` means.
pub fn classify(name: &str) -> IncrementalName {
    if name.starts_with('.') {
        return if is_temporary(name) {
            IncrementalName::Temporary
        } else {
            IncrementalName::Stray
        };
    }
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    match extension {
        "parquet" => match name.strip_prefix("increment_") {
            Some(_) if stem(name).is_some() => IncrementalName::Increment,
            Some(_) => IncrementalName::LegacyIncrement,
            None if is_staged(name) => IncrementalName::Increment,
            None => IncrementalName::Stray,
        },
        "jsonl" if name.starts_with("journal_") && stem(name).is_some() => IncrementalName::Journal,
        "jsonl" if name.starts_with("rejected_") => IncrementalName::Rejected,
        "tmp" if name.starts_with("transaction_") => IncrementalName::Transaction,
        _ => IncrementalName::Stray,
    }
}

/// Prefixes of what we write under a temporary name `.<name>.tmp` first.
const TEMPORARY: [&str; 10] = [
    ".test_results.",
    ".model_stats.",
    ".test_keys.",
    ".metadata.",
    ".operations.",
    ".summaries_",
    ".increment_",
    ".staged_",
    ".journal_",
    ".rejected_",
];

/// Whether a name is one of our temporary files, in whichever folder.
pub fn is_temporary(name: &str) -> bool {
    name.strip_suffix(".tmp")
        .is_some_and(|name| TEMPORARY.iter().any(|prefix| name.starts_with(prefix)))
}

/// The name of the index of main's test keys that a commit made.
pub fn test_keys_name(commit_id: &str) -> String {
    format!(".test_keys.{commit_id}")
}

/// The commit of an index of test keys; `None` for any other name.
pub fn test_keys_of(name: &str) -> Option<&str> {
    name.strip_prefix(".test_keys.")
        .filter(|id| !id.is_empty() && !id.contains('.'))
}

/// The name under which a consumed legacy increment waits for its removal: readers
/// still count what its writer adds meanwhile. Retired names stay as they are.
pub fn retired_name(name: &str) -> String {
    match name.strip_prefix("increment_") {
        Some(rest) if !rest.starts_with("retired_") => format!("increment_retired_{rest}"),
        _ => name.to_owned(),
    }
}

/// The name that a legacy increment had before it was retired.
pub fn unretired_name(name: &str) -> String {
    name.strip_prefix("increment_retired_")
        .map_or_else(|| name.to_owned(), |rest| format!("increment_{rest}"))
}

/// The name of what one run claims for itself.
pub fn run_claim_name(id: &str) -> String {
    format!("run_{id}.lock")
}

/// Whether a name beside main is such a claim.
pub fn is_run_claim(name: &str) -> bool {
    name.starts_with("run_")
        && Path::new(name)
            .extension()
            .is_some_and(|extension| extension == "lock")
}

/// Whether a name inside `backups/` is a backup of main.
pub fn is_backup(name: &str) -> bool {
    name.starts_with("test_results_") && name.ends_with(".parquet")
}

/// The name of a file of summary rows whose bytes have this hash.
pub fn summaries_name(xxh3: &str) -> String {
    format!("summaries_{xxh3}.parquet")
}

/// The hash in the name of a file of summary rows; `None` for any other name.
pub fn summaries_hash(name: &str) -> Option<&str> {
    let hash = name.strip_prefix("summaries_")?.strip_suffix(".parquet")?;
    (hash.len() == 16 && hash.bytes().all(|b| b.is_ascii_hexdigit())).then_some(hash)
}

/// The part that one of our increments and its journal share,
/// `<pid>_<YYYYmmdd_HHMMSS>_<host>_<random>_<seq>`; `None` for any other name.
pub fn stem(name: &str) -> Option<&str> {
    let rest = name
        .strip_prefix("increment_")
        .and_then(|r| r.strip_suffix(".parquet"))
        .or_else(|| {
            name.strip_prefix("journal_")
                .and_then(|r| r.strip_suffix(".jsonl"))
        })?;
    is_stem(rest).then_some(rest)
}

fn is_stem(rest: &str) -> bool {
    // Every name is looked at at each look: by bytes, several times as fast as by characters.
    let mut parts = rest.as_bytes().split(|&byte| byte == b'_');
    let mut next = |fits: fn(&[u8]) -> bool| {
        parts
            .next()
            .is_some_and(|part| !part.is_empty() && fits(part))
    };
    let digits = |part: &[u8]| part.iter().all(u8::is_ascii_digit);
    next(digits)
        && next(|day| day.len() == 8 && day.iter().all(u8::is_ascii_digit))
        && next(|time| time.len() == 6 && time.iter().all(u8::is_ascii_digit))
        && next(|_host| true)
        && next(|random| random.iter().all(u8::is_ascii_hexdigit))
        && next(digits)
        && parts.next().is_none()
}

/// The host in a [`stem`].
pub fn host(stem: &str) -> Option<&str> {
    stem.split('_').nth(3)
}

/// `<pid>_<YYYYmmdd_HHMMSS>` of an increment or journal, legacy or ours: the
/// `process_id` of its writer; `None` where the name does not carry one.
pub fn process_id(name: &str) -> Option<&str> {
    let rest = name
        .strip_prefix("increment_")
        .or_else(|| name.strip_prefix("journal_"))?;
    let end = rest
        .match_indices('_')
        .nth(2)
        .map_or_else(|| rest.find('.').unwrap_or(rest.len()), |(at, _)| at);
    let id = rest.get(..end)?;
    let mut parts = id.split('_');
    let all_digits =
        |p: Option<&str>| p.is_some_and(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()));
    (all_digits(parts.next()) && all_digits(parts.next()) && all_digits(parts.next())).then_some(id)
}

/// When the writer of one of our increments or journals began.
pub fn writer_began(name: &str) -> Option<Timestamp> {
    let (_, time) = process_id(name)
        .filter(|_| stem(name).is_some())?
        .split_once('_')?;
    let time = DateTime::strptime("%Y%m%d_%H%M%S", time).ok()?;
    time.to_zoned(TimeZone::UTC)
        .ok()
        .map(|time| time.timestamp())
}

/// The name of the increment that a stem is published as.
pub fn increment_name(stem: &str) -> String {
    format!("increment_{stem}.parquet")
}

/// The name of the rows that an undone commit had brought into main: an increment
/// without a journal, under a name that legacy code does not look for and so not remove.
pub fn staged_name(stem: &str) -> String {
    format!("staged_{stem}.parquet")
}

/// Whether a name is that of a staged increment.
pub fn is_staged(name: &str) -> bool {
    name.strip_prefix("staged_")
        .and_then(|rest| rest.strip_suffix(".parquet"))
        .is_some_and(is_stem)
}

/// The name of the journal of a stem.
pub fn journal_name(stem: &str) -> String {
    format!("journal_{stem}.jsonl")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_names_apart() {
        use IncrementalName as N;
        for (name, expected) in [
            (
                "increment_12_20260131_120000_host_0a1b_3.parquet",
                N::Increment,
            ),
            ("increment_12_20260131_120000.parquet", N::LegacyIncrement),
            ("increment_x.parquet", N::LegacyIncrement),
            (
                "staged_12_20260131_120000_host_0a1b_3.parquet",
                N::Increment,
            ),
            ("staged_x.parquet", N::Stray),
            ("journal_12_20260131_120000_host_0a1b_3.jsonl", N::Journal),
            ("journal_12.jsonl", N::Stray),
            (
                ".increment_12_20260131_120000_host_0a1b_3.parquet.tmp",
                N::Temporary,
            ),
            ("rejected_12_20260131_120000.jsonl", N::Rejected),
            ("transaction_9.tmp", N::Transaction),
            (".DS_Store", N::Stray),
            ("increment_12_20260131_120000.parquet.lock", N::Stray),
        ] {
            assert_eq!(classify(name), expected, "{name}");
        }
    }

    #[test]
    fn reads_the_process_from_both_kinds_of_names() {
        let ours = "journal_12_20260131_120000_host_0a1b_3.jsonl";
        assert_eq!(process_id(ours), Some("12_20260131_120000"));
        assert_eq!(
            process_id("increment_12_20260131_120000.parquet"),
            Some("12_20260131_120000")
        );
        assert_eq!(process_id("increment_x.parquet"), None);
        assert_eq!(stem(ours), Some("12_20260131_120000_host_0a1b_3"));
    }
}
