//! One byte of each kind of file is turned over: a check says it by name, and a repair does
//! nothing to a row.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::*;
use crate::store::commit::consolidate;
use crate::store::parquet::ParquetFile;
use crate::store::testing::fixture::{Fixture, STEM, batch, records};

/// A store with a backup, an increment of ours and a dead writer's journal.
fn store() -> Fixture {
    let fixture = Fixture::new();
    let name = |n: u32| format!("increment_2{n}_20260131_120000_host_0a1b_0.parquet");
    for n in 0..3 {
        fixture.increment(
            &name(n),
            &batch(&records(i64::from(n) * 40, i64::from(n) * 40 + 40)),
        );
        if n < 2 {
            let options = consolidate::Options::default();
            consolidate::run(&fixture.store, &options, fixture.now, &Control::default()).unwrap();
        }
    }
    drop(fixture.journal(STEM, &records(200, 210)));
    fixture
}

/// The file of this name, or the first in a folder of this suffix.
fn find(fixture: &Fixture, name: &str) -> PathBuf {
    let path = fixture.store.layout.root().join(name);
    let Some((folder, suffix)) = name.split_once('*') else {
        return path;
    };
    let folder = fixture.store.layout.root().join(folder);
    let mut paths: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths.retain(|path| path.to_str().unwrap().ends_with(suffix) && path.is_file());
    paths
        .into_iter()
        .next_back()
        .unwrap_or_else(|| panic!("{name}"))
}

/// Where the footer of a Parquet file begins.
fn footer(bytes: &[u8]) -> usize {
    bytes.len() - 8 - u32::from_le_bytes(bytes[bytes.len() - 8..][..4].try_into().unwrap()) as usize
}

fn rows(fixture: &Fixture) -> u64 {
    let snapshot = Scanner::new().scan(&fixture.store, fixture.now, &Control::default());
    snapshot.map_or(0, |snapshot| {
        snapshot.cells.values().map(|tally| tally.tests).sum()
    })
}

/// Where the pages of a column are.
fn chunk(path: &Path, column: &str) -> Range<usize> {
    let file = ParquetFile::open(&crate::store::RealDisk, path).unwrap();
    let group = file.metadata().row_group(0);
    let chunk = group
        .columns()
        .iter()
        .find(|chunk| chunk.column_path().string() == column)
        .unwrap();
    let (start, length) = chunk.byte_range();
    start as usize..(start + length) as usize
}

#[test]
fn a_turned_byte_is_reported_by_the_name_of_its_file() {
    type At = fn(&Path, &[u8]) -> usize;
    let in_page: At = |path, _| chunk(path, "success").end - 3;
    let in_ids: At = |path, _| chunk(path, "test_id").end - 3;
    // What has no checksum of its own is reported where it can't be unpacked.
    let header: At = |path, _| chunk(path, "success").start + 1;
    let in_footer: At = |_, bytes| footer(bytes) + 40;
    let magic: At = |_, bytes| bytes.len() - 2;
    let middle: At = |_, bytes| bytes.len() / 2;
    let beginning: At = |_, _| 0;
    for (name, region, at) in [
        ("test_results.parquet", "a page", in_page),
        ("test_results.parquet", "a page of ids", in_ids),
        ("test_results.parquet", "the schema", in_footer),
        ("test_results.parquet", "the end", magic),
        ("incremental/*.parquet", "a page", header),
        ("incremental/*.parquet", "the end", magic),
        ("incremental/*.jsonl", "the first line", beginning),
        ("backups/*.parquet", "a page", header),
        ("backups/*.parquet", "the end", magic),
        ("commits/*.done", "the beginning", beginning),
        ("metadata.json", "the beginning", beginning),
        ("model_stats.parquet", "the end", magic),
        ("*", "the index of keys", middle),
    ] {
        let mut fixture = store();
        let path = if name == "*" {
            let names = fs::read_dir(fixture.store.layout.root())
                .unwrap()
                .map(|entry| entry.unwrap().path());
            names
                .into_iter()
                .find(|path| {
                    path.file_name()
                        .unwrap()
                        .to_str()
                        .unwrap()
                        .starts_with(".test_keys.")
                })
                .unwrap()
        } else {
            find(&fixture, name)
        };
        let all = rows(&fixture);
        assert_eq!(all, 130);
        let mut bytes = fs::read(&path).unwrap();
        let at = at(&path, &bytes);
        bytes[at] ^= 0x55;
        fs::write(&path, &bytes).unwrap();
        fixture.now = fixture
            .now
            .checked_add(jiff::SignedDuration::from_hours(2))
            .unwrap();
        let before = rows(&fixture);
        let report = check(&fixture.store, fixture.now, &Control::default()).unwrap();
        let file = path
            .strip_prefix(fixture.store.layout.root())
            .unwrap()
            .display()
            .to_string();
        let reported = report
            .findings
            .iter()
            .find(|finding| finding.file == file && !is_ordinary(finding));
        assert!(
            reported.is_some(),
            "{region} of {name}: {:?}",
            report.findings
        );
        repair(&fixture.store, &report, fixture.now, &Control::default()).unwrap();
        assert_eq!(rows(&fixture), before, "{region} of {name}");
        // What is damaged is still there, or in quarantine.
        let kept = fixture
            .store
            .layout
            .quarantine()
            .join(path.file_name().unwrap());
        let derived = ["metadata.json", "model_stats.parquet"].contains(&file.as_str());
        assert!(
            derived
                || [&path, &kept]
                    .iter()
                    .any(|path| fs::read(path).is_ok_and(|now| now == bytes))
        );
    }
}

/// What is reported of a whole journal too.
fn is_ordinary(finding: &Finding) -> bool {
    finding.message.contains("its writer died and left 10 rows")
}
