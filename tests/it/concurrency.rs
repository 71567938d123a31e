//! Many writer processes while main is consolidated again and again, some of them
//! killed: every acknowledged record is there, once.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::support::{evaltop, evaltop_process, main_rows, names};

const WRITERS: usize = 10;
const LINES: usize = 1_000;

/// Feeds one `record --ack` and returns what it acknowledged. Every third writer is
/// killed half way.
fn write(dir: &Path, writer: usize) -> Vec<String> {
    let mut child = evaltop_process()
        .args(["record", "--ack"])
        .arg(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let answers = BufReader::new(child.stdout.take().unwrap());
    let feeder = thread::spawn(move || {
        for n in 0..LINES {
            let line = format!(
                "{{\"test_id\":\"{writer}-{n}\",\"model\":\"m{}\",\"success\":true}}\n",
                n % 3
            );
            // A killed writer reads no more.
            if input.write_all(line.as_bytes()).is_err() {
                return;
            }
            if n.is_multiple_of(10) {
                thread::sleep(std::time::Duration::from_millis(10));
            }
        }
    });
    let mut acknowledged = Vec::new();
    for answer in answers.lines() {
        let Ok(answer) = answer else { break };
        acknowledged.push(answer);
        if writer.is_multiple_of(3) && acknowledged.len() == LINES / 2 {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    feeder.join().unwrap();
    acknowledged
}

fn visible(dir: &Path) -> u64 {
    let run = evaltop()
        .args(["status", "--format", "json"])
        .arg(dir)
        .output()
        .unwrap();
    let status: serde_json::Value = serde_json::from_slice(&run.stdout).unwrap();
    status["totals"]["tests"].as_u64().unwrap()
}

#[test]
fn ten_writers_and_two_consolidators_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let dir: PathBuf = folder.path().join("store");
    std::fs::create_dir_all(dir.join("incremental")).unwrap();
    let ended = Arc::new(AtomicBool::new(false));
    let consolidators: Vec<_> = (0..2)
        .map(|_| {
            let (dir, ended) = (dir.clone(), ended.clone());
            thread::spawn(move || {
                let mut runs = 0;
                while !ended.load(Ordering::Relaxed) {
                    let run = evaltop().arg("consolidate").arg(&dir).output().unwrap();
                    // 75: the other one had the lock for long.
                    let code = run.status.code();
                    let reported = String::from_utf8_lossy(&run.stderr).into_owned();
                    assert!(matches!(code, Some(0 | 75)), "{code:?}: {reported}");
                    runs += 1;
                }
                runs
            })
        })
        .collect();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let dir = dir.clone();
            thread::spawn(move || write(&dir, writer))
        })
        .collect();
    let acknowledged: HashSet<String> = writers
        .into_iter()
        .flat_map(|w| w.join().unwrap())
        .collect();
    ended.store(true, Ordering::Relaxed);
    for consolidator in consolidators {
        assert!(consolidator.join().unwrap() > 0);
    }
    assert!(acknowledged.len() >= (WRITERS - 4) * LINES + 4 * LINES / 2);
    let before = visible(&dir);
    evaltop().arg("consolidate").arg(&dir).assert().success();
    let rows = main_rows(&dir);
    let distinct: HashSet<String> = rows.iter().cloned().collect();
    assert_eq!(rows.len(), distinct.len(), "some record is there twice");
    let lost: Vec<_> = acknowledged.difference(&distinct).collect();
    assert!(lost.is_empty(), "lost: {lost:?}");
    assert_eq!(
        before,
        rows.len() as u64,
        "a snapshot counted something else than what main has now"
    );
    assert_eq!(visible(&dir), before);
    assert!(
        names(&dir).iter().all(|name| name.starts_with('.')),
        "{:?}",
        names(&dir)
    );
}
