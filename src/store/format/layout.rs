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
/// Which files were imported.
pub const IMPORTS: &str = "imports.jsonl";

/// Names of which any one makes a folder a store.
pub const PARTS: [&str; 4] = [MAIN, "incremental", "commits", "backups"];

/// The paths of one store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    root: PathBuf,
    /// What people call the store, where that is not its folder.
    name: Option<PathBuf>,
}

impl Layout {
    /// The store in `root`. Touches nothing.
    pub fn new(root: impl AsRef<Path>) -> Self {
        Self {
            root: root.as_ref().to_path_buf(),
            name: None,
        }
    }

    /// The same under a name that people know.
    #[must_use]
    pub fn called(self, name: impl Into<PathBuf>) -> Self {
        Self {
            name: Some(name.into()),
            ..self
        }
    }

    /// What people call the store: its folder, unless it has another name.
    pub fn name(&self) -> &Path {
        self.name.as_deref().unwrap_or(&self.root)
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

    /// Which files were imported.
    pub fn imports(&self) -> PathBuf {
        self.root.join(IMPORTS)
    }

    /// Where writers publish increments and keep journals.
    pub fn incremental(&self) -> PathBuf {
        self.root.join("incremental")
    }

    /// Where commits move their inputs: a folder for each commit.
    pub fn consumed(&self) -> PathBuf {
        self.incremental().join(CONSUMED)
    }

    /// Copies of the last commit records.
    pub fn commits(&self) -> PathBuf {
        self.root.join("commits")
    }

    /// Heartbeats of writers.
    pub fn live(&self) -> PathBuf {
        self.root.join("live")
    }

    /// Plans and metadata of sessions.
    pub fn sessions(&self) -> PathBuf {
        self.root.join("sessions")
    }

    /// How far pulls from other places are.
    pub fn sources(&self) -> PathBuf {
        self.root.join("sources")
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

/// The folder inside `incremental/` with a folder for each commit that moved its inputs.
pub const CONSUMED: &str = ".consumed";

/// What is appended to the name of a file in such a folder. A `**` of DuckDB looks into folders
/// whose names begin with a dot too.
const MOVED: &str = ".consumed";

/// The name of the folder of a commit.
pub fn folder_name(generation: u64, commit_id: &str) -> String {
    format!("{generation:08}_{commit_id}")
}

/// The commit of such a folder: its number and id; `None` for any other name.
pub fn folder_commit(name: &str) -> Option<(u64, &str)> {
    let (generation, id) = name.split_once('_')?;
    (!id.is_empty() && !id.contains('.')).then_some((generation.parse().ok()?, id))
}

/// The name that a file has in a folder of a commit.
pub fn moved_name(name: &str) -> String {
    format!("{name}{MOVED}")
}

/// The same of a further version of a file.
pub fn moved_version(name: &str, number: u32) -> String {
    format!("{name}{MOVED}.{number}")
}

/// Whether a name is that of a moved file.
pub fn is_moved(name: &str) -> bool {
    name.contains(MOVED)
}

/// The place inside `incremental/` of a file in a folder of a commit.
pub fn moved_place(folder: &str, name: &str) -> String {
    format!("{CONSUMED}/{folder}/{name}")
}

/// The folder of a commit in which a file lies; `None` for a file of `incremental/` itself.
pub fn folder_of(place: &str) -> Option<&str> {
    let inside = place.strip_prefix(CONSUMED)?.strip_prefix('/')?;
    inside.split_once('/').map(|(folder, _)| folder)
}

/// The name that a file had before a commit moved it.
pub fn bare_name(place: &str) -> &str {
    match folder_of(place) {
        Some(_) => {
            let name = place.rsplit_once('/').map_or(place, |(_, name)| name);
            name.find(MOVED)
                .and_then(|end| name.get(..end))
                .unwrap_or(name)
        }
        None => place,
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

/// Says what a name inside `incremental/` means.
pub fn classify(name: &str) -> IncrementalName {
    let (moved, name) = (folder_of(name).is_some(), bare_name(name));
    // A main that other code wrote, which a commit took in.
    if moved && name == MAIN {
        return IncrementalName::LegacyIncrement;
    }
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
const TEMPORARY: [&str; 12] = [
    ".test_results.",
    ".model_stats.",
    ".test_keys.",
    ".metadata.",
    ".operations.",
    ".imports.",
    ".summaries_",
    ".removed_",
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

/// The name that a legacy increment had before a program of format 1 retired it.
pub fn unretired_name(name: &str) -> String {
    name.strip_prefix("increment_retired_")
        .map_or_else(|| name.to_owned(), |rest| format!("increment_{rest}"))
}

/// The name of what one run claims for itself.
pub fn run_claim_name(id: &str) -> String {
    format!("run_{id}.lock")
}

/// Whether a name next to main is such a claim.
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

/// The file in `quarantine/` that a name belongs to: a reason belongs to what it is for.
pub fn quarantined(name: &str) -> &str {
    name.strip_suffix(".reason.txt").unwrap_or(name)
}

/// The name of a file of summary rows whose bytes have this hash.
pub fn summaries_name(xxh3: &str) -> String {
    format!("summaries_{xxh3}.parquet")
}

/// The hash in the name of a file of summary rows; `None` for any other name.
pub fn summaries_hash(name: &str) -> Option<&str> {
    hash_after("summaries_", name)
}

/// The name of a removed set whose bytes have this hash.
pub fn removed_name(xxh3: &str) -> String {
    format!("removed_{xxh3}.parquet")
}

/// The hash in the name of a removed set; `None` for any other name.
pub fn removed_hash(name: &str) -> Option<&str> {
    hash_after("removed_", name)
}

fn hash_after<'a>(prefix: &str, name: &'a str) -> Option<&'a str> {
    let hash = name.strip_prefix(prefix)?.strip_suffix(".parquet")?;
    (hash.len() == 16 && hash.bytes().all(|b| b.is_ascii_hexdigit())).then_some(hash)
}

/// What rows of an increment or a journal that bring no id are named after: the part of the name
/// that stays when the file is published, retired or consumed.
pub fn source_name(name: &str) -> String {
    stem(name).map_or_else(|| unretired_name(bare_name(name)), str::to_owned)
}

/// The part that one of our increments and its journal share,
/// `<pid>_<YYYYmmdd_HHMMSS>_<host>_<random>_<seq>`; `None` for any other name.
pub fn stem(name: &str) -> Option<&str> {
    let name = bare_name(name);
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
    // Every name is looked at at each scan: by bytes, several times as fast as by characters.
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
    let name = bare_name(name);
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

/// The name of the heartbeat of a writer.
pub fn live_name(writer: &str) -> String {
    format!("{writer}.json")
}

/// Whether a name inside `live/` is a heartbeat.
pub fn is_live(name: &str) -> bool {
    name.strip_suffix(".json").is_some()
}

/// The writer of a [`stem`]: what all its names share.
pub fn writer(stem: &str) -> &str {
    stem.rsplit_once('_').map_or(stem, |(writer, _)| writer)
}

/// The name of the journal of a stem.
pub fn journal_name(stem: &str) -> String {
    format!("journal_{stem}.jsonl")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distinguishes_names() {
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
            (
                ".consumed/00000007_c/increment_12_20260131_120000.parquet.consumed",
                N::LegacyIncrement,
            ),
            (
                ".consumed/00000007_c/test_results.parquet.consumed",
                N::LegacyIncrement,
            ),
            (MAIN, N::Stray),
            (
                ".consumed/00000007_c/journal_12_20260131_120000_host_0a1b_3.jsonl.consumed",
                N::Journal,
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
    fn a_file_in_a_folder_of_a_commit_has_the_name_that_it_had() {
        let name = "increment_12_20260131_120000_host_0a1b_3.parquet";
        let place = moved_place(&folder_name(7, "c"), &moved_name(name));
        assert_eq!(place, format!(".consumed/00000007_c/{name}.consumed"));
        assert_eq!(
            (bare_name(&place), folder_of(&place)),
            (name, Some("00000007_c"))
        );
        assert_eq!((bare_name(name), folder_of(name)), (name, None));
        let again = moved_place(&folder_name(7, "c"), &moved_version(name, 2));
        assert_eq!(bare_name(&again), name);
        assert_eq!(
            (stem(&place), source_name(&place)),
            (stem(name), source_name(name))
        );
        assert_eq!(process_id(&place), process_id(name));
        assert_eq!(folder_commit("00000007_c"), Some((7, "c")));
        assert_eq!(folder_commit("x_c"), None);
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
