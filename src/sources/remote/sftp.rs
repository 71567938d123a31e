//! Reading files of another host: version 3 of the SFTP protocol over the system's `ssh`, as
//! `sftp` itself does it. No shell has a part in it, on neither side.

use std::collections::HashMap;
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::FileExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::{Files, Stat};
use crate::store::{Control, Error, Result};
use crate::text::sanitise::sanitise;

/// Bytes asked for at once; every server gives so many.
const PIECE: u32 = 32 << 10;
/// Requests on their way at once.
const PIECES: usize = 32;
/// An answer is never longer.
const LONGEST: u32 = 1 << 20;
/// Of what `ssh` says on standard error, so much is kept.
const SAID: usize = 2_048;

// Kinds of packets.
const INIT: u8 = 1;
const VERSION: u8 = 2;
const OPEN: u8 = 3;
const CLOSE: u8 = 4;
const READ: u8 = 5;
const OPEN_FOLDER: u8 = 11;
const READ_FOLDER: u8 = 12;
const STAT: u8 = 17;
const STATUS: u8 = 101;
const HANDLE: u8 = 102;
const DATA: u8 = 103;
const NAME: u8 = 104;
const ATTRIBUTES: u8 = 105;

// Codes of a status.
const END: u32 = 1;
const MISSING: u32 = 2;
const DENIED: u32 = 3;

/// A connection to the files of a host.
#[derive(Debug)]
pub(super) struct Sftp {
    host: String,
    child: Child,
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
    next: u32,
    said: Arc<Mutex<Vec<u8>>>,
    listener: Option<JoinHandle<()>>,
}

impl Sftp {
    /// Connects. Where nobody `answers`, `ssh` asks nothing and fails instead.
    pub(super) fn connect(host: &str, answers: bool) -> Result<Self> {
        let program = std::env::var_os("EVALTOP_SSH").unwrap_or_else(|| "ssh".into());
        let mut command = Command::new(&program);
        if !answers {
            command.args(["-o", "BatchMode=yes"]);
        }
        command
            .args(["-o", "ConnectTimeout=15"])
            .args([
                "-o",
                "ServerAliveInterval=15",
                "-o",
                "ServerAliveCountMax=3",
            ])
            // What is named can be no option.
            .args(["-s", "--", host, "sftp"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let cannot = |error: io::Error| {
            Error::Refused(format!(
                "{host}: {} can't be started ({error}): install OpenSSH's client",
                program.display()
            ))
        };
        let mut child = command.spawn().map_err(cannot)?;
        let (Some(to), Some(from), Some(mut complaints)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(cannot(io::Error::other("no pipes")));
        };
        let said = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&said);
        let listener = std::thread::Builder::new()
            .name("ssh".to_owned())
            .spawn(move || {
                let mut bytes = [0; 512];
                while let Ok(count @ 1..) = complaints.read(&mut bytes) {
                    let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
                    heard.extend(bytes.iter().take(count));
                    let over = heard.len().saturating_sub(SAID);
                    heard.drain(..over);
                }
            });
        let mut there = Self {
            host: host.to_owned(),
            child,
            to: Some(to),
            from: BufReader::new(from),
            next: 0,
            said,
            listener: listener.ok(),
        };
        let begun = there.begin();
        begun.map_err(|error| there.explain(lost(error)))?;
        Ok(there)
    }

    fn begin(&mut self) -> io::Result<()> {
        let mut packet = Packet::new(INIT);
        packet.number(3);
        self.send(packet)?;
        let (kind, _) = self.receive()?;
        if kind != VERSION {
            return Err(io::Error::other("it does not speak SFTP"));
        }
        Ok(())
    }

    /// An error with what `ssh` said of it, if it ended.
    pub(super) fn explain(&mut self, error: Error) -> Error {
        if matches!(error, Error::Cancelled) {
            return error;
        }
        drop(self.to.take());
        let _ = self.child.wait();
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let said = String::from_utf8_lossy(&said).into_owned();
        let last = said.lines().rev().find(|line| !line.trim().is_empty());
        let why = match (last, &error) {
            (Some(last), Error::Refused(why)) => format!("{why} ({})", last.trim()),
            (Some(last), _) => last.trim().to_owned(),
            (None, other) => other.to_string(),
        };
        Error::Refused(format!("{}: {}", sanitise(&self.host), sanitise(&why)))
    }
}

impl Files for Sftp {
    fn list(&mut self, path: &str) -> Result<Option<Vec<(String, Stat)>>> {
        let mut packet = Packet::new(OPEN_FOLDER);
        packet.text(path);
        let handle = match self.ask(packet)? {
            Answer::Handle(handle) => handle,
            Answer::Status(MISSING) => return Ok(None),
            other => return Err(unexpected(path, &other)),
        };
        let mut found = Vec::new();
        loop {
            let mut packet = Packet::new(READ_FOLDER);
            packet.bytes(&handle);
            match self.ask(packet)? {
                Answer::Names(names) => found.extend(names),
                Answer::Status(END) => break,
                other => return Err(unexpected(path, &other)),
            }
        }
        self.close(&handle)?;
        found.retain(|(name, _)| !matches!(name.as_str(), "." | ".."));
        Ok(Some(found))
    }

