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

/// What an import says of itself.
fn import(folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let run = evaltop()
        .arg("import")
        .args(arguments)
        .arg("--create")
        .current_dir(folder)
        .env("TZ", "UTC")
        .output()
        .unwrap();
    let said = [run.stdout, run.stderr].map(|text| String::from_utf8(text).unwrap());
    (run.status.code(), said.concat())
}

/// An import is refused where its values don't fit those that the store has, also where the types
/// alone would.
#[test]
fn an_import_that_would_not_count_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (long, half) = (
        "pa.array([9007199254740993], pa.int64())",
        "pa.array([0.5], pa.float64())",
    );
    let (far, fine) = (
        "pa.array([253402300799], pa.timestamp('s'))",
        "pa.array([1], pa.timestamp('ns'))",
    );
    for (at, columns) in [[long, half], [half, long], [far, fine], [fine, far]]
        .iter()
        .enumerate()
    {
        let folder = folder.path().join(at.to_string());
        fs::create_dir(&folder).unwrap();
        if !made_by_pyarrow(&folder, columns) {
            return;
        }
        let file = |at: usize| format!("increment_{at}_20260131_120000.parquet");
        let (first, second) = (file(1), file(2));
        assert_eq!(import(&folder, &[&first, "--into", "store"]).0, Some(0));
        let (code, said) = import(&folder, &[&second, "--into", "store"]);
        assert_eq!(code, Some(1), "{columns:?}: {said}");
        assert!(said.contains("column 'x' is"), "{columns:?}: {said}");
        let rows = run(&folder, &["query", "store", "--format", "jsonl"]);
        assert_eq!(rows.lines().count(), 1, "{columns:?}");
        // A pull takes no such rows either.
        assert_eq!(import(&folder, &[&second, "--into", "other"]).0, Some(0));
        let pulled = evaltop()
            .args(["pull", "other", "--into", "store"])
            .current_dir(&folder)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&pulled.stderr).into_owned();
        assert!(said.contains("column 'x' is"), "{columns:?}: {said}");
    }
}

/// Times of every type are the same instants in an import and in a store, or are named.
#[test]
fn an_import_reads_times_of_every_type() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let script = r#"
import decimal, sys
import pyarrow as pa, pyarrow.parquet as pq
of = eval(sys.argv[2])
table = pa.table({"test_id": ["a"], "model": pa.array([b"opal"]), "success": [True], "timestamp": of})
pq.write_table(table, sys.argv[1])
"#;
    for (column, expected) in [
        (
            "pa.array([1790000000123456789], pa.uint64())",
            Ok("2026-09-21T14:13:20.123456Z"),
        ),
        (
            "pa.array([decimal.Decimal('1790000000123456789')], pa.decimal128(20, 0))",
            Ok("2026-09-21T14:13:20.123456Z"),
        ),
        (
            "pa.array([decimal.Decimal('1790000000.25')], pa.decimal128(20, 6))",
            Ok("2026-09-21T14:13:20.250Z"),
        ),
        (
            "pa.array([2932896], pa.date32())",
            Ok("9999-12-31T00:00:00Z"),
        ),
        (
            "pa.array([253402300799999], pa.timestamp('ms'))",
            Ok("9999-12-31T23:59:59.999Z"),
        ),
        (
            "pa.array([2**62], pa.timestamp('ms'))",
            Err("is not a time of any calendar"),
        ),
        (
            "pa.array([2**45], pa.timestamp('s', 'UTC'))",
            Err("is not a time of any calendar"),
        ),
        ("pa.array([2**64 - 1], pa.uint64())", Err("is not a time")),
        ("pa.array(['20260131T120000Z'])", Ok("2026-01-31T12:00:00Z")),
    ] {
        let file = folder.path().join("in.parquet");
        let made = std::process::Command::new(&python)
            .args(["-c", script])
            .arg(&file)
            .arg(column)
            .status();
        assert!(made.unwrap().success());
        let _ = fs::remove_dir_all(folder.path().join("store"));
        let (code, said) = import(folder.path(), &["in.parquet", "--into", "store"]);
        match expected {
            Ok(time) => {
                assert_eq!(code, Some(0), "{column}: {said}");
                let found = run(
                    folder.path(),
                    &[
                        "query",
                        "store",
                        "--format",
                        "csv",
                        "--columns",
                        "model,timestamp",
                    ],
                );
                // Bytes that are text are text.
                assert_eq!(found, format!("model,timestamp\nopal,{time}\n"), "{column}");
            }
            Err(why) => {
                assert_eq!(code, Some(1), "{column}: {said}");
                assert!(said.contains(why), "{column}: {said}");
            }
        }
    }
}

