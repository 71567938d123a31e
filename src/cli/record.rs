//! `record`: JSON lines on stdin to durable records.
//!
//! What is there to be read is taken in one journal write and answered together, so
//! that it is fast in a pipe and prompt for a runner that waits for each answer. A
//! line that is no record is told on stderr and kept beside the increments; the
//! rest goes in. Whatever ends the program, what was acknowledged stays.

use std::io::{self, Read, Write};

use anyhow::{Result, anyhow};
use jiff::tz::TimeZone;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::{Exit, RecordArgs, dir};
use crate::formats::beside::Beside;
use crate::store::commit::base::Base;
use crate::store::record::Record;
use crate::store::writer::{Writer, WriterOptions};

mod lines;
mod rejected;

use lines::{Lines, Piece};
use rejected::Rejected;

/// Bytes of one read; a pipe holds 64 KiB.
const READ_BYTES: usize = 1 << 18;
/// Reads that wait to be taken in.
const READS: usize = 4;
/// Bytes that are taken in and answered together: enough to be fast, no more to hold.
const TOGETHER: usize = 1 << 20;

/// `evaltop record`.
pub fn run(args: &RecordArgs) -> Result<Exit> {
    let (store, config) = dir::open(args.dir.as_deref())?;
    let durability = args.durability.map_or(config.durability, Into::into);
    let writer = Writer::open(
        &store,
        WriterOptions {
            durability,
            ..WriterOptions::default()
        },
    )?;
    let zone =
        Base::open(&store, true).map_or_else(|_| store.zone.clone(), |base| base.zone(&store));
    let beside = dir::beside(&store)?;
    let rejected = Rejected::new(&store, &writer.base(), args.ack);
    let mut intake = Intake {
        writer,
        beside,
        zone,
        rejected,
        lines: Lines::default(),
        number: 0,
        ack: args.ack,
    };
    let taken = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(intake.take_all());
    let rejected = intake.rejected.finish();
    // The rows are safe in their journal even where this fails.
    let closed = intake.writer.close();
    let ended = taken?;
    closed?;
    intake.beside.map_or(Ok(()), Beside::finish)?;
    Ok(match (ended, rejected?) {
        (End::Interrupted, _) => Exit::Interrupted,
        (End::Input, 0) => Exit::Ok,
        (End::Input, _) => Exit::Failed,
    })
}

/// Why the intake ended well.
enum End {
    Input,
    Interrupted,
}

struct Intake {
    writer: Writer,
    beside: Option<Beside>,
    zone: TimeZone,
    rejected: Rejected,
    lines: Lines,
    /// Of the last line.
    number: u64,
    ack: bool,
}

impl Intake {
    async fn take_all(&mut self) -> Result<End> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut input = read_stdin()?;
        loop {
            let read = tokio::select! {
                biased;
                _ = interrupt.recv() => return Ok(End::Interrupted),
                _ = terminate.recv() => return Ok(End::Interrupted),
                read = input.recv() => read,
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
                    let record = self.parse(&line)?;
                    accepted.push(record.is_some());
                    records.extend(record);
                }
                Piece::TooLong(part) => self.rejected.keep(&part)?,
                Piece::TooLongEnd => {
                    self.number += 1;
                    accepted.push(false);
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
        if let Some(beside) = self.beside.as_ref().filter(|_| !ids.is_empty()) {
            beside.changed();
        }
        if !self.ack || accepted.is_empty() {
            return Ok(());
        }
        let mut ids = ids.into_iter();
        let mut answer = String::new();
        for accepted in accepted {
            answer.push_str(
                &if accepted { ids.next() } else { None }.unwrap_or_else(|| "-".to_owned()),
            );
            answer.push('\n');
        }
        let mut out = io::stdout().lock();
        out.write_all(answer.as_bytes())
            .and_then(|()| out.flush())
            .map_err(|error| {
                anyhow!("cannot answer on stdout: {error} (what was read so far is recorded)")
            })
    }

    /// The record of a line; `None` for an empty line, and for one that is no record,
    /// which is told and kept.
    fn parse(&mut self, line: &[u8]) -> Result<Option<Record>> {
        if line.iter().all(u8::is_ascii_whitespace) {
            return Ok(None);
        }
        match Record::parse_in(line, &self.zone) {
            Ok(record) => Ok(Some(record)),
            Err(reason) => {
                self.rejected.keep(line)?;
                self.rejected.end(self.number, &reason)?;
                Ok(None)
            }
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