    fn stat(&mut self, path: &str) -> Result<Option<Stat>> {
        let mut packet = Packet::new(STAT);
        packet.text(path);
        match self.ask(packet)? {
            Answer::Stat(stat) => Ok(Some(stat)),
            Answer::Status(MISSING) => Ok(None),
            other => Err(unexpected(path, &other)),
        }
    }

    fn copy(
        &mut self,
        path: &str,
        begin: u64,
        end: u64,
        file: &std::fs::File,
        control: &Control,
    ) -> Result<u64> {
        let mut packet = Packet::new(OPEN);
        packet.text(path);
        packet.number(1); // For reading,
        packet.number(0); // with no attributes.
        let handle = match self.ask(packet)? {
            Answer::Handle(handle) => handle,
            other => return Err(unexpected(path, &other)),
        };
        let mut asked: HashMap<u32, (u64, u32)> = HashMap::new();
        // What is still to be asked for; a short answer leaves a rest.
        let mut due: Vec<(u64, u32)> = Vec::new();
        let (mut at, mut copied, mut ended) = (begin, 0, false);
        loop {
            control.check()?;
            while asked.len() < PIECES && !ended {
                let (from, length) = match due.pop() {
                    Some(rest) => rest,
                    None if at < end => {
                        let length = PIECE.min(u32::try_from(end - at).unwrap_or(PIECE));
                        at += u64::from(length);
                        (at - u64::from(length), length)
                    }
                    None => break,
                };
                let mut packet = Packet::new(READ);
                packet.bytes(&handle);
                packet.long(from);
                packet.number(length);
                asked.insert(self.request(packet)?, (from, length));
            }
            if asked.is_empty() {
                break;
            }
            let (id, answer) = self.answer()?;
            let Some((from, length)) = asked.remove(&id) else {
                return Err(unexpected(path, &answer));
            };
            match answer {
                Answer::Data(bytes) if !bytes.is_empty() && bytes.len() <= length as usize => {
                    file.write_all_at(&bytes, from)
                        .map_err(|error| Error::Refused(format!("the cache is full: {error}")))?;
                    copied += bytes.len() as u64;
                    let got = bytes.len() as u32;
                    if got < length {
                        due.push((from + u64::from(got), length - got));
                    }
                }
                Answer::Status(END) => ended = true,
                other => return Err(unexpected(path, &other)),
            }
        }
        self.close(&handle)?;
        Ok(copied)
    }
}

impl Sftp {
    fn close(&mut self, handle: &[u8]) -> Result<()> {
        let mut packet = Packet::new(CLOSE);
        packet.bytes(handle);
        self.ask(packet)?;
        Ok(())
    }

    fn ask(&mut self, packet: Packet) -> Result<Answer> {
        let asked = self.request(packet)?;
        let (id, answer) = self.answer()?;
        if id != asked {
            return Err(broken());
        }
        Ok(answer)
    }

    fn request(&mut self, packet: Packet) -> Result<u32> {
        self.next = self.next.wrapping_add(1);
        let id = self.next;
        self.send(packet.with_id(id)).map_err(lost)?;
        Ok(id)
    }

    fn send(&mut self, packet: Packet) -> io::Result<()> {
        let Some(to) = &mut self.to else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        to.write_all(&packet.finish())?;
        to.flush()
    }

    fn receive(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let mut length = [0; 4];
        self.from.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length);
        if !(1..=LONGEST).contains(&length) {
            return Err(io::Error::other("it does not speak SFTP"));
        }
        let mut bytes = vec![0; length as usize];
        self.from.read_exact(&mut bytes)?;
        let kind = bytes.remove(0);
        Ok((kind, bytes))
    }

    fn answer(&mut self) -> Result<(u32, Answer)> {
        let (kind, bytes) = self.receive().map_err(lost)?;
        let mut fields = Fields(&bytes);
        let id = fields.number().ok_or_else(broken)?;
        Answer::read(kind, &mut fields)
            .map(|answer| (id, answer))
            .ok_or_else(broken)
    }
}

