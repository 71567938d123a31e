//! The programs in `examples/` write, read and merge one store through the library alone.

use std::path::Path;
use std::process::Command;

/// Runs one of them; Cargo builds them next to the program.
fn example(name: &str, arguments: &[&str]) -> String {
    let folder = Path::new(env!("CARGO_BIN_EXE_evaltop")).parent().unwrap();
    let program = folder.join("examples").join(name);
    let output = Command::new(&program).args(arguments).output();
    let output = output
        .unwrap_or_else(|error| panic!("{}: {error}: cargo build --examples", program.display()));
    assert!(output.status.success(), "{name}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_examples_record_consolidate_and_read_one_store() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    let store = store.to_str().unwrap();
    assert_eq!(example("record", &[store]), "opal-4: 10 tests\n");
    let merged = example("consolidate", &[store]);
    assert!(merged.starts_with("10 rows added, 10 in main"), "{merged}");
    let rows = example("rows", &[store, "opal-4"]);
    assert!(rows.starts_with("10 rows of"), "{rows}");
    assert_eq!(example("rows", &[store, "another"]), "");
}
