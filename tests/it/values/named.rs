//! Values that programs like this one are known to change, one test for each kind.

use super::*;
use crate::support::python;

/// pyarrow files of one column `x`, one for each line of Python that makes it.
fn made_by_pyarrow(folder: &Path, columns: &[&str]) -> bool {
    let Some(python) = python() else { return false };
    let script = r#"
import datetime, decimal, sys
import pyarrow as pa, pyarrow.parquet as pq
for at, made in enumerate(sys.argv[2:]):
    x = eval(made)
    n = len(x)
    table = pa.table({"test_id": [f"{at}-{row}" for row in range(n)], "model": ["m"] * n, "success": [True] * n, "x": x})
    pq.write_table(table, f"{sys.argv[1]}/increment_{at + 1}_20260131_120000.parquet")
"#;
    let made = std::process::Command::new(python)
        .args(["-c", script])
        .arg(folder)
        .args(columns)
        .status()
        .unwrap();
    assert!(made.success());
    true
}

/// Numbers and times that a narrower type would change: each stays what it is, or its file is
/// named and stays where it is.
#[test]
fn values_beyond_a_type_stay_what_they_are() {
    for (columns, expected) in [
        (
            vec!["pa.array([2**63, 2**64 - 1, 7], pa.uint64())"],
            vec!["9223372036854775808", "18446744073709551615", "7"],
        ),
        (
            vec![
                "pa.array([9007199254740993], pa.int64())",
                "pa.array([0.5], pa.float64())",
            ],
            vec!["9007199254740993", "0.5"],
        ),
        (
            vec![
                "pa.array([9007199254740993], pa.int64())",
                "pa.array([2**63], pa.uint64())",
            ],
            vec!["9007199254740993", "9223372036854775808"],
        ),
        (
            vec![
                "pa.array([decimal.Decimal('12345678901234567890.123456789')], pa.decimal128(38, 9))",
            ],
            vec!["12345678901234567890.123456789"],
        ),
        (
            vec![
                "pa.array([decimal.Decimal('0.1')], pa.decimal128(20, 18))",
                "pa.array([3], pa.int64())",
            ],
            vec!["0.1", "3"],
        ),
        (
            vec![
                "pa.array([decimal.Decimal('1' + '0' * 36 + '1')], pa.decimal128(38, 0))",
                "pa.array([0.25], pa.float64())",
            ],
            vec!["10000000000000000000000000000000000001", "0.25"],
        ),
        (
            vec![
                "pa.array([253402300799999], pa.timestamp('ms', 'UTC'))",
                "pa.array([1], pa.timestamp('ns', 'UTC'))",
            ],
            vec!["9999-12-31T23:59:59.999", "1970-01-01T00:00:00.000000001"],
        ),
        (
            vec![
                "pa.array([-1], pa.int8())",
                "pa.array([2**64 - 1], pa.uint64())",
            ],
            vec!["-1", "18446744073709551615"],
        ),
        (
            vec![
                "pa.array([16777217], pa.int32())",
                "pa.array([0.1], pa.float32())",
            ],
            vec!["16777217", "0.10000000149011612"],
        ),
        (
            vec!["pa.array([True, False])", "pa.array([2], pa.int64())"],
            vec!["true", "false", "2"],
        ),
        (
            vec!["pa.array(['007', '1.0'])", "pa.array([7], pa.int64())"],
            vec!["007", "1.0", "7"],
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let incremental = folder.path().join("store/incremental");
        fs::create_dir_all(&incremental).unwrap();
        if !made_by_pyarrow(&incremental, &columns) {
            return;
        }
        let ids: Vec<String> = (0..columns.len())
            .flat_map(|at| (0..expected.len()).map(move |row| format!("{at}-{row}")))
            .collect();
        let mut before = None;
        for round in ["pending", "consolidated"] {
            let query = evaltop()
                .args([
                    "query",
                    "store",
                    "--format",
                    "csv",
                    "--columns",
                    "test_id,x",
                    "--sort",
                    "test_id",
                ])
                .current_dir(folder.path())
                .output()
                .unwrap();
            let text = String::from_utf8(query.stdout).unwrap();
            let reported = String::from_utf8(query.stderr).unwrap();
            let found: Vec<&str> = text
                .lines()
                .skip(1)
                .filter_map(|line| Some(line.split_once(',')?.1))
                .collect();
            let bare = |text: &str| {
                let text = text.trim_end_matches('Z').trim_end_matches("+00:00");
                if text.contains('.') && !text.contains('T') && !text.starts_with("1.") {
                    text.trim_end_matches('0').trim_end_matches('.').to_owned()
                } else {
                    text.to_owned()
                }
            };
            for value in &expected {
                let there = found.iter().any(|found| bare(found) == *value);
                // A file that does not fit is named.
                assert!(
                    there || reported.contains("left out: "),
                    "{columns:?}, {round}: no {value} in {found:?} of {ids:?}\n{reported}"
                );
            }
            for found in &found {
                assert!(
                    expected.contains(&bare(found).as_str()),
                    "{columns:?}, {round}: {found}"
                );
            }
            assert!(
                found.len() == expected.len() || reported.contains("left out: "),
                "{columns:?}: {text}\n{reported}"
            );
            let count = found.len();
            assert_eq!(
                *before.get_or_insert(count),
                count,
                "{columns:?}: consolidating loses nothing"
            );
            let consolidated = evaltop()
                .args(["consolidate", "store"])
                .current_dir(folder.path())
                .output()
                .unwrap();
            assert!(
                matches!(consolidated.status.code(), Some(0 | 10)),
                "{columns:?}: {consolidated:?}"
            );
            let left = fs::read_dir(&incremental).unwrap().filter(|entry| {
                let name = entry.as_ref().unwrap().file_name();
                name.to_string_lossy().ends_with(".parquet")
            });
            assert!(
                left.count() > 0 || count == expected.len(),
                "{columns:?}: nothing goes that is not in main"
            );
        }
    }
}

/// Conditions see whole numbers of 2^63 and above.
#[test]
fn conditions_see_the_largest_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let incremental = folder.path().join("store/incremental");
    fs::create_dir_all(&incremental).unwrap();
    if !made_by_pyarrow(
        &incremental,
        &["pa.array([2**63, 2**64 - 1, 7, None], pa.uint64())"],
    ) {
        return;
    }
    for (condition, rows) in [
        ("x is null", 1),
        ("x is not null", 3),
        ("x > 7", 2),
        ("x >= 9223372036854775808", 2),
        ("x = 7", 1),
        ("x != 7", 2),
        ("not x > 7", 1),
    ] {
        let found = run(
            folder.path(),
            &[
                "query",
                "store",
                "--format",
                "jsonl",
                "--columns",
                "test_id",
                "--where",
                condition,
            ],
        );
        assert_eq!(found.lines().count(), rows, "{condition}");
    }
}

