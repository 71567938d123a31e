//! A place in which one process runs after another, and in which the killer finds it.

use std::io::Read;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// What runs in a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Writer,
    Legacy,
    Consolidate,
    Maintain,
    Reader,
}

#[derive(Debug)]
pub struct Slot {
    pub kind: Kind,
    child: Mutex<Option<Child>>,
    /// What runs at this moment is not to be killed: some must reach their end.
    spared: AtomicBool,
    pub starts: AtomicU64,
    pub kills: AtomicU64,
}

/// How a process ended.
#[derive(Debug)]
pub struct End {
    /// `None`: killed.
    pub code: Option<i32>,
    pub stderr: String,
}

impl Slot {
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            child: Mutex::new(None),
            spared: AtomicBool::new(false),
            starts: AtomicU64::new(0),
            kills: AtomicU64::new(0),
        }
    }

    /// Starts a process, with pipes to and from it. Its stderr is short.
    pub fn start(&self, command: &mut Command) -> (ChildStdin, ChildStdout, ChildStderr) {
        let command = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let pipes = (
            child.stdin.take().unwrap(),
            child.stdout.take().unwrap(),
            child.stderr.take().unwrap(),
        );
        *self.child.lock().unwrap() = Some(child);
        self.starts.fetch_add(1, Ordering::Relaxed);
        pipes
    }

    /// How the process ended; waits until it has closed its stderr.
    pub fn end(&self, mut stderr: ChildStderr) -> End {
        let mut text = Vec::new();
        let _ = stderr.read_to_end(&mut text);
        let code = self
            .child
            .lock()
            .unwrap()
            .take()
            .unwrap()
            .wait()
            .unwrap()
            .code();
        End {
            code,
            stderr: String::from_utf8_lossy(&text).into_owned(),
        }
    }

    /// Whether the next process may be killed.
    pub fn spare(&self, spared: bool) {
        self.spared.store(spared, Ordering::Relaxed);
    }

    /// Kills what runs at this moment.
    pub fn kill(&self) {
        if self.spared.load(Ordering::Relaxed) {
            return;
        }
        let mut child = self.child.lock().unwrap();
        if let Some(child) = alive(&mut child) {
            child.kill().unwrap();
            self.kills.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Lets what runs at this moment be very slow.
    pub fn hold(&self, time: Duration) {
        let mut child = self.child.lock().unwrap();
        if let Some(child) = alive(&mut child) {
            let pid = Pid::from_child(child);
            let _ = kill_process(pid, Signal::STOP);
            std::thread::sleep(time);
            let _ = kill_process(pid, Signal::CONT);
        }
    }
}

fn alive(child: &mut Option<Child>) -> Option<&mut Child> {
    let child = child.as_mut()?;
    matches!(child.try_wait(), Ok(None)).then_some(child)
}
