//! What ends the programs of a run that was itself killed.
//!
//! A killed run can't end anything. So a run starts one process more, which hears
//! through a pipe of every process group that begins and ends. When the pipe ends, it
//! kills the groups that are left, which works on every Unix and ends what programs
//! started themselves too. A program that started in the very moment of the kill, before
//! the guard was reported, is not known to it; nor is one that left its group.

use std::collections::HashSet;
use std::ffi::OsString;
use std::io::{BufRead, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};

use super::family::Family;

/// The guard of one run, which ends with it.
#[derive(Debug)]
pub(super) struct Guard(Child);

impl Guard {
    /// Starts it. Without one, a run goes on all the same.
    pub(super) fn start(command: &[OsString], family: &Family) -> Option<Self> {
        let (program, arguments) = command.split_first()?;
        // A group of its own, which no Ctrl-C reaches; it holds nothing of ours open.
        let started = family.spawn(
            Command::new(program)
                .args(arguments)
                .process_group(0)
                .current_dir("/")
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::null()),
        );
        started
            .inspect_err(|error| tracing::warn!("no guard for this run: {error}"))
            .ok()
            .map(Self)
    }

    /// A group that there is now.
    pub(super) fn began(&self, group: Pid) {
        self.send('+', group);
    }

    /// A group that is about to be gone; reported before its number can be another's.
    pub(super) fn ended(&self, group: Pid) {
        self.send('-', group);
    }

    fn send(&self, sign: char, group: Pid) {
        let line = format!("{sign}{}\n", group.as_raw_nonzero());
        if let Some(mut pipe) = self.0.stdin.as_ref() {
            // One write, which threads can't mix. A guard that is gone is not a reason to stop.
            let _ = pipe.write_all(line.as_bytes());
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// The guard's own side: reads what it is asked to the end, then kills what is left.
pub fn keep(orders: impl BufRead) {
    let mut groups = HashSet::new();
    for line in orders.lines().map_while(Result::ok) {
        let group = line
            .get(1..)
            .and_then(|group| group.parse::<i32>().ok())
            .filter(|group| *group > 1);
        let Some(group) = group.and_then(Pid::from_raw) else {
            continue;
        };
        if line.starts_with('+') {
            groups.insert(group)
        } else {
            groups.remove(&group)
        };
    }
    for group in groups {
        // One that ended meanwhile needs no signal.
        let _ = kill_process_group(group, Signal::KILL);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn kills_the_groups_that_are_left() {
        let start = || {
            Command::new("sleep")
                .arg("60")
                .process_group(0)
                .spawn()
                .unwrap()
        };
        let (mut left, mut over) = (start(), start());
        let orders = format!(
            "+{}\n+{}\nnonsense\n+0\n+-1\n-{}\n",
            left.id(),
            over.id(),
            over.id()
        );
        keep(orders.as_bytes());
        assert_eq!(left.wait().unwrap().signal(), Some(9));
        assert!(
            over.try_wait().unwrap().is_none(),
            "it is not the guard's any more"
        );
        over.kill().unwrap();
        over.wait().unwrap();
    }
}
