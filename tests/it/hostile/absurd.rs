//! Files that claim absurd sizes: reading them takes no more memory than there is.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::process::{Command, Stdio};

/// Address space that the program gets, in KiB: a gigabyte.
const LIMIT: u64 = 1 << 20;

/// Runs the program with little memory; its exit code and what it said.
fn run(arguments: &[&str], dir: &Path, input: &[u8]) -> (i32, String) {
    let mut child = Command::new("sh")
        .args([
            "-c",
            &format!("ulimit -v {LIMIT}; exec \"$0\" \"$@\""),
            env!("CARGO_BIN_EXE_evaltop"),
        ])
        .args(arguments)
        .arg(dir)
        .env("EVALTOP_CONFIG", "/dev/null")
        .env("XDG_STATE_HOME", dir.with_extension("state"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may end before it has read all.
    let _ = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    let code = output.status.code();
    (
        code.unwrap_or_else(|| panic!("{arguments:?} died: {} {said}", output.status)),
        said,
    )
}

/// A struct of Thrift's compact protocol.
#[derive(Default)]
struct Thrift {
    bytes: Vec<u8>,
    last: u8,
}

const I32: u8 = 5;
const I64: u8 = 6;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const STRUCT: u8 = 12;

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

impl Thrift {
    fn field(mut self, id: u8, kind: u8, value: &[u8]) -> Self {
        self.bytes.push((id - self.last) << 4 | kind);
        self.bytes.extend_from_slice(value);
        self.last = id;
        self
    }

    fn int(self, id: u8, kind: u8, value: i64) -> Self {
        self.field(id, kind, &varint((value << 1 ^ value >> 63) as u64))
    }

    fn text(self, id: u8, text: &str) -> Self {
        self.field(
            id,
            BINARY,
            &[&varint(text.len() as u64), text.as_bytes()].concat(),
        )
    }

    fn list(self, id: u8, kind: u8, items: &[Vec<u8>]) -> Self {
        let head = [vec![0xf0 | kind], varint(items.len() as u64)].concat();
        self.field(id, LIST, &[head, items.concat()].concat())
    }

    fn end(mut self) -> Vec<u8> {
        self.bytes.push(0);
        self.bytes
    }
}

/// Parquet's physical types.
const BOOLEAN: i64 = 0;
const INT64: i64 = 2;
const TEXT: i64 = 6;
const FIXED: i64 = 7;

/// A file with these pages, and a footer that says that they are the rows of each of these
/// columns, the first of them in so many nested groups.
fn parquet(pages: &[u8], rows: i64, columns: &[(&str, i64)], depth: usize) -> Vec<u8> {
    let group = |name: &str| {
        Thrift::default()
            .int(3, I32, 0)
            .text(4, name)
            .int(5, I32, 1)
            .end()
    };
    let mut schema = vec![
        Thrift::default()
            .text(4, "schema")
            .int(5, I32, columns.len() as i64)
            .end(),
    ];
    schema.extend((0..depth).map(|_| group("g")));
    for &(name, kind) in columns {
        let element = Thrift::default()
            .int(1, I32, kind)
            .int(2, I32, i64::from(i32::MAX))
            .int(3, I32, 0);
        let element = element.text(4, name);
        schema.push(if kind == TEXT {
            element.int(6, I32, 0).end()
        } else {
            element.end()
        });
    }
    let text = |text: &str| [varint(text.len() as u64), text.as_bytes().to_vec()].concat();
    let size = pages.len() as i64;
    let chunks: Vec<_> = columns
        .iter()
        .enumerate()
        .map(|(at, &(name, kind))| {
            let depth = if at == 0 { depth } else { 0 };
            let path: Vec<_> = (0..depth).map(|_| text("g")).chain([text(name)]).collect();
            let column = Thrift::default()
                .int(1, I32, kind)
                .list(2, I32, &[varint(0), varint(16)])
                .list(3, BINARY, &path)
                .int(4, I32, 1)
                .int(5, I64, rows)
                .int(6, I64, size)
                .int(7, I64, size)
                .int(9, I64, 4)
                .int(11, I64, 4)
                .end();
            Thrift::default()
                .int(2, I64, 4)
                .field(3, STRUCT, &column)
                .end()
        })
        .collect();
    let group = Thrift::default()
        .list(1, STRUCT, &chunks)
        .int(2, I64, size)
        .int(3, I64, rows)
        .end();
    let footer = Thrift::default()
        .int(1, I32, 1)
        .list(2, STRUCT, &schema)
        .int(3, I64, rows)
        .list(4, STRUCT, &[group])
        .end();
    [
        b"PAR1",
        pages,
        &footer,
        &(footer.len() as u32).to_le_bytes(),
        b"PAR1",
    ]
    .concat()
}

/// A dictionary page that claims a size, of Snappy's bytes that claim it too.
fn dictionary(claimed: i64, values: i64) -> Vec<u8> {
    let body = [varint(claimed as u64), vec![0; 64]].concat();
    let page = Thrift::default().int(1, I32, values).int(2, I32, 0).end();
    let header = Thrift::default()
        .int(1, I32, 2)
        .int(2, I32, claimed)
        .int(3, I32, body.len() as i64)
        .field(7, STRUCT, &page)
        .end();
    [header, body].concat()
}

/// A dictionary page of 60 zeros that claims more values.
fn zeros(values: i64) -> Vec<u8> {
    let packed = [&[60, 59 << 2][..], &[0; 60]].concat();
    let page = Thrift::default().int(1, I32, values).int(2, I32, 0).end();
    let header = Thrift::default()
        .int(1, I32, 2)
        .int(2, I32, 60)
        .int(3, I32, packed.len() as i64)
        .field(7, STRUCT, &page)
        .end();
    [header, packed].concat()
}

/// A page of one text whose encoding claims to be of a trillion lengths.
fn lengths() -> Vec<u8> {
    let body = [&[0x80, 0x01, 4][..], &varint(1 << 40), &[0; 16]].concat();
    let packed = [
        varint(body.len() as u64),
        vec![(body.len() as u8 - 1) << 2],
        body.clone(),
    ]
    .concat();
    let page = Thrift::default()
        .int(1, I32, 1)
        .int(2, I32, 6)
        .int(3, I32, 3)
        .int(4, I32, 3)
        .end();
    let header = Thrift::default()
        .int(1, I32, 0)
        .int(2, I32, body.len() as i64)
        .int(3, I32, packed.len() as i64)
        .field(5, STRUCT, &page)
        .end();
    [header, packed].concat()
}

fn store() -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("store");
    let (code, said) = run(&["record"], &dir, b"{\"model\":\"m\",\"success\":true}\n");
    assert_eq!(code, 0, "{said}");
    (folder, dir)
}

fn make_old(path: &Path) {
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
    File::options()
        .write(true)
        .open(path)
        .unwrap()
        .set_modified(old)
        .unwrap();
}

#[test]
fn parquet_files_that_claim_more_than_they_hold() {
    let columns = [("model", TEXT), ("success", BOOLEAN)];
    let mut huge_footer = parquet(&[], 0, &columns, 0);
    let length = huge_footer.len();
    huge_footer[length - 8..length - 4].copy_from_slice(&0x7fff_ffff_u32.to_le_bytes());
    let most = i64::from(i32::MAX);
    for (what, bytes, hole) in [
        (
            "a billion rows",
            parquet(&dictionary(10, 1), 1_000_000_000, &columns, 0),
            0,
        ),
        (
            "a dictionary of 2 GiB",
            parquet(&dictionary(most, 1), 1, &columns, 0),
            0,
        ),
        (
            "a dictionary of 4 GB",
            parquet(&dictionary(4_000_000_000, 1), 1, &columns, 0),
            0,
        ),
        (
            "a dictionary of two billion numbers",
            parquet(&zeros(most), 1, &[("success", INT64)], 0),
            0,
        ),
        ("a trillion lengths", parquet(&lengths(), 1, &columns, 0), 0),
        (
            "values of 2 GiB",
            parquet(&[], 1, &[("model", FIXED), ("success", BOOLEAN)], 0),
            0,
        ),
        ("a footer longer than the file", huge_footer.clone(), 0),
        ("a footer of 2 GiB", huge_footer, 1 << 31),
        (
            "100,000 nested groups",
            parquet(&[], 0, &columns, 100_000),
            0,
        ),
    ] {
        let (_folder, dir) = store();
        let path = dir.join("incremental/increment_1_20260131_120000.parquet");
        let mut file = File::create(&path).unwrap();
        file.seek(SeekFrom::Start(hole)).unwrap();
        file.write_all(&bytes).unwrap();
        make_old(&path);
        let (code, said) = run(&["status", "--format", "json"], &dir, b"");
        let status: serde_json::Value =
            serde_json::from_str(&said).unwrap_or_else(|_| panic!("{what}: {said}"));
        assert!(
            code != 1 && status["totals"]["tests"] == 1,
            "{what}: {said}"
        );
        assert_eq!(status["increments"]["unreadable"], 1, "{what}: {said}");
        let (code, said) = run(&["consolidate"], &dir, b"");
        assert_eq!(code, 10, "{what}: {said}");
        std::fs::rename(&path, dir.join("test_results.parquet")).unwrap();
        assert_eq!(run(&["query"], &dir, b"").0, 1, "{what}");
        assert_eq!(run(&["validate"], &dir, b"").0, 20, "{what}");
    }
}

/// The beginning, and then a gigabyte that is not on the disk.
fn with_hole(path: &Path, beginning: &[u8]) {
    let mut file = File::create(path).unwrap();
    file.write_all(beginning).unwrap();
    file.set_len(1 << 30).unwrap();
}

#[test]
fn lines_and_fields_of_a_gigabyte() {
    let (folder, dir) = store();
    let long = "x".repeat(100_000);
    for (name, beginning, said) in [
        (
            "a.jsonl",
            format!("{{\"model\":\"{long}"),
            "line 1: longer than 64 MiB",
        ),
        (
            "a.csv",
            format!("model,success\nm,true\nm,\"{long}"),
            "longer than 64 MiB",
        ),
    ] {
        let path = folder.path().join(name);
        with_hole(&path, beginning.as_bytes());
        let (code, reported) = run(&["import", path.to_str().unwrap(), "--into"], &dir, b"");
        assert!(code == 1 && reported.contains(said), "{name}: {reported}");
    }
    // A journal whose end was lost with the power, and one line after that.
    let path = dir.join("incremental/journal_1_20260131_120000_host_0a_0.jsonl");
    with_hole(&path, b"{\"model\":\"m\",\"success\":true}\n");
    let mut file = File::options().append(true).open(&path).unwrap();
    file.write_all(b"\n{\"model\":\"m\",\"success\":true}\n")
        .unwrap();
    let (_, said) = run(&["status", "--format", "json"], &dir, b"");
    assert!(said.contains("\"tests\": 3"), "{said}");
    // On stdin it passes in parts.
    let long = "y".repeat(200 << 20);
    let line = [
        b"{\"model\":\"",
        long.as_bytes(),
        b"\"}\n{\"model\":\"m\",\"success\":true}\n",
    ];
    let (code, said) = run(&["record", "--ack"], &dir, &line.concat());
    assert!(
        code == 1 && said.starts_with("-\n") && said.lines().count() >= 3,
        "{said}"
    );
}

#[test]
fn deeply_nested_json() {
    let (folder, dir) = store();
    let nested = "[".repeat(1_000_000);
    for deep in [
        nested.clone(),
        format!("{{\"a\":{nested}"),
        "{\"a\":".repeat(1_000_000),
    ] {
        let line = format!("{{\"model\":\"m\",\"success\":true,\"note\":{deep}\n");
        let (code, said) = run(&["record", "--ack"], &dir, line.as_bytes());
        assert!(
            code == 1 && said.starts_with("-\n"),
            "{}",
            &said[..said.len().min(500)]
        );
        for name in ["deep.jsonl", "deep.json"] {
            let path = folder.path().join(name);
            std::fs::write(&path, if name == "deep.json" { &deep } else { &line }).unwrap();
            let (code, said) = run(&["import", path.to_str().unwrap(), "--into"], &dir, b"");
            assert_eq!(code, 1, "{}", &said[..said.len().min(500)]);
        }
    }
    let journal = dir.join("incremental/journal_1_20260131_120000_host_0a_0.jsonl");
    std::fs::write(
        journal,
        format!("{nested}\n{{\"model\":\"m\",\"success\":true}}\n"),
    )
    .unwrap();
    let (_, said) = run(&["status", "--format", "json"], &dir, b"");
    assert!(said.contains("\"tests\": 2"), "{said}");
}
