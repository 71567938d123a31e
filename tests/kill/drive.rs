//! The threads that feed the processes, one a slot, and start them again.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use evaltop::internals::store::format::layout;

use crate::ledger::{Ledger, Promise};
use crate::legacy::Way;
use crate::random::Random;
use crate::round::Behind;
use crate::slot::{Kind, Slot};
use crate::support::evaltop_process;
use crate::view::{self, View};
use crate::worker;

/// What all threads of a round share.
#[derive(Debug)]
pub struct Round {
    /// The store, where it is, and as writers and consolidators see it.
    pub dir: PathBuf,
    pub writers: PathBuf,
    pub consolidators: PathBuf,
    pub behind: Option<Behind>,
    pub ledger: Ledger,
    pub python: Option<PathBuf>,
    /// Milliseconds between two steps of a writer, at most.
    pub pause: u64,
    pub seed: u64,
    pub stop: AtomicBool,
    /// Complete views that were checked.
    pub views: AtomicU64,
    /// Who gave up because files kept moving, and how often.
    pub unsettled: Mutex<BTreeMap<String, u64>>,
    /// Increments that another program deleted.
    pub deleted: AtomicU64,
}

impl Round {
    fn over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// What a view that begins now must show. sshfs answers a write before the server has it.
    fn floors(&self) -> Vec<u64> {
        match self.behind {
            Some(Behind::Sshfs) => Vec::new(),
            _ => self.ledger.floors(),
        }
    }

    fn random(&self, stream: usize) -> Random {
        Random::new(self.seed, stream as u64)
    }

    /// A process ended that nobody killed: it should have had no reason to fail.
    fn ended(&self, who: &str, code: Option<i32>, expected: &[i32], stderr: &str) {
        let patient = [
            "kept changing",
            "was changed while",
            "was changed by another program",
        ];
        if code == Some(1) && patient.iter().any(|said| stderr.contains(said)) {
            *self
                .unsettled
                .lock()
                .unwrap()
                .entry(who.to_owned())
                .or_default() += 1;
        } else if code.is_some_and(|code| !expected.contains(&code)) {
            self.ledger
                .violation(format!("{who} ended with {code:?}: {stderr}"));
        }
    }
}

/// A process that adds rows, and how it is asked to.
struct Adder {
    who: String,
    promise: Promise,
    command: Command,
    /// Takes JSON lines and answers each, rather than a number of rows.
    lines: bool,
}

fn adder(round: &Round, slot: &Slot, number: usize, life: usize, random: &mut Random) -> Adder {
    let disk = random.one_in(4);
    match slot.kind {
        Kind::Legacy => match &round.python {
            Some(python) if number == 0 => {
                let mut command = Command::new(python);
                command
                    .args(["-c", include_str!("pandas.py")])
                    .arg(&round.dir)
                    .arg(life.to_string());
                Adder {
                    who: "pandas".to_owned(),
                    promise: Promise::Rewritten,
                    command,
                    lines: false,
                }
            }
            _ => {
                let name = Way::NAMES[number % Way::NAMES.len()];
                let way = Way::parse(name);
                let promise = if way.renames {
                    Promise::Always
                } else {
                    Promise::Rewritten
                };
                let command = worker::command(&round.dir, &format!("legacy {life} {name}"));
                Adder {
                    who: name.to_owned(),
                    promise,
                    command,
                    lines: false,
                }
            }
        },
        _ if number.is_multiple_of(2) => {
            let durability = if disk { "disk" } else { "process" };
            let command = worker::command(&round.writers, &format!("writer {life} {durability}"));
            Adder {
                who: "writer".to_owned(),
                promise: Promise::Always,
                command,
                lines: false,
            }
        }
        _ => {
            let mut command = evaltop_process();
            command.args(["record", "--ack"]).arg(&round.writers);
            if disk {
                command.args(["--durability", "disk"]);
            }
            Adder {
                who: "record".to_owned(),
                promise: Promise::Always,
                command,
                lines: true,
            }
        }
    }
}

/// One life after another of processes that add rows.
pub fn add(round: &Round, slot: &Slot, number: usize) {
    let mut random = round.random(1000 + 100 * slot.kind as usize + number);
    while !round.over() {
        // The number of a life is known before its promise is: it names the rows.
        let life = round.ledger.begin("", Promise::Rewritten);
        let mut adder = adder(round, slot, number, life, &mut random);
        round.ledger.rename(life, &adder.who, adder.promise);
        let (mut input, output, stderr) = slot.start(&mut adder.command);
        let mut output = BufReader::new(output);
        let mut steps = 20 + random.below(200);
        while steps > 0 && !round.over() {
            steps -= 1;
            let rows = 1 + random.below(8);
            let first = round.ledger.attempt(life, rows);
            let request = if adder.lines {
                let lines = (first..first + rows)
                    .map(|number| worker::row(life, number).to_string() + "\n");
                lines.collect::<String>()
            } else {
                format!("{first} {rows}\n")
            };
            if input.write_all(request.as_bytes()).is_err()
                || !acknowledged(&mut output, &adder, rows)
            {
                break;
            }
            round.ledger.acknowledge(life);
            thread::sleep(random.millis(round.pause));
        }
        if round.over() && random.one_in(2) {
            slot.kill();
        }
        drop(input);
        // Until it has ended.
        let _ = output.read_to_end(&mut Vec::new());
        let end = slot.end(stderr);
        round.ended(&adder.who, end.code, &[0], &end.stderr);
    }
}

