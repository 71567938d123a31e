//! Every parser of bytes from outside, as a function that takes them: the fuzz
//! targets and the smoke test call the same ones. None may panic, whatever comes.

use std::path::Path;
use std::sync::Once;

use evaltop::internals::config::Config;
use evaltop::internals::sources;
use evaltop::internals::sources::{Counted, Kind, Options, Spec};
use evaltop::internals::store::format::commit_record::CommitRecord;
use evaltop::internals::store::parquet::{ParquetFile, silence_caught_panics};
use evaltop::internals::store::read::snapshot::Scanner;
use evaltop::internals::store::{Control, RealDisk, Record, Store};
use jiff::Timestamp;

/// A parser.
pub type Target = fn(&[u8]);

/// All of them, by the names of their corpora.
pub const ALL: [(&str, Target); 16] = [
    ("parquet", parquet),
    ("commit", commit),
    ("journal", journal),
    ("record", record),
    ("jsonl", jsonl),
    ("csv", csv),
    ("parquet", table),
    ("database", database),
    ("inspect", inspect),
    ("lm_eval", lm_eval),
    ("document", document),
    ("swe_bench", swe_bench),
    ("promptfoo", promptfoo),
    ("counts", counts),
    ("mapped", mapped),
    ("config", config),
];

/// A Parquet file as an increment: its footer, its pages, and a scan of its store.
pub fn parquet(bytes: &[u8]) {
    as_file(
        "increment_1_20260131_120000.parquet",
        bytes,
        |path, store| {
            if let Ok(file) = ParquetFile::open(&RealDisk, path) {
                let _ = CommitRecord::of(&file);
                let batches = file.batches(None, 0).into_iter().flatten();
                // Rows without a value cost nothing in a file, and time to read.
                let _ = batches.take(64).all(|batch| batch.is_ok());
                if file.rows() < 100_000 {
                    look(store);
                }
            }
        },
    );
}

/// The commit record in main's footer and in `commits/`.
pub fn commit(bytes: &[u8]) {
    let _ = CommitRecord::parse(&String::from_utf8_lossy(bytes), Path::new("main"));
}

/// A dead writer's journal.
pub fn journal(bytes: &[u8]) {
    as_file(
        "journal_1_20260131_120000_host_0a_0.jsonl",
        bytes,
        |_, store| look(store),
    );
}

/// A line of `record`.
pub fn record(bytes: &[u8]) {
    let _ = Record::parse(bytes);
}

/// A file of JSON lines to import.
pub fn jsonl(bytes: &[u8]) {
    imported(bytes, Kind::Jsonl);
}

/// A CSV file to import.
pub fn csv(bytes: &[u8]) {
    imported(bytes, Kind::Csv);
}

/// A Parquet file to import.
pub fn table(bytes: &[u8]) {
    imported(bytes, Kind::Parquet);
}

/// A JSON database, of any version: its leaves, and then records made of them.
pub fn database(bytes: &[u8]) {
    imported(bytes, Kind::JsonDatabase);
}

/// A log of the Inspect framework: an archive, or one document.
pub fn inspect(bytes: &[u8]) {
    imported(bytes, Kind::Inspect);
}

/// Samples of lm-evaluation-harness.
pub fn lm_eval(bytes: &[u8]) {
    imported(bytes, Kind::LmEval);
}

/// One JSON document with rows in it, by whichever mapping fits, and by none.
pub fn document(bytes: &[u8]) {
    imported(bytes, Kind::Document);
}

/// A report of SWE-bench.
pub fn swe_bench(bytes: &[u8]) {
    imported(bytes, Kind::SweBench);
}

/// The table of promptfoo.
pub fn promptfoo(bytes: &[u8]) {
    imported(bytes, Kind::PromptfooTable);
}

/// Files of counts: of lm-evaluation-harness, Every Eval Ever and BFCL.
pub fn counts(bytes: &[u8]) {
    for of in [Counted::LmEval, Counted::EveryEval, Counted::Bfcl] {
        imported(bytes, Kind::Counts(of));
    }
}

/// Documents, lines and tables by each mapping that comes along.
pub fn mapped(bytes: &[u8]) {
    for spec in Spec::built_in() {
        imported(bytes, Kind::Mapped(spec));
    }
}

/// Settings inside a store.
pub fn config(bytes: &[u8]) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("evaltop.toml"), bytes).unwrap();
    let _ = Config::load(Some(folder.path()));
}

fn look(store: &Store) {
    let _ = Scanner::new().scan(store, Timestamp::now(), &Control::default());
}

fn imported(bytes: &[u8], kind: Kind) {
    as_file(
        "samples_task_2026-01-31T12-00-00.000000.jsonl",
        bytes,
        |path, store| {
            let _ = sources::detect::detect(path);
            let options = Options {
                kind: Some(kind),
                ..Options::default()
            };
            let _ = sources::import(store, path, &options, Timestamp::now(), &Control::default());
        },
    );
}

fn as_file(name: &str, bytes: &[u8], then: impl FnOnce(&Path, &Store)) {
    // The fuzzer takes every panic for a crash, also those that are caught.
    static CAUGHT: Once = Once::new();
    CAUGHT.call_once(silence_caught_panics);
    let folder = tempfile::tempdir().unwrap();
    let incremental = folder.path().join("incremental");
    std::fs::create_dir(&incremental).unwrap();
    let path = incremental.join(name);
    std::fs::write(&path, bytes).unwrap();
    then(&path, &Store::new(folder.path()));
}