impl Drop for Sftp {
    fn drop(&mut self) {
        drop(self.to.take());
        // One that does not end by itself would be waited for without end.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
    }
}

/// The connection ended.
#[allow(clippy::needless_pass_by_value)] // as `map_err` wants it
fn lost(error: io::Error) -> Error {
    Error::Refused(format!("the connection was lost ({error})"))
}

fn broken() -> Error {
    Error::Refused("its answers are not those of SFTP".to_owned())
}

fn unexpected(path: &str, answer: &Answer) -> Error {
    let why = match answer {
        Answer::Status(MISSING) => "is not there",
        Answer::Status(DENIED) => "may not be read",
        _ => "can't be read",
    };
    Error::Refused(format!("{path} {why}"))
}

/// What a server answers.
#[derive(Debug)]
enum Answer {
    Status(u32),
    Handle(Vec<u8>),
    Data(Vec<u8>),
    Names(Vec<(String, Stat)>),
    Stat(Stat),
}

impl Answer {
    fn read(kind: u8, fields: &mut Fields<'_>) -> Option<Self> {
        Some(match kind {
            STATUS => Self::Status(fields.number()?),
            HANDLE => Self::Handle(fields.bytes()?.to_vec()),
            DATA => Self::Data(fields.bytes()?.to_vec()),
            ATTRIBUTES => Self::Stat(fields.stat()?),
            NAME => {
                let count = fields.number()?;
                let mut names = Vec::new();
                for _ in 0..count {
                    let name = String::from_utf8(fields.bytes()?.to_vec());
                    fields.bytes()?; // The line that people would see.
                    let stat = fields.stat()?;
                    // No name of a store's file is anything but UTF-8.
                    names.extend(name.ok().map(|name| (name, stat)));
                }
                Self::Names(names)
            }
            _ => return None,
        })
    }
}

/// A packet that is being written.
#[derive(Debug)]
struct Packet {
    kind: u8,
    id: Option<u32>,
    body: Vec<u8>,
}

impl Packet {
    fn new(kind: u8) -> Self {
        Self {
            kind,
            id: None,
            body: Vec::new(),
        }
    }

    fn with_id(mut self, id: u32) -> Self {
        self.id = Some(id);
        self
    }

    fn number(&mut self, number: u32) {
        self.body.extend(number.to_be_bytes());
    }

    fn long(&mut self, number: u64) {
        self.body.extend(number.to_be_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        self.body.extend(bytes);
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn finish(self) -> Vec<u8> {
        let id = self.id.map(u32::to_be_bytes);
        let id = id.as_ref().map_or(&[][..], |id| &id[..]);
        let length = u32::try_from(1 + id.len() + self.body.len()).unwrap_or(u32::MAX);
        [&length.to_be_bytes()[..], &[self.kind], id, &self.body].concat()
    }
}

/// The fields of a packet, one after another; `None` where it ends too soon.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (first, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(first)
    }

    fn number(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let count = self.number()?;
        self.take(count as usize)
    }

    fn stat(&mut self) -> Option<Stat> {
        let flags = self.number()?;
        let mut stat = Stat {
            bytes: 0,
            modified: 0,
            is_folder: false,
        };
        if flags & 1 != 0 {
            stat.bytes = u64::from_be_bytes(self.take(8)?.try_into().ok()?);
        }
        if flags & 2 != 0 {
            self.take(8)?;
        }
        if flags & 4 != 0 {
            stat.is_folder = self.number()? & 0o170_000 == 0o040_000;
        }
        if flags & 8 != 0 {
            self.number()?;
            stat.modified = self.number()?;
        }
        if flags & 0x8000_0000 != 0 {
            for _ in 0..self.number()? {
                self.bytes()?;
                self.bytes()?;
            }
        }
        Some(stat)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_read_as_it_is_written_and_a_torn_one_is_none() {
        let mut packet = Packet::new(READ);
        packet.bytes(b"handle");
        packet.long(1 << 40);
        let bytes = packet.with_id(7).finish();
        assert_eq!(bytes.get(..4), Some(&[0, 0, 0, 23][..]));
        let mut fields = Fields(bytes.get(5..).unwrap());
        assert_eq!(fields.number(), Some(7));
        assert_eq!(fields.bytes(), Some(&b"handle"[..]));
        assert_eq!(fields.take(8), Some(&(1_u64 << 40).to_be_bytes()[..]));
        assert_eq!(fields.number(), None);
        // A length that goes beyond the packet.
        assert_eq!(Fields(&[0, 0, 0, 9, 1]).bytes(), None);
        let names = [0, 0, 0, 200];
        assert!(Answer::read(NAME, &mut Fields(&names)).is_none());
    }
}