/// Waits for the answer to a request; `false` when the process died.
fn acknowledged(output: &mut impl BufRead, adder: &Adder, rows: u64) -> bool {
    if !adder.lines {
        return loop {
            match view::line(output).as_deref() {
                Some("ready") => {}
                Some("ack") => break true,
                _ => break false,
            }
        };
    }
    (0..rows).all(|_| {
        let mut id = String::new();
        output.read_line(&mut id).is_ok() && id.ends_with('\n') && id.len() > 2
    })
}

/// Readers that look again and again.
pub fn read(round: &Round, slot: &Slot, number: usize) {
    let role = ["rows", "scan"][number % 2];
    while !round.over() {
        let (mut input, output, stderr) =
            slot.start(&mut worker::command(&round.dir, &format!("{role} 0")));
        let mut output = BufReader::new(output);
        while !round.over() {
            let floors = round.floors();
            if input.write_all(b"1\n").is_err() {
                break;
            }
            match View::read(&mut output) {
                None => break,
                Some(Ok(view)) => {
                    round.ledger.check(role, &view, &floors);
                    round.views.fetch_add(1, Ordering::Relaxed);
                }
                Some(Err(error)) => round.ended(role, Some(1), &[], &error),
            }
        }
        drop(input);
        let end = slot.end(stderr);
        round.ended(role, end.code, &[0], &end.stderr);
    }
}

/// The program's own query, started again for each scan.
pub fn query(round: &Round, slot: &Slot) {
    while !round.over() {
        let floors = round.floors();
        let mut command = evaltop_process();
        command
            .args(["query", "--columns", "model,task_id", "--format", "csv"])
            .arg(&round.dir);
        let (_, mut output, stderr) = slot.start(&mut command);
        let mut text = String::new();
        let whole = output.read_to_string(&mut text).is_ok();
        let end = slot.end(stderr);
        if whole && end.code == Some(0) {
            let rows = text
                .lines()
                .skip(1)
                .map(|line| line.split_once(',').unwrap());
            round.ledger.check("query", &View::of_rows(rows), &floors);
            round.views.fetch_add(1, Ordering::Relaxed);
        } else if !end.stderr.contains("no column") {
            // Before the first row there are no columns to ask for.
            round.ended("query", end.code, &[], &end.stderr);
        }
    }
}

/// One maintenance command after another.
pub fn maintain(round: &Round, slot: &Slot, number: usize) {
    let mut random = round.random(3000 + 100 * slot.kind as usize + number);
    while !round.over() {
        let what: (&[&str], &[i32]) = match random.below(6) {
            _ if slot.kind == Kind::Consolidate => (&["consolidate"], &[0, 75]),
            0 => (&["validate"], &[0, 10]),
            1 => (&["backup", "--yes"], &[0, 75]),
            _ => (
                &["cleanup", "--yes", "--older-than", "0s", "--keep", "2"],
                &[0, 75],
            ),
        };
        if what.0[0] == "backup" && !round.dir.join(layout::MAIN).exists() {
            continue;
        }
        // The larger main is, the rarer would a commit be among so many deaths.
        slot.spare(random.one_in(2));
        let (_, mut output, stderr) =
            slot.start(evaltop_process().args(what.0).arg(&round.consolidators));
        let mut reported = Vec::new();
        let _ = output.read_to_end(&mut reported);
        let end = slot.end(stderr);
        let reported = format!("{}{}", String::from_utf8_lossy(&reported), end.stderr);
        round.ended(what.0[0], end.code, what.1, &reported);
        thread::sleep(random.millis(if slot.kind == Kind::Consolidate {
            100
        } else {
            500
        }));
    }
}

/// Deletes every increment of ours now and then, as legacy programs do when they are
/// asked a question.
pub fn delete(round: &Round) {
    let mut random = round.random(4000);
    while !round.over() {
        thread::sleep(random.millis(1500));
        for name in increments(&round.dir) {
            if layout::stem(&name).is_some() {
                let gone = std::fs::remove_file(round.dir.join("incremental").join(&name)).is_ok();
                round.deleted.fetch_add(gone.into(), Ordering::Relaxed);
            }
        }
    }
}

/// The names of increments, ours and others'.
pub fn increments(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir.join("incremental")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    names
        .filter(|name| name.starts_with("increment_") && name.ends_with(".parquet"))
        .collect()
}

/// The program, run to its end: its exit code and all that it said.
pub fn evaltop(arguments: &[&str], dir: &Path) -> (Option<i32>, String) {
    let output = evaltop_process()
        .args(arguments)
        .arg(dir)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}
