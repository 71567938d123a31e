//! Buckets as mailboxes: a real S3 server on this machine, behind a proxy that fails, cuts and
//! slows down, while writers and pullers are killed. Each acknowledged row arrives, once.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{evaltop_process, missing, python_with, said};

const KEY: &str = "AKIAIOSFODNN7EXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

/// `moto`'s server, with one bucket.
struct Server {
    port: u16,
    process: Child,
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

impl Server {
    fn start() -> Option<Self> {
        let Some(python) = python_with("moto, flask") else {
            missing("moto's server (pip install 'moto[server]')");
            return None;
        };
        let port = free_port();
        let process = Command::new(python)
            .args([
                "-c",
                "from moto.server import main; main()",
                "-H",
                "127.0.0.1",
                "-p",
            ])
            .arg(port.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self { port, process };
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(
                begun.elapsed() < Duration::from_secs(180),
                "moto does not listen"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        assert!(server.ask("PUT", "/runs").starts_with("HTTP/1.1 200"));
        Some(server)
    }

    /// A request without a body; the answer's text.
    fn ask(&self, method: &str, path: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// The names of the objects that rows are in.
    fn objects(&self) -> BTreeSet<String> {
        let listing = self.ask("GET", "/runs?list-type=2&prefix=nightly/incremental/");
        let names = listing.split("<Key>").skip(1);
        names
            .filter_map(|rest| rest.split("</Key>").next())
            .map(str::to_owned)
            .collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What is in front of the server. While it is bad, connections fail in turn, each in its way.
struct Proxy {
    port: u16,
    bad: Arc<AtomicBool>,
    /// While it is down, every connection fails.
    down: Arc<AtomicBool>,
}

impl Proxy {
    fn start(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let bad = Arc::new(AtomicBool::new(false));
        let down = Arc::new(AtomicBool::new(false));
        let (is_bad, is_down) = (Arc::clone(&bad), Arc::clone(&down));
        let nth = AtomicUsize::new(0);
        // Ends with the test's process.
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let fault = if is_down.load(Ordering::Relaxed) {
                    0
                } else if is_bad.load(Ordering::Relaxed) {
                    // More in a row than the client tries again by itself.
                    let faults = [0, 1, 2, 3, 0, 1, 2, 3, 1, 2, 4, 5];
                    faults[nth.fetch_add(1, Ordering::Relaxed) % faults.len()]
                } else {
                    5
                };
                std::thread::spawn(move || carry(client, to, fault));
            }
        });
        Self { port, bad, down }
    }
}

fn carry(mut client: TcpStream, to: u16, fault: usize) {
    if fault == 0 {
        let mut request = [0; 2048];
        let _ = client.read(&mut request);
        let _ = client.write_all(
            b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        );
        return;
    }
    let Ok(server) = TcpStream::connect(("127.0.0.1", to)) else {
        return;
    };
    let (from, back) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    // How many bytes go there and come back before both are cut.
    let (there, here) = match fault {
        1 => (1_200, u64::MAX),
        2 => (u64::MAX, 60),
        3 => (u64::MAX, 700),
        _ => (200_000, u64::MAX),
    };
    let slow = fault == 4;
    let answers = std::thread::spawn(move || copy(&back, &client, here, false));
    copy(&from, &server, there, slow);
    let _ = answers.join();
}

fn copy(mut from: &TcpStream, mut to: &TcpStream, limit: u64, slow: bool) {
    let mut left = limit;
    let mut buffer = vec![0; if slow { 512 } else { 16 << 10 }];
    while left > 0 {
        let most = buffer
            .len()
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        match from.read(&mut buffer[..most]) {
            Ok(read @ 1..) if to.write_all(&buffer[..read]).is_ok() => left -= read as u64,
            _ => break,
        }
        if slow {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}

/// A machine with credentials in its environment.
struct Machine {
    folder: PathBuf,
    endpoint: String,
}

impl Machine {
    fn new(folder: &Path, name: &str, port: u16) -> Self {
        Self {
            folder: folder.join(name),
            endpoint: format!("http://127.0.0.1:{port}"),
        }
    }

    fn evaltop(&self) -> Command {
        let mut command = evaltop_process();
        let variables = std::env::vars_os().map(|(name, _)| name);
        for name in variables.filter(|name| name.to_string_lossy().starts_with("AWS_")) {
            command.env_remove(name);
        }
        command
            .env("XDG_STATE_HOME", self.folder.join("state"))
            .env("XDG_CACHE_HOME", self.folder.join("cache"))
            .env("HOME", &self.folder)
            .env("NO_PROXY", "127.0.0.1")
            .env("AWS_ENDPOINT_URL", &self.endpoint)
            .env("AWS_REGION", "eu-central-1")
            .env("AWS_ACCESS_KEY_ID", KEY)
            .env("AWS_SECRET_ACCESS_KEY", SECRET)
            .stdin(Stdio::null());
        command
    }

    fn said(&self, code: i32, arguments: &[&str]) -> (String, String) {
        said(self.evaltop().args(arguments), code)
    }

    fn ids(&self, place: &str) -> Vec<String> {
        let (rows, _) = self.said(
            0,
            &["query", place, "--columns", "test_id", "--format", "csv"],
        );
        let mut ids: Vec<String> = rows.lines().skip(1).map(str::to_owned).collect();
        ids.sort();
        ids
    }

    /// How many files the spool still has.
    fn left(&self) -> u64 {
        let (left, _) = self.said(0, &["spool", "--format", "json"]);
        let left: Value = serde_json::from_str(&left).unwrap();
        left["files"].as_u64().unwrap()
    }

    /// Records rows and returns those that were acknowledged; killed after so many, if at all.
    fn record(
        &self,
        url: &str,
        more: &[&str],
        rows: &[String],
        killed_after: usize,
    ) -> Vec<String> {
        let mut child = self
            .evaltop()
            .args(["record", "--ack", url])
            .args(more)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        let line =
            |id: &String| format!("{{\"model\":\"m\",\"success\":true,\"test_id\":\"{id}\"}}");
        let lines: Vec<String> = rows.iter().map(line).collect();
        let lines = lines.join("\n") + "\n";
        let feeder = std::thread::spawn(move || {
            // It may be killed meanwhile.
            let _ = input.write_all(lines.as_bytes());
            // The pipe stays open until the answers are in.
            input
        });
        let mut acknowledged = Vec::new();
        let mut answers = BufReader::new(child.stdout.take().unwrap()).lines();
        while acknowledged.len() < rows.len().min(killed_after)
            && let Some(Ok(id)) = answers.next()
        {
            acknowledged.push(id);
        }
        if killed_after < rows.len() {
            child.kill().unwrap();
        }
        drop(feeder.join());
        child.wait().unwrap();
        acknowledged
    }
}

fn number(name: &str, usual: usize) -> usize {
    std::env::var(name).map_or(usual, |text| text.parse().unwrap())
}

const URL: &str = "s3://runs/nightly";

#[test]
fn what_writers_acknowledged_arrives_once_through_a_bad_network() {
    let Some(server) = Server::start() else {
        return;
    };
    let proxy = Proxy::start(server.port);
    let folder = tempfile::tempdir().unwrap();
    let writers = number("EVALTOP_BUCKET_WRITERS", 4);
    let rows = number("EVALTOP_BUCKET_ROWS", 2_000) / writers;
    let store = folder.path().join("store").display().to_string();
    let collector = Machine::new(folder.path(), "collector", proxy.port);
    let over = AtomicBool::new(false);
    // Nothing gets through at first: what is acknowledged then stays in the spool.
    proxy.down.store(true, Ordering::Relaxed);
    let early: Vec<String> = (0..10).map(|row| format!("early{row}")).collect();
    let first = Machine::new(folder.path(), "node0", proxy.port);
    let mut acknowledged = first.record(URL, &[], &early, usize::MAX);
    assert_eq!((acknowledged.len(), first.left()), (10, 1));
    proxy.bad.store(true, Ordering::Relaxed);
    proxy.down.store(false, Ordering::Relaxed);
    std::thread::scope(|scope| {
        let recorders: Vec<_> = (0..writers)
            .map(|writer| {
                // Two writers a machine, so that they share a spool.
                let name = format!("node{}", writer / 2);
                let node = Machine::new(folder.path(), &name, proxy.port);
                scope.spawn(move || {
                    let ids: Vec<String> =
                        (0..rows).map(|row| format!("w{writer}t{row}")).collect();
                    let killed = if writer % 2 == 0 {
                        rows / 2
                    } else {
                        usize::MAX
                    };
                    node.record(URL, &[], &ids, killed)
                })
            })
            .collect();
        // Pulls go on meanwhile, and are killed.
        scope.spawn(|| {
            let mut nth = 0_u64;
            while !over.load(Ordering::Relaxed) {
                let mut pull = collector
                    .evaltop()
                    .args(["pull", URL, "--into", &store])
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .spawn()
                    .unwrap();
                nth += 1;
                std::thread::sleep(Duration::from_millis(nth * 61 % 400));
                let _ = pull.kill();
                pull.wait().unwrap();
            }
        });
        for recorder in recorders {
            acknowledged.extend(recorder.join().unwrap());
        }
        over.store(true, Ordering::Relaxed);
    });
    proxy.bad.store(false, Ordering::Relaxed);
    for machine in 0..writers.div_ceil(2) {
        let node = Machine::new(folder.path(), &format!("node{machine}"), proxy.port);
        node.said(0, &["spool", "--flush"]);
        assert_eq!(node.left(), 0);
    }
    collector.said(0, &["pull", URL, "--into", &store]);
    acknowledged.sort();
    let found: BTreeSet<String> = collector.ids(&store).into_iter().collect();
    // A row that was recorded and whose answer the kill swallowed may be there too.
    let lost: Vec<&String> = acknowledged
        .iter()
        .filter(|id| !found.contains(*id))
        .collect();
    assert!(lost.is_empty(), "lost: {lost:?}");
    assert_eq!(found.len(), collector.ids(&store).len(), "none twice");
    let (status, _) = collector.said(0, &["status", &store, "--format", "json"]);
    let status: Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["totals"]["tests"], found.len());
    assert_eq!(status["sources"][0]["source"], URL);
    // One that was closed is one object, one that was killed at most two.
    assert!(
        server.objects().len() <= 2 * writers + 1,
        "{:?}",
        server.objects()
    );
}

#[test]
fn a_bucket_is_read_like_a_store_and_nothing_secret_is_reported() {
    let Some(server) = Server::start() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let node = Machine::new(folder.path(), "node", server.port);
    let ids: Vec<String> = (0..20).map(|row| format!("t{row:02}")).collect();
    let log = || {
        let path = node.folder.join("state/evaltop/evaltop.log");
        fs::read_to_string(path).unwrap_or_default()
    };
    let recorded = node
        .evaltop()
        .env("RUST_LOG", "trace")
        .args(["record", URL, "--durability", "remote"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .and_then(|mut child| {
            let mut input = child.stdin.take().unwrap();
            for id in &ids {
                writeln!(
                    input,
                    "{{\"model\":\"m\",\"success\":true,\"test_id\":\"{id}\"}}"
                )?;
            }
            drop(input);
            child.wait_with_output()
        });
    let recorded = recorded.unwrap();
    assert!(recorded.status.success(), "{recorded:?}");
    let traced = node
        .evaltop()
        .env("RUST_LOG", "trace")
        .args(["status", URL])
        .output()
        .unwrap();
    assert!(traced.status.success(), "{traced:?}");
    for text in [log(), format!("{recorded:?}{traced:?}")] {
        assert!(!text.contains(SECRET) && !text.contains("wJalr"), "{text}");
        assert!(!text.to_lowercase().contains("signature"), "{text}");
    }
    assert!(log().contains("s3://runs/nightly"), "{}", log());
    let reader = Machine::new(folder.path(), "reader", server.port);
    assert_eq!(reader.ids(URL), ids);
    let (status, _) = reader.said(0, &["status", URL]);
    assert!(
        status.contains(URL),
        "it has the name that people gave it: {status}"
    );
    let (status, _) = reader.said(0, &["status", URL, "--format", "json"]);
    let status: Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["writers"][0]["state"], "ended", "as the writer said");
    let (_, said) = reader.said(1, &["status", "s3://nobodys/runs"]);
    assert!(said.contains("s3://nobodys"), "{said}");
    // Keys of a profile, and the path in the style that was asked for.
    fs::create_dir_all(reader.folder.join(".aws")).unwrap();
    let keys = format!("[lab]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n");
    fs::write(reader.folder.join(".aws/credentials"), keys).unwrap();
    let output = reader
        .evaltop()
        .env_remove("AWS_ACCESS_KEY_ID")
        .env_remove("AWS_SECRET_ACCESS_KEY")
        .env("AWS_PROFILE", "lab")
        .args(["query", URL, "--count"])
        .output()
        .unwrap();
    assert!(output.status.success() || !output.stderr.is_empty());
    assert_eq!(
        server.objects().len(),
        1,
        "rows that came together are one object"
    );
}

/// What delta-rs and Polars read of a table in the bucket: its version, its tests and successes.
/// The manifest names the same parts.
const READ_TABLE: &str = r#"
import json, sys
import boto3, deltalake, polars
url, endpoint, key, secret = sys.argv[1:]
options = {"AWS_ENDPOINT_URL": endpoint, "AWS_REGION": "eu-central-1", "AWS_ACCESS_KEY_ID": key,
           "AWS_SECRET_ACCESS_KEY": secret, "AWS_ALLOW_HTTP": "true"}
table = deltalake.DeltaTable(url, storage_options=options)
rows = table.to_pyarrow_table().to_pylist()
again = polars.read_delta(url, storage_options=options).to_dicts()
def figures(rows):
    return [len(rows), len({row["test_id"] for row in rows}), sum(row["success"] for row in rows)]
assert figures(rows) == figures(again), (figures(rows), figures(again))
client = boto3.client("s3", endpoint_url=endpoint, region_name="eu-central-1", aws_access_key_id=key,
                      aws_secret_access_key=secret)
bucket, prefix = url.removeprefix("s3://").split("/")
manifest = client.get_object(Bucket=bucket, Key=f"{prefix}/_evaltop/manifest.json")["Body"].read()
manifest = json.loads(manifest)
named = sorted(part["path"] for part in manifest["parts"])
assert named == sorted(uri.rsplit("/", 1)[1] for uri in table.file_uris())
assert [manifest["version"], manifest["rows"]] == [table.version(), len(rows)]
print(json.dumps([table.version(), *figures(rows)]))
"#;

const TABLE: &str = "s3://runs/table";

/// `[version, rows, tests, successes]`.
fn read_table(port: u16) -> Option<[u64; 4]> {
    let Some(python) = python_with("boto3, deltalake, polars, pyarrow") else {
        missing("deltalake and polars");
        return None;
    };
    let endpoint = format!("http://127.0.0.1:{port}");
    let output = Command::new(python)
        .args(["-c", READ_TABLE, TABLE, &endpoint, KEY, SECRET])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

fn add(machine: &Machine, store: &str, ids: std::ops::Range<u64>, success: bool) {
    let mut child = machine
        .evaltop()
        .args(["record", store])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    for id in ids {
        writeln!(
            input,
            "{{\"model\":\"m\",\"success\":{success},\"test_id\":\"t{id}\"}}"
        )
        .unwrap();
    }
    drop(input);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_table_in_a_bucket_is_whole_whoever_writes_it_and_whoever_is_killed() {
    let Some(server) = Server::start() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let machine = Machine::new(folder.path(), "node", server.port);
    let store = folder.path().join("store").display().to_string();
    let export = ["export", &store, "--format", "delta", "-o", TABLE];
    add(&machine, &store, 0..100, true);
    let (said, _) = machine.said(0, &export);
    assert!(said.contains("version 0: 100 rows in 1 part"), "{said}");
    let Some(read) = read_table(server.port) else {
        return;
    };
    assert_eq!(read, [0, 100, 100, 100]);
    let (said, _) = machine.said(0, &export);
    assert!(
        said.contains("version 0") && said.contains("0 rows written"),
        "{said}"
    );
    // Two newer attempts: what is left of the part is written again, in the same commit.
    add(&machine, &store, 0..2, false);
    let (said, _) = machine.said(0, &export);
    assert!(
        said.contains("version 1") && said.contains("1 file removed"),
        "{said}"
    );
    assert_eq!(read_table(server.port), Some([1, 100, 100, 98]));
    // Killed wherever it is, it goes on.
    for round in 0..12_u64 {
        add(&machine, &store, 100 + round..101 + round, true);
        let mut child = machine
            .evaltop()
            .args(export)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(round * 29 % 260));
        let _ = child.kill();
        child.wait().unwrap();
    }
    machine.said(0, &export);
    let [version, rows, tests, successes] = read_table(server.port).unwrap();
    assert_eq!([rows, tests, successes], [112, 112, 110]);
    // Several at once: each version is of one of them, and the others say so.
    let mut done = 0;
    for round in 0..6 {
        add(&machine, &store, 200 + round..201 + round, true);
        let exports: Vec<Child> = (0..3)
            .map(|_| {
                let mut command = machine.evaltop();
                command
                    .args(export)
                    .stdout(Stdio::null())
                    .stderr(Stdio::piped());
                command.spawn().unwrap()
            })
            .collect();
        for export in exports {
            let output = export.wait_with_output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            match output.status.code() {
                Some(0) => done += 1,
                code => assert!(said.contains("at the same time"), "{code:?} {said}"),
            }
        }
    }
    assert!(done >= 6, "one of them always gets through: {done}");
    machine.said(0, &export);
    let after = read_table(server.port).unwrap();
    assert_eq!(after, [version + 6, 118, 118, 116]);
    // A mailbox is no place for one, and other forms are not written into a bucket.
    add(&machine, URL, 0..1, true);
    let (_, said) = machine.said(1, &["export", &store, "--format", "delta", "-o", URL]);
    assert!(said.contains("belongs to a store"), "{said}");
    let (_, said) = machine.said(2, &["export", &store, "-o", "s3://runs/rows.csv"]);
    assert!(said.contains("only a Delta table"), "{said}");
}

#[test]
fn a_mailbox_in_a_bucket_is_emptied() {
    let Some(server) = Server::start() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let machine = Machine::new(folder.path(), "node", server.port);
    let store = folder.path().join("store").display().to_string();
    add(&machine, URL, 0..3, true);
    let empty = |age: &str| {
        let pull = [
            "pull",
            URL,
            "--into",
            &store,
            "--empty",
            "--older-than",
            age,
        ];
        machine.said(0, &pull).0
    };
    assert!(empty("1h").contains("1 file younger than 1h"));
    assert_eq!(server.objects().len(), 1);
    machine.said(0, &["consolidate", &store]);
    // Its time is of whole seconds.
    let begun = Instant::now();
    while !empty("0s").contains("removed 1 file") {
        assert!(begun.elapsed() < Duration::from_secs(180));
        std::thread::sleep(Duration::from_millis(200));
    }
    assert!(server.objects().is_empty());
    assert_eq!(machine.ids(&store), ["t0", "t1", "t2"]);
    assert!(empty("0s").contains("removed 0 files"));
}
