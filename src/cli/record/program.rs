//! The program at the other end of the pipe, and how it ended.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::store::disk::process::{
    Exit, Holder, Identity, Watched, holders_of_stdin, started_this_program,
};
use crate::store::format::heartbeat::Ended;
use crate::store::write::live::Live;

/// A program that is on its way out is waited for this long.
const PATIENCE: Duration = Duration::from_secs(5);
/// The time between two scans of it.
const PAUSE: Duration = Duration::from_millis(5);

/// The processes that could write into our stdin.
#[derive(Debug, Default)]
pub(super) struct Program {
    watched: Vec<Watched>,
    warned: bool,
}

impl Program {
    /// Looks who they are: the parent, else the first of them, is the user's program.
    pub(super) fn find(live: &Live) -> Self {
        let mut program = Self::default();
        program.look(&holders_of_stdin());
        if let Some(first) = program.watched.first() {
            live.program(first.identity.clone());
        } else if let Some(parent) = rustix::process::getppid() {
            // Its input is a file, or nobody can know.
            let pid = u32::try_from(parent.as_raw_nonzero().get()).unwrap_or_default();
            let parent = Identity::of(pid).filter(|parent| parent.pid > 1);
            if let Some(parent) = parent {
                live.program(parent);
            }
        }
        program
    }

    fn look(&mut self, holders: &[Holder]) {
        for holder in holders {
            if !self
                .watched
                .iter()
                .any(|known| known.identity.pid == holder.pid)
            {
                self.watched.extend(Watched::new(holder.pid));
            }
        }
    }

    /// Looks again who holds the pipe: forked workers may have come. A sentence, once, when
    /// several processes of one program do, since their lines may mix and answers go to any of
    /// them. In a pipeline of a shell several holding it is the rule.
    pub(super) fn shared(&mut self) -> Option<String> {
        if self.warned {
            return None;
        }
        let holders = holders_of_stdin();
        self.look(&holders);
        let mut workers: Vec<&Holder> = holders.iter().filter(|holder| !holder.standard).collect();
        // A forked worker has inherited the pipe; with a recorder of its own it leaves this alone.
        let of_program = workers.first().map(|holder| holder.pid);
        workers
            .retain(|holder| Some(holder.pid) == of_program || !started_this_program(holder.pid));
        if workers.len() < 2 {
            return None;
        }
        self.warned = true;
        let pids: Vec<String> = workers.iter().take(4).map(|h| h.pid.to_string()).collect();
        Some(format!(
            "{} processes write into this one recorder ({}{}): lines may mix, and answers go to whichever reads \
             first; start one evaltop record in each process",
            workers.len(),
            pids.join(", "),
            if workers.len() > pids.len() {
                ", …"
            } else {
                ""
            },
        ))
    }

    /// At the end of the input: says how the program ended, unless it said so itself.
    pub(super) fn ended(self, live: &Live) {
        let exits = self.exits();
        let killed = exits
            .iter()
            .find(|exit| matches!(exit, Exit::Signal(_)) && !exit.is_request());
        let asked = exits.iter().find(|exit| exit.is_request());
        let failed = exits
            .iter()
            .find(|exit| matches!(exit, Exit::Status(status) if *status != 0));
        let running = live.running() > 0;
        let (ended, why) = match (killed, asked, failed) {
            (Some(exit), ..) => (Ended::Lost, Some(exit)),
            (None, exit, _) if running => (Ended::Lost, exit.or(failed)),
            (None, Some(exit), _) => (Ended::Ended, Some(exit)),
            (None, None, Some(exit)) => (Ended::Failed, Some(exit)),
            (None, None, None) => (Ended::Ended, None),
        };
        if asked.is_some() {
            live.interrupted();
        }
        live.end(ended, why.map(ToString::to_string), Timestamp::now());
    }

    /// How those ended that are gone or on their way out; one that closed the pipe and lives on
    /// is not waited for.
    fn exits(&self) -> Vec<Exit> {
        let begun = Instant::now();
        let mut exits = Vec::new();
        for watched in self.watched.iter().filter(|watched| watched.is_ending()) {
            loop {
                if let Some(exit) = watched.exit() {
                    exits.push(exit);
                    break;
                }
                // Ended without a way to know how, or stuck on its way out.
                if begun.elapsed() > PATIENCE
                    || (watched.has_ended() && begun.elapsed() > PATIENCE / 5)
                {
                    break;
                }
                std::thread::sleep(PAUSE);
            }
        }
        exits
    }
}
