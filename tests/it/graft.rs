//! A main of which most was copied, as other readers see it.

use std::path::Path;
use std::process::Command;

use crate::support::{evaltop, python};

fn stores(python: &Path, command: &str, store: &Path) -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/graft/stores.py");
    let output = Command::new(python)
        .args([script, command])
        .arg(store)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{command}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Where the chunks of a file's first row group end.
fn first_group_end(file: &[u8]) -> usize {
    use parquet::file::metadata::ColumnChunkMetaData;
    use parquet::file::reader::{FileReader, SerializedFileReader};
    let reader = SerializedFileReader::new(bytes::Bytes::copy_from_slice(file)).unwrap();
    let group = reader.metadata().row_group(0);
    group
        .columns()
        .iter()
        .map(ColumnChunkMetaData::byte_range)
        .map(|(start, length)| start + length)
        .max()
        .unwrap() as usize
}

#[test]
fn a_main_of_which_most_was_copied_is_what_other_readers_expect() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    let main = store.join("test_results.parquet");
    let consolidate = || {
        let output = evaltop()
            .args(["consolidate", "--format", "json"])
            .arg(&store)
            .output()
            .unwrap();
        assert_eq!(
            output.status.code(),
            Some(0),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()
    };
    stores(&python, "write", &store);
    assert_eq!(consolidate()["rows_total"], 150_000);
    let before = std::fs::read(&main).unwrap();
    stores(&python, "add", &store);
    let done = consolidate();
    assert_eq!(
        (&done["rows_added"], &done["rows_superseded"]),
        (&1_100.into(), &100.into())
    );
    let after = std::fs::read(&main).unwrap();
    let same = before
        .iter()
        .zip(&after)
        .take_while(|(one, other)| one == other)
        .count();
    let first_group = first_group_end(&before);
    assert!(
        same >= first_group,
        "only {same} of the {first_group} bytes of the first row group are the same"
    );
    assert_eq!(stores(&python, "check", &store).trim(), "151000");
}
