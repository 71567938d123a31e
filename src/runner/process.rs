//! One start of the command: a process group of its own, fed on stdin, its output kept
//! in bounded memory, ended in time, and nothing of it left running.
//!
//! One thread a process is enough: it polls the pipes. Their end tells that the process
//! is ending; only where something else holds them open is the process looked at itself,
//! once a second.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::guard::Guard;
use super::stop::{Stop, Urgency};

/// How long a program has to end by itself once it was asked to.
const GRACE: Duration = Duration::from_secs(2);
/// How often a process is looked at whose pipes are open.
const LOOK: Duration = Duration::from_secs(1);
/// Bytes of stdout that are kept: the last ones, where the result stands.
const STDOUT_BYTES: usize = 1 << 20;
/// Bytes of stderr that are kept.
const STDERR_BYTES: usize = 8 << 10;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// With this exit status.
    Exited(i32),
    /// By this signal.
    Signalled(i32),
    /// It took too long and was ended.
    TimedOut,
    /// The run ended first.
    Stopped,
}

/// What is known of a process that ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) end: End,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
    pub(super) took: Duration,
}

/// Runs `command` (a program and its arguments) to its end. `environment` is added to
/// ours; without a value, a variable is taken away. The guard ends it where we can't.
pub(super) fn run(
    command: &[OsString],
    environment: &[(&str, Option<String>)],
    input: Vec<u8>,
    timeout: Option<Duration>,
    stop: &Stop,
    guard: Option<&Guard>,
) -> io::Result<Ended> {
    let (program, arguments) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut start = Command::new(program);
    start
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    // Its own group: it is ended as a whole, and Ctrl-C reaches us alone.
    start.process_group(0);
    for (name, value) in environment {
        match value {
            Some(value) => start.env(name, value),
            None => start.env_remove(name),
        };
    }
    let begun = Instant::now();
    let group = Group::of(start.spawn()?, guard);
    let mut running = Running::new(group, input)?;
    let end = running.wait(begun, timeout, stop)?;
    Ok(Ended {
        end,
        stdout: running.stdout.kept(),
        stderr: running.stderr.kept(),
        took: begun.elapsed(),
    })
}

/// A process that leads its group. Dropped, nothing of the group is left.
struct Group<'a> {
    child: Child,
    id: Pid,
    guard: Option<&'a Guard>,
    reaped: bool,
}

impl<'a> Group<'a> {
    fn of(child: Child, guard: Option<&'a Guard>) -> Self {
        let id = Pid::from_child(&child);
        if let Some(guard) = guard {
            guard.began(id);
        }
        Self {
            child,
            id,
            guard,
            reaped: false,
        }
    }

    fn signal(&self, signal: Signal) {
        // A group that is gone needs no signal.
        let _ = kill_process_group(self.id, signal);
    }

    /// Whether the leader has ended. It is left to be waited for, so that its number
    /// can't become someone else's before the group was signalled.
    fn has_ended(&self) -> io::Result<bool> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        Ok(waitid(WaitId::Pid(self.id), options)?.is_some())
    }

    /// Ends what is left of the group and waits for its leader. Only then may the number
    /// become someone else's, so that nobody signals it any more.
    fn reap(&mut self) -> io::Result<ExitStatus> {
        if !self.reaped {
            self.signal(Signal::KILL);
            if let Some(guard) = self.guard {
                guard.ended(self.id);
            }
            self.reaped = true;
        }
        self.child.wait()
    }
}

impl Drop for Group<'_> {
    fn drop(&mut self) {
        let _ = self.reap();
    }
}

struct Running<'a> {
    group: Group<'a>,
    input: Option<(ChildStdin, Vec<u8>)>,
    stdout: Tail<std::process::ChildStdout>,
    stderr: Tail<std::process::ChildStderr>,
}

impl<'a> Running<'a> {
    fn new(mut group: Group<'a>, input: Vec<u8>) -> io::Result<Self> {
        let child = &mut group.child;
        let missing = || io::Error::other("a pipe is missing");
        let stdin = child.stdin.take().ok_or_else(missing)?;
        // A program that never reads must not stop us.
        rustix::io::ioctl_fionbio(&stdin, true)?;
        let stdout = Tail::new(child.stdout.take().ok_or_else(missing)?, STDOUT_BYTES);
        let stderr = Tail::new(child.stderr.take().ok_or_else(missing)?, STDERR_BYTES);
        Ok(Self {
            group,
            input: Some((stdin, input)),
            stdout,
            stderr,
        })
    }

