//! `record`: JSON lines on stdin to durable records.
//!
//! What is there to be read is taken in one journal write and answered together, so
//! that it is fast in a pipe and prompt for a runner that waits for each answer. A
//! line that is not a record is reported on stderr and kept next to the increments; the
//! rest goes in. Whatever ends the program, what was acknowledged stays.

use clap::{Args, ValueEnum};
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio::signal::unix::SignalKind;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::verbosity::complain;
use super::{Exit, dir, out};
use crate::config::show_counted;
use crate::formats::json_mirror::Beside;
use crate::signals::{self, Heard};
use crate::store::commit::base::Base;
use crate::store::format::heartbeat::Ended;
use crate::store::format::record::{REPEATED, Record, SURROGATES};
use crate::store::write::writer::{Notes, Writer};

mod control;
mod lines;
mod program;
mod rejected;

use control::Control;
use lines::{Lines, Piece};
use program::Program;
use rejected::Rejected;

/// `evaltop record`.
#[derive(Debug, Clone, Args)]
pub struct RecordArgs {
    /// The store; made when it is not there
    pub dir: Option<PathBuf>,
    /// Make ./pilot_bench_parquet_data where no store is named and it is not there
    #[arg(long)]
    pub create: bool,
    /// Answer each line on stdout: its test_id once it is durable, - when rejected
    #[arg(long)]
    pub ack: bool,
    /// What an acknowledged record survives: kill -9, or loss of power [default: process]
    #[arg(long, value_enum)]
    pub durability: Option<DurabilityArg>,
}

/// What an acknowledged record survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DurabilityArg {
    /// The death of any process
    Process,
    /// Loss of power: every acknowledgement waits for an fsync
    Disk,
    /// Loss of this machine: every acknowledgement waits until the mailbox has it
    Remote,
}

impl From<DurabilityArg> for crate::config::Durability {
    fn from(named: DurabilityArg) -> Self {
        match named {
            DurabilityArg::Process => Self::Process,
            DurabilityArg::Disk => Self::Disk,
            DurabilityArg::Remote => Self::Remote,
        }
    }
}

/// When it is first looked who writes into the pipe, and the longest time between two scans:
/// each reads what all processes have open.
const FIRST_SCAN: Duration = Duration::from_secs(1);
const LAST_SCAN: Duration = Duration::from_secs(60);
/// Bytes of one read; a pipe holds 64 KiB.
const READ_BYTES: usize = 1 << 18;
/// Reads that wait to be taken in.
const READS: usize = 4;
/// Bytes that are taken in and answered together: enough to be fast, no more to hold.
const TOGETHER: usize = 1 << 20;

/// `evaltop record`.
pub fn run(args: &RecordArgs) -> Result<Exit> {
    let target = dir::target(args.dir.as_deref(), Some(args.create), args.durability)?;
    let store = target.store;
    let writer = Writer::open(&store, target.options)?;
    let zone =
        Base::open(&store, true).map_or_else(|_| store.zone.clone(), |base| base.zone(&store));
    let beside = match target.url {
        None => dir::beside(&store)?,
        Some(_) => None,
    };
    let rejected = Rejected::new(&store, &writer.base(), args.ack);
    let program = Program::find(writer.live());
    let mut intake = Intake {
        notes: writer.notes(),
        writer,
        program,
        beside,
        zone,
        rejected,
        lines: Lines::default(),
        number: 0,
        mended: 0,
        repeated: 0,
        ack: args.ack,
    };
    let taken = signals::runtime()
        .context("cannot listen for signals")
        .and_then(|runtime| runtime.block_on(intake.take_all()));
    let rejected = intake.rejected.finish();
    for (lines, what) in [(intake.mended, SURROGATES), (intake.repeated, REPEATED)] {
        if lines > 0 {
            let lines = show_counted(lines, "line");
            warn(&format!("note: {lines} with {what}"));
        }
    }
    match &taken {
        Ok(End::Input) => intake.program.ended(intake.writer.live()),
        Ok(End::Interrupted) => {
            intake.writer.live().interrupted();
            intake.writer.live().end(
                Ended::Ended,
                Some("interrupted".to_owned()),
                Timestamp::now(),
            );
        }
        Err(error) => {
            let reason = Some(error.to_string());
            intake
                .writer
                .live()
                .end(Ended::Failed, reason, Timestamp::now());
        }
    }
    // The rows are safe in their journal even where this fails.
    let closed = intake.writer.close();
    for note in intake.notes.take() {
        complain(&note);
    }
    let ended = taken?;
    closed?;
    intake.beside.map_or(Ok(()), Beside::finish)?;
    Ok(match (ended, rejected?) {
        (End::Interrupted, _) => Exit::Interrupted,
        (End::Input, 0) => Exit::Ok,
        (End::Input, _) => Exit::Failed,
    })
}

/// What a line turned out to be.
enum Taken {
    Row(Box<Record>),
    /// Something about the program.
    Said,
    Nothing,
}

/// A sentence on stderr; nobody need read it.
fn warn(sentence: &str) {
    let _ = writeln!(io::stderr(), "evaltop: {sentence}");
}

/// Why the intake ended well.
enum End {
    Input,
    Interrupted,
}

struct Intake {
    writer: Writer,
    program: Program,
    notes: Notes,
    beside: Option<Beside>,
    zone: TimeZone,
    rejected: Rejected,
    lines: Lines,
    /// Of the last line.
    number: u64,
    /// Lines with text that was mended.
    mended: u64,
    /// Lines in which a field is there twice.
    repeated: u64,
    ack: bool,
}