/// Files with Parquet's encryption, of the footer too and of columns alone.
#[test]
fn encrypted_files_are_called_encrypted() {
    let Some(python) = crate::support::python_with("pyarrow.parquet.encryption") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let script = r#"
import base64, sys
import pyarrow as pa, pyarrow.parquet as pq, pyarrow.parquet.encryption as pe

class Kms(pe.KmsClient):
    def __init__(self, _):
        pe.KmsClient.__init__(self)
    def wrap_key(self, key, master):
        return base64.b64encode(key)
    def unwrap_key(self, key, master):
        return base64.b64decode(key)

table = pa.table({"test_id": ["a", "b"], "model": ["m", "m"], "success": [True, False]})
for name, plain in [("footer.parquet", False), ("columns.parquet", True)]:
    settings = pe.EncryptionConfiguration(footer_key="f", column_keys={"c": ["success"]}, plaintext_footer=plain)
    factory = pe.CryptoFactory(Kms)
    properties = factory.file_encryption_properties(pe.KmsConnectionConfig(), settings)
    with pq.ParquetWriter(f"{sys.argv[1]}/{name}", table.schema, encryption_properties=properties) as writer:
        writer.write_table(table)
"#;
    let made = std::process::Command::new(python)
        .args(["-c", script])
        .arg(folder.path())
        .output()
        .unwrap();
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    for name in ["footer.parquet", "columns.parquet"] {
        let said = |args: &[&str]| {
            let run = evaltop()
                .args(args)
                .current_dir(folder.path())
                .output()
                .unwrap();
            assert!(!run.status.success(), "{name}: {args:?}");
            let reported = String::from_utf8_lossy(&run.stderr).into_owned();
            assert!(
                reported.contains("encrypted") && reported.contains(name),
                "{args:?}: {reported}"
            );
        };
        said(&["import", name, "--into", "imported", "--create"]);
        said(&["merge", name, name, "-o", "out.parquet"]);
        let store = folder.path().join(name.trim_end_matches(".parquet"));
        fs::create_dir_all(store.join("incremental")).unwrap();
        let pending = store.join("incremental/increment_1_20260131_120000.parquet");
        fs::copy(folder.path().join(name), &pending).unwrap();
        let old = fs::File::options().append(true).open(&pending).unwrap();
        old.set_modified(std::time::SystemTime::now() - std::time::Duration::from_secs(600))
            .unwrap();
        let query = evaltop()
            .arg("query")
            .arg(&store)
            .arg("--strict")
            .output()
            .unwrap();
        let reported = String::from_utf8_lossy(&query.stderr).into_owned();
        assert_eq!(query.status.code(), Some(10), "{reported}");
        assert!(reported.contains("encrypted"), "{reported}");
        let status = evaltop().arg("status").arg(&store).output().unwrap();
        let status = String::from_utf8_lossy(&status.stdout).into_owned();
        assert!(status.contains("1 unreadable"), "{status}");
        let validated = evaltop().arg("validate").arg(&store).output().unwrap();
        let validated = String::from_utf8_lossy(&validated.stdout).into_owned();
        assert!(validated.contains("encrypted"), "{validated}");
        evaltop().arg("consolidate").arg(&store).output().unwrap();
        let aside = fs::read_dir(store.join("incremental")).unwrap().count();
        let quarantined = fs::read_dir(store.join("quarantine")).map_or(0, Iterator::count);
        assert_eq!(
            (pending.exists(), quarantined),
            (aside > 0, usize::from(aside == 0)),
            "it is kept"
        );
    }
}

