//! What tests leave running when they end. A process that detached itself (a daemon, forked
//! twice, in a session of its own) is in no group of the test any more. On Linux a process can
//! declare itself the one that adopts such orphans: then they are among its children, and say
//! in their environment which test they are of.

use std::collections::HashSet;
use std::io;
use std::process::{Child, Command};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::Pid;

/// Tests that end by themselves are looked after together: a scan reads something of every
/// process of the machine.
const BETWEEN: Duration = Duration::from_secs(1);

/// The processes of a run. Dropped, none is left.
#[derive(Debug)]
pub(super) struct Family {
    /// Whether orphans come to this process.
    adopts: bool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The processes that were started here, and are waited for by who started them.
    own: HashSet<i32>,
    /// Tests that ended, and whose orphans were not looked for.
    over: HashSet<String>,
    looked: Option<Instant>,
}

impl Family {
    /// Begins to adopt, where that is asked for and can be.
    pub(super) fn new(adopts: bool) -> Self {
        Self {
            adopts: adopts && adopt(true),
            state: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a process. One at a time, so that no look takes it for an orphan.
    pub(super) fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        let mut state = self.lock();
        let child = command.spawn()?;
        state.own.insert(child.id() as i32);
        Ok(child)
    }

    /// A process that was started here has ended and was waited for. In a `hurry` what its
    /// test left is ended before this returns.
    pub(super) fn ended(&self, leader: Pid, test_id: &str, hurry: bool) {
        let mut state = self.lock();
        state.own.remove(&leader.as_raw_nonzero().get());
        if !self.adopts {
            return;
        }
        state.over.insert(test_id.to_owned());
        if hurry || state.looked.is_none_or(|at| at.elapsed() >= BETWEEN) {
            let over = std::mem::take(&mut state.over);
            end_orphans(&state.own, Some(&over));
            state.looked = Some(Instant::now());
        }
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        if self.adopts {
            // Also what hides whose it is.
            end_orphans(&self.lock().own, None);
            adopt(false);
        }
    }
}

#[cfg(target_os = "linux")]
fn adopt(on: bool) -> bool {
    let who = on.then(rustix::process::getpid);
    rustix::process::set_child_subreaper(who).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn adopt(_on: bool) -> bool {
    false
}

/// Ends the children of this process that it did not start: those of these tests, or all.
/// When one ends, its own children come to us; so it goes on until there are none.
#[cfg(target_os = "linux")]
fn end_orphans(own: &HashSet<i32>, tests: Option<&HashSet<String>>) {
    use rustix::process::{Signal, WaitId, WaitIdOptions, kill_process, waitid};

    /// What is killed ends at once, or hangs in the kernel for longer than anybody waits.
    const ROUNDS: u32 = 200;
    for _ in 0..ROUNDS {
        let mut killed = false;
        for pid in children().into_iter().filter(|pid| !own.contains(pid)) {
            let Some(id) = Pid::from_raw(pid) else {
                continue;
            };
            let gone = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
            if matches!(waitid(WaitId::Pid(id), gone), Ok(Some(_)) | Err(_)) {
                continue;
            }
            if tests.is_none_or(|tests| test_of(pid).is_some_and(|test| tests.contains(&test))) {
                killed |= kill_process(id, Signal::KILL).is_ok();
            }
        }
        if !killed {
            return;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[cfg(not(target_os = "linux"))]
fn end_orphans(_own: &HashSet<i32>, _tests: Option<&HashSet<String>>) {}

/// The processes whose parent is this one.
#[cfg(target_os = "linux")]
fn children() -> Vec<i32> {
    let us = rustix::process::getpid().as_raw_nonzero().get();
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.filter(|pid| parent_of(*pid) == Some(us)).collect()
}

#[cfg(target_os = "linux")]
fn parent_of(pid: i32) -> Option<i32> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in brackets, and may hold some itself.
    let after = stat.rsplit(|byte| *byte == b')').next()?;
    let mut fields = std::str::from_utf8(after).ok()?.split_ascii_whitespace();
    fields.nth(1)?.parse().ok()
}

/// The test that a process was started for.
#[cfg(target_os = "linux")]
fn test_of(pid: i32) -> Option<String> {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
    let id = environment
        .split(|byte| *byte == 0)
        .find_map(|variable| variable.strip_prefix(b"EVALTOP_TEST_ID="))?;
    String::from_utf8(id.to_vec()).ok()
}
