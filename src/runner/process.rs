//! One start of the command: a session of its own, fed on stdin, its output kept in bounded
//! memory, ended in time, and nothing of it left running.
//!
//! One thread a process is enough: it polls the pipes. Their end says that the process
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

use super::answer::{Answer, Listener};
use super::family::Family;
use super::guard::Guard;
use super::stop::{Stop, Urgency};
use crate::store::format::record::Mended;

/// How long a program has to end by itself once it was asked to.
const GRACE: Duration = Duration::from_secs(2);
/// How often a process is looked at whose pipes are open.
const LOOK: Duration = Duration::from_secs(1);
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
    pub(super) answer: Answer,
    /// What it had to be read as.
    pub(super) mended: Mended,
    pub(super) stderr: Vec<u8>,
    pub(super) took: Duration,
}

/// Runs `command` (a program and its arguments) to its end. `environment` is added to
/// ours; without a value, a variable is taken away. The guard ends it where we can't.
#[allow(clippy::too_many_arguments)] // what one start is made of
pub(super) fn run(
    test_id: &str,
    command: &[OsString],
    environment: &[(&str, Option<String>)],
    input: Vec<u8>,
    timeout: Option<Duration>,
    stop: &Stop,
    family: &Family,
    guard: Option<&Guard>,
) -> io::Result<Ended> {
    let (program, arguments) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut start = Command::new(program);
    start
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    own_session(&mut start);
    for (name, value) in environment {
        match value {
            Some(value) => start.env(name, value),
            None => start.env_remove(name),
        };
    }
    let begun = Instant::now();
    let group = Group::start(&mut start, test_id, family, guard)?;
    let mut running = Running::new(group, input)?;
    let end = running.wait(begun, timeout, stop)?;
    let listener = std::mem::take(&mut running.stdout.kept);
    Ok(Ended {
        end,
        mended: listener.mended(),
        answer: listener.finish(),
        stderr: running.stderr.kept.bytes(),
        took: begun.elapsed(),
    })
}

/// Gives a command a session, and with it a group, of its own: it is ended as a whole, Ctrl-C
/// reaches us alone, and it has no terminal that it could take from us, or for which it would be
/// stopped.
// The standard library has no call for it yet.
#[allow(unsafe_code)]
fn own_session(command: &mut Command) {
    // SAFETY: between fork and exec it makes one system call and allocates nothing.
    unsafe {
        command.pre_exec(|| {
            rustix::process::setsid()?;
            Ok(())
        });
    }
}

/// A process that leads its group. Dropped, nothing of the group is left.
struct Group<'a> {
    child: Child,
    id: Pid,
    test_id: &'a str,
    family: &'a Family,
    guard: Option<&'a Guard>,
    /// It did not end by itself, so that what it left is looked for at once.
    hurry: bool,
    reaped: bool,
}

impl<'a> Group<'a> {
    fn start(
        command: &mut Command,
        test_id: &'a str,
        family: &'a Family,
        guard: Option<&'a Guard>,
    ) -> io::Result<Self> {
        let child = family.spawn(command)?;
        let id = Pid::from_child(&child);
        if let Some(guard) = guard {
            guard.began(id);
        }
        Ok(Self {
            child,
            id,
            test_id,
            family,
            guard,
            hurry: false,
            reaped: false,
        })
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
            let status = self.child.wait();
            self.family.ended(self.id, self.test_id, self.hurry);
            return status;
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
    stdout: Stream<std::process::ChildStdout, Listener>,
    stderr: Stream<std::process::ChildStderr, Tail>,
}

impl<'a> Running<'a> {
    fn new(mut group: Group<'a>, input: Vec<u8>) -> io::Result<Self> {
        let child = &mut group.child;
        let missing = || io::Error::other("a pipe is missing");
        let stdin = child.stdin.take().ok_or_else(missing)?;
        // A program that never reads must not stop us.
        rustix::io::ioctl_fionbio(&stdin, true)?;
        let stdout = Stream::new(child.stdout.take().ok_or_else(missing)?);
        let stderr = Stream::new(child.stderr.take().ok_or_else(missing)?);
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
                self.group.hurry = true;
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
                    self.group.hurry = true;
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
            // A program that has read enough is not a failure.
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

/// A stream that is read, and what is kept of it.
struct Stream<R, K> {
    pipe: Option<R>,
    kept: K,
}

/// Keeps what matters of a stream.
trait Keep: Default {
    fn keep(&mut self, bytes: &[u8]);
}

impl Keep for Listener {
    fn keep(&mut self, bytes: &[u8]) {
        self.take(bytes);
    }
}

impl<R: Read, K: Keep> Stream<R, K> {
    fn new(pipe: R) -> Self {
        Self {
            pipe: Some(pipe),
            kept: K::default(),
        }
    }

    /// One read of a pipe that has something.
    fn take(&mut self) {
        let Some(pipe) = &mut self.pipe else { return };
        let mut buffer = [0; 16 << 10];
        match pipe.read(&mut buffer) {
            Ok(0) => self.pipe = None,
            Ok(read) => self.kept.keep(buffer.get(..read).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => self.pipe = None,
        }
    }
}

/// The last bytes of a stream.
#[derive(Default)]
struct Tail(Vec<u8>);

impl Keep for Tail {
    fn keep(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
        if self.0.len() > 2 * STDERR_BYTES {
            self.cut();
        }
    }
}

impl Tail {
    fn cut(&mut self) {
        let over = self.0.len().saturating_sub(STDERR_BYTES);
        self.0.drain(..over);
    }

    fn bytes(&mut self) -> Vec<u8> {
        self.cut();
        std::mem::take(&mut self.0)
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