/// A missing score is not a failure, whatever form the table has.
#[test]
fn a_missing_score_is_unscored_in_every_form() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("t.csv"), "model,task_id,score\nm,a,0.9\nm,b,\nm,c,0.1\n").unwrap();
    fs::write(
        at("t.jsonl"),
        "{\"model\":\"m\",\"task_id\":\"a\",\"score\":0.9}\n{\"model\":\"m\",\"task_id\":\"b\",\"score\":null}\n{\"model\":\"m\",\"task_id\":\"c\",\"score\":0.1}\n",
    )
    .unwrap();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("model", Arc::new(StringArray::from(vec!["m"; 3]))),
        ("task_id", Arc::new(StringArray::from(vec!["a", "b", "c"]))),
        (
            "score",
            Arc::new(Float64Array::from(vec![Some(0.9), None, Some(0.1)])),
        ),
    ];
    write(
        &at("t.parquet"),
        &RecordBatch::try_from_iter(columns).unwrap(),
    );
    for form in ["csv", "jsonl", "parquet"] {
        for (name, flags, expected) in [
            ("judged", vec!["--success-from", "score>=0.5"], (3, 1, 1, 1)),
            ("scores", vec![], (3, 0, 0, 3)),
        ] {
            let (file, store) = (format!("t.{form}"), format!("{form}-{name}"));
            let mut args = vec!["import", &file, "--into", &store, "--create"];
            args.extend(&flags);
            evaltop()
                .args(&args)
                .current_dir(folder.path())
                .assert()
                .success();
            let status = evaltop()
                .args(["status", &store, "--format", "json"])
                .current_dir(folder.path())
                .output()
                .unwrap();
            let seen: Value = serde_json::from_slice(&status.stdout).unwrap();
            let of = |name: &str| seen["totals"][name].as_u64().unwrap();
            let found = (of("tests"), of("success"), of("failed"), of("unscored"));
            assert_eq!(found, expected, "{form} {name}: {seen:#}");
            // Where nothing is judged, the score is what is shown.
            let metric = if name == "scores" {
                Value::from("score")
            } else {
                Value::Null
            };
            assert_eq!(seen["metric"]["name"], metric, "{form} {name}");
            if name == "scores" {
                assert_eq!(
                    (&seen["metric"]["n"], &seen["metric"]["mean"]),
                    (&2.into(), &0.5.into())
                );
            }
        }
    }
}