impl Intake {
    async fn take_all(&mut self) -> Result<End> {
        let mut interrupt = Heard::of(SignalKind::interrupt())?;
        let mut terminate = Heard::of(SignalKind::terminate())?;
        let mut input = read_stdin().map_err(|error| crate::store::Error::no_thread(&error))?;
        let mut pause = FIRST_SCAN;
        let mut look = Instant::now() + pause;
        loop {
            let read = tokio::select! {
                biased;
                () = interrupt.recv() => return Ok(End::Interrupted),
                () = terminate.recv() => return Ok(End::Interrupted),
                read = input.recv() => read,
                () = tokio::time::sleep_until(look) => {
                    if let Some(warning) = self.program.shared() {
                        warn(&warning);
                    }
                    pause = (4 * pause).min(LAST_SCAN);
                    look = Instant::now() + pause;
                    continue;
                }
            };
            let Some(read) = read else { break };
            let failed = |error| anyhow!("cannot read stdin: {error}");
            let read = read.map_err(failed)?;
            let mut bytes = read.len();
            let mut pieces = self.lines.push(&read);
            while bytes < TOGETHER
                && let Ok(more) = input.try_recv()
            {
                let more = more.map_err(failed)?;
                bytes += more.len();
                pieces.extend(self.lines.push(&more));
            }
            self.take(pieces)?;
        }
        let last = self.lines.finish();
        self.take(last)?;
        Ok(End::Input)
    }

    /// Takes in complete lines with one write, then answers them in their order.
    fn take(&mut self, pieces: Vec<Piece>) -> Result<()> {
        let before = self.number;
        let mut records = Vec::with_capacity(pieces.len());
        let mut accepted = Vec::with_capacity(pieces.len());
        for piece in pieces {
            match piece {
                Piece::Line(line) => {
                    self.number += 1;
                    match self.parse(&line)? {
                        Taken::Row(record) => {
                            accepted.push(Some(true));
                            records.push(*record);
                        }
                        Taken::Said => accepted.push(None),
                        Taken::Nothing => accepted.push(Some(false)),
                    }
                }
                Piece::TooLong(part) => self.rejected.keep(&part)?,
                Piece::TooLongEnd => {
                    self.number += 1;
                    accepted.push(Some(false));
                    self.rejected.end(self.number, lines::TOO_LONG)?;
                }
            }
        }
        let ids = self.writer.append_all(records).map_err(|error| {
            let lost = match before + 1 {
                first if first == self.number => format!("line {first} was"),
                first => format!("lines {first} to {} were", self.number),
            };
            anyhow!("{error}; input {lost} not recorded")
        })?;
        self.say();
        if let Some(beside) = self.beside.as_ref().filter(|_| !ids.is_empty()) {
            beside.changed();
        }
        if !self.ack || accepted.is_empty() {
            return Ok(());
        }
        let mut ids = ids.into_iter();
        let mut answer = String::new();
        for accepted in accepted {
            let id = match accepted {
                Some(true) => ids.next(),
                Some(false) => None,
                None => Some("+".to_owned()),
            };
            answer.push_str(id.as_deref().unwrap_or("-"));
            answer.push('\n');
        }
        let mut out = out::stdout();
        out.write_all(answer.as_bytes())
            .and_then(|()| out.flush())
            .map_err(|error| anyhow!("{error} (what was read so far is recorded)"))
    }

    /// Says what came up while rows were written.
    fn say(&self) {
        for note in self.notes.take() {
            complain(&note);
        }
    }

    /// What a line is; one that is neither a record nor about the program is notified and kept.
    fn parse(&mut self, line: &[u8]) -> Result<Taken> {
        if line.iter().all(u8::is_ascii_whitespace) {
            return Ok(Taken::Nothing);
        }
        let read = match control::control(line) {
            Some(said) => said.map(|said| {
                self.hear(said);
                Taken::Said
            }),
            None => Record::parse_mended(line, &self.zone).map(|(record, mended)| {
                self.mended += u64::from(mended.surrogates);
                self.repeated += u64::from(mended.repeated);
                Taken::Row(Box::new(record))
            }),
        };
        match read {
            Ok(taken) => Ok(taken),
            Err(reason) => {
                self.rejected.keep(line)?;
                self.rejected.end(self.number, &reason)?;
                Ok(Taken::Nothing)
            }
        }
    }

    /// What the program says about itself.
    fn hear(&self, said: Control) {
        let (live, now) = (self.writer.live(), Timestamp::now());
        match said {
            Control::Start(test) => live.begin(test),
            Control::Retry(test, status, wait) => live.retry(&test, status, wait, now),
            Control::Plan(tests, session) => live.plan(tests, session),
            Control::Idle => live.idle(),
            Control::Finished => live.end(Ended::Finished, None, now),
            Control::Failed(reason) => live.end(Ended::Failed, reason, now),
        }
    }
}

/// Reads stdin in a thread of its own, which may hang in a read when we end.
fn read_stdin() -> io::Result<mpsc::Receiver<io::Result<Vec<u8>>>> {
    let (send, receive) = mpsc::channel(READS);
    std::thread::Builder::new()
        .name("stdin".to_owned())
        .spawn(move || {
            let mut stdin = io::stdin().lock();
            let mut buffer = vec![0; READ_BYTES];
            loop {
                let read = match stdin.read(&mut buffer) {
                    Ok(0) => return,
                    Ok(read) => Ok(buffer.get(..read).unwrap_or_default().to_vec()),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => Err(error),
                };
                let failed = read.is_err();
                if send.blocking_send(read).is_err() || failed {
                    return;
                }
            }
        })?;
    Ok(receive)
}