/// Half surrogate pairs, and names that are there twice, in everything that is JSON.
#[test]
fn what_is_read_otherwise_than_it_stands_is_said_in_every_form() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (half, twice) = (
        r#"{"model":"m","success":true,"x":"\ud800"}"#,
        r#"{"model":"m","success":false,"success":true}"#,
    );
    for (name, row, said) in [
        ("half", half, "half a surrogate pair"),
        ("twice", twice, "a field that is there twice"),
    ] {
        fs::write(at("lines.jsonl"), format!("{row}\n")).unwrap();
        fs::write(at("document.json"), format!("[{row}]")).unwrap();
        for file in ["lines.jsonl", "document.json"] {
            let store = format!("{name} {file}");
            let (code, notes) = import(folder.path(), &[file, "--into", &store]);
            assert_eq!(code, Some(0), "{notes}");
            assert!(notes.contains(said), "{file}: {notes}");
        }
        let store = format!("{name} recorded");
        let recorded = evaltop()
            .args(["record", "--create", &store])
            .current_dir(folder.path())
            .write_stdin(format!("{row}\n"))
            .output()
            .unwrap();
        let notes = String::from_utf8_lossy(&recorded.stderr).into_owned();
        assert!(notes.contains(said), "record: {notes}");
        let command = format!("echo '{row}'");
        let store = format!("{name} run");
        let ran = evaltop()
            .args(["run", &store, "--models", "m", "--", "sh", "-c"])
            .arg(command.replace("\\u", "\\\\u"))
            .current_dir(folder.path())
            .output()
            .unwrap();
        let notes = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert!(notes.contains(said), "run: {notes}");
        let plan = row
            .replace("\"success\"", "\"task_id\"")
            .replace("true", "\"a\"");
        fs::write(at("plan.jsonl"), plan.replace("false", "\"b\"")).unwrap();
        let planned = evaltop()
            .args([
                "run",
                "planned",
                "--plan",
                "plan.jsonl",
                "--dry-run",
                "--",
                "true",
            ])
            .current_dir(folder.path())
            .output()
            .unwrap();
        let notes = String::from_utf8_lossy(&planned.stderr).into_owned();
        assert!(
            planned.status.success() && notes.contains(said),
            "plan: {notes}"
        );
    }
    // Both in one row, and of an Inspect log also in the sample itself.
    let both = r#"{"model":"m","success":false,"success":true,"x":"\ud800"}"#;
    let log = r#"{"version": 2, "status": "success", "eval": {"eval_id": "e", "run_id": "r", "task": "t", "model": "m"},
        "samples": [{"id": "\ud800", "epoch": 2, "epoch": 1, "scores": {"s": {"value": 1}}}]}"#;
    for (file, text) in [("both.jsonl", both), ("log.json", log)] {
        fs::write(at(file), format!("{text}\n")).unwrap();
        let (code, notes) = import(folder.path(), &[file, "--into", &format!("store {file}")]);
        assert_eq!(code, Some(0), "{notes}");
        assert!(
            notes.contains("there twice") && notes.contains("half a surrogate pair"),
            "{file}: {notes}"
        );
    }
    fs::write(at("plan.csv"), "model,task_id,task_id\nm,a,b\n").unwrap();
    let planned = evaltop()
        .args([
            "run",
            "planned",
            "--plan",
            "plan.csv",
            "--dry-run",
            "--",
            "true",
        ])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&planned.stderr).into_owned();
    assert_eq!(planned.status.code(), Some(1), "{said}");
    assert!(said.contains("two columns are named 'task_id'"), "{said}");
}

/// A quote that is closed by the quote of a later line takes the lines between for one field.
#[test]
fn a_quote_that_another_line_closes_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let text = "model,task_id,success,x\nm,1,true,a\nm,2,true,\"open\nm,3,true,\"c\"\nm,4,true,d\n";
    fs::write(folder.path().join("a.csv"), text).unwrap();
    let (code, said) = import(folder.path(), &["a.csv", "--into", "store"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("line 3: a quote opens here"), "{said}");
    let planned = evaltop()
        .args(["run", "store", "--plan", "a.csv", "--dry-run", "--", "true"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&planned.stderr).into_owned();
    assert_eq!(planned.status.code(), Some(1), "{said}");
    assert!(said.contains("line 3: a quote opens here"), "{said}");
}

/// A file that does not count is named wherever its rows are missed: a test in it would run again,
/// and a row in it would neither be removed nor pulled.
#[test]
fn a_file_that_does_not_count_is_named_by_every_command_that_misses_it() {
    let folder = tempfile::tempdir().unwrap();
    let incremental = folder.path().join("store/incremental");
    fs::create_dir_all(&incremental).unwrap();
    if !made_by_pyarrow(
        &incremental,
        &["pa.array([1], pa.int64())", "pa.array(['a'])"],
    ) {
        return;
    }
    let plan = "{\"model\":\"m\",\"test_id\":\"1-0\"}\n";
    fs::write(folder.path().join("plan.jsonl"), plan).unwrap();
    for arguments in [
        &["missing", "store", "--plan", "plan.jsonl"][..],
        &[
            "run",
            "store",
            "--plan",
            "plan.jsonl",
            "--dry-run",
            "--",
            "true",
        ],
        &["remove", "store", "--model", "m", "--dry-run"],
        &["pull", "store", "--into", "other", "--dry-run"],
        &["pull", "store", "--into", "other"],
    ] {
        let ran = evaltop()
            .args(arguments)
            .current_dir(folder.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert_eq!(ran.status.code(), Some(0), "{arguments:?}: {said}");
        assert!(
            said.contains("left out: increment_2_20260131_120000.parquet: column 'x'"),
            "{arguments:?}: {said}"
        );
    }
}