    fn wait(&mut self, begun: Instant, timeout: Option<Duration>, stop: &Stop) -> io::Result<End> {
        let deadline = timeout.and_then(|timeout| begun.checked_add(timeout));
        // Why it is being ended, and when politeness is over.
        let mut ending: Option<(End, Instant)> = None;
        let mut look = Duration::from_millis(1);
        let mut looked = begun;
        loop {
            self.feed();
            let over = self.stdout.pipe.is_none() && self.stderr.pipe.is_none();
            let now = Instant::now();
            if stop.asked(Urgency::Kill) {
                return Ok(End::Stopped);
            }
            let why = if stop.asked(Urgency::Interrupt) {
                Some(End::Stopped)
            } else {
                deadline
                    .filter(|deadline| now >= *deadline)
                    .map(|_| End::TimedOut)
            };
            match (ending, why) {
                (None, Some(why)) => {
                    self.group.signal(Signal::TERM);
                    ending = Some((why, now + GRACE));
                }
                (Some((why, until)), _) if now >= until => return Ok(why),
                _ => {}
            }
            let mut patience = LOOK;
            if over {
                patience = look;
                look = (look * 2).min(Duration::from_millis(250));
            }
            let until = [
                deadline.filter(|_| ending.is_none()),
                ending.map(|(_, until)| until),
            ];
            for until in until.into_iter().flatten() {
                patience = patience.min(until.saturating_duration_since(now));
            }
            let something = self.poll(patience, stop, ending.is_none())?;
            let silent = !something || (self.stdout.pipe.is_none() && self.stderr.pipe.is_none());
            // What floods us with output after its leader's end must not hide that end.
            let look_now = silent || looked.elapsed() > LOOK;
            if look_now {
                looked = Instant::now();
            }
            if look_now && self.group.has_ended()? {
                self.drain()?;
                // What it left behind ends with it.
                let status = self.group.reap()?;
                return Ok(match (ending, status.signal(), status.code()) {
                    (Some((why, _)), ..) => why,
                    (None, Some(signal), _) => End::Signalled(signal),
                    (None, None, code) => End::Exited(code.unwrap_or(-1)),
                });
            }
        }
    }

    /// Waits for output and takes it; false when there was none.
    fn poll(&mut self, patience: Duration, stop: &Stop, wakes: bool) -> io::Result<bool> {
        let (out, err) = (self.stdout.pipe.as_ref(), self.stderr.pipe.as_ref());
        let mut fds = Vec::with_capacity(4);
        fds.extend(out.map(|pipe| PollFd::new(pipe, PollFlags::IN)));
        fds.extend(err.map(|pipe| PollFd::new(pipe, PollFlags::IN)));
        fds.extend(
            self.input
                .as_ref()
                .map(|(pipe, _)| PollFd::new(pipe, PollFlags::OUT)),
        );
        if wakes {
            fds.push(PollFd::from_borrowed_fd(stop.wake(), PollFlags::IN));
        }
        let ready = poll(&mut fds, patience)?;
        let mut ready_fds = fds.iter().map(|fd| !fd.revents().is_empty());
        let out = out.is_some() && ready_fds.next().unwrap_or_default();
        let err = err.is_some() && ready_fds.next().unwrap_or_default();
        drop(fds);
        if out {
            self.stdout.take();
        }
        if err {
            self.stderr.take();
        }
        Ok(ready > 0)
    }

    /// Writes what the pipe takes; closes it after the last byte.
    fn feed(&mut self) {
        let Some((pipe, input)) = &mut self.input else {
            return;
        };
        let open = match pipe.write(input) {
            Ok(written) => {
                input.drain(..written);
                !input.is_empty()
            }
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) =>
            {
                true
            }
            // A program that has read enough is no failure.
            Err(_) => false,
        };
        if !open {
            self.input = None;
        }
    }

    /// What is in the pipes after the leader ended; whoever still holds them open is
    /// not waited for.
    fn drain(&mut self) -> io::Result<()> {
        fn there(pipe: Option<&impl AsFd>) -> io::Result<bool> {
            let Some(pipe) = pipe else { return Ok(false) };
            Ok(poll(&mut [PollFd::new(pipe, PollFlags::IN)], Duration::ZERO)? > 0)
        }
        // More than a pipe holds is being written at this moment by what was left behind.
        for _ in 0..64 {
            let (out, err) = (
                there(self.stdout.pipe.as_ref())?,
                there(self.stderr.pipe.as_ref())?,
            );
            if out {
                self.stdout.take();
            }
            if err {
                self.stderr.take();
            }
            if !out && !err {
                break;
            }
        }
        Ok(())
    }
}

/// The last bytes of a stream.
struct Tail<R> {
    pipe: Option<R>,
    bytes: Vec<u8>,
    limit: usize,
}

impl<R: Read> Tail<R> {
    fn new(pipe: R, limit: usize) -> Self {
        Self {
            pipe: Some(pipe),
            bytes: Vec::new(),
            limit,
        }
    }

    /// One read of a pipe that has something.
    fn take(&mut self) {
        let Some(pipe) = &mut self.pipe else { return };
        let mut buffer = [0; 16 << 10];
        match pipe.read(&mut buffer) {
            Ok(0) => self.pipe = None,
            Ok(read) => self
                .bytes
                .extend_from_slice(buffer.get(..read).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => self.pipe = None,
        }
        if self.bytes.len() > 2 * self.limit {
            self.cut();
        }
    }

    fn cut(&mut self) {
        let over = self.bytes.len().saturating_sub(self.limit);
        self.bytes.drain(..over);
    }

    fn kept(&mut self) -> Vec<u8> {
        self.cut();
        std::mem::take(&mut self.bytes)
    }
}

/// Waits until something is ready, or for so long. Returns how many are.
pub(super) fn poll(fds: &mut [PollFd<'_>], patience: Duration) -> io::Result<usize> {
    let timeout = Timespec {
        tv_sec: i64::try_from(patience.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: patience.subsec_nanos().into(),
    };
    match rustix::event::poll(fds, Some(&timeout)) {
        // Whoever waits looks at the clock again anyway.
        Err(rustix::io::Errno::INTR) => Ok(0),
        result => Ok(result?),
    }
}
