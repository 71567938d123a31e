//! Notices that the terminal vanished or that the process is asked to end, and makes
//! sure that it does: whatever the event loop is stuck in, nothing is left running.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::UnboundedSender;

use super::terminal;
use crate::signals;

/// How long the event loop may take to end by itself.
const GRACE: Duration = Duration::from_millis(1_200);
/// Whether it has ended, so that what comes after it may take its time.
static ENDED: AtomicBool = AtomicBool::new(false);

/// The event loop has ended by itself.
pub(crate) fn ended() {
    ENDED.store(true, Ordering::SeqCst);
}

/// Ends the process when the event loop has not done so.
fn force(code: i32) {
    if !ENDED.load(Ordering::SeqCst) {
        terminal::give_back();
        std::process::exit(code);
    }
}

/// What came from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outside {
    /// End: a signal, or no terminal any more.
    End,
    /// Stop until continued.
    Stop,
    /// Continued.
    Continue,
    /// The terminal may have another size.
    Resized,
}

/// Starts to listen. A terminal that hangs up reads as endless nothing, at which a
/// reader would spin, so it is watched for hanging up rather than for input.
pub(crate) fn listen(to: &UnboundedSender<Outside>) -> io::Result<()> {
    ENDED.store(false, Ordering::SeqCst);
    let stop = SignalKind::from_raw(rustix::process::Signal::TSTP.as_raw());
    let go_on = SignalKind::from_raw(rustix::process::Signal::CONT.as_raw());
    let kinds = [
        (SignalKind::terminate(), Outside::End),
        (SignalKind::hangup(), Outside::End),
        (SignalKind::interrupt(), Outside::End),
        (SignalKind::quit(), Outside::End),
        (stop, Outside::Stop),
        (go_on, Outside::Continue),
        (SignalKind::window_change(), Outside::Resized),
    ];
    // On a thread of their own they are heard whatever the event loop is stuck in.
    let runtime = signals::runtime()?;
    let listening = {
        let _within = runtime.enter();
        kinds
            .into_iter()
            .map(|(kind, what)| Ok(forward(signal(kind)?, to.clone(), what)))
            .collect::<io::Result<Vec<_>>>()?
    };
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            runtime.block_on(async {
                let listening: Vec<_> = listening.into_iter().map(tokio::spawn).collect();
                for one in listening {
                    let _ = one.await;
                }
            });
        })?;
    let to = to.clone();
    thread::Builder::new()
        .name("hangup".to_owned())
        .spawn(move || {
            if hung_up() {
                let _ = to.send(Outside::End);
                thread::sleep(GRACE);
                force(130);
            }
        })?;
    Ok(())
}

async fn forward(mut signals: Signal, to: UnboundedSender<Outside>, what: Outside) {
    while signals.recv().await.is_some() {
        if to.send(what).is_err() {
            return;
        }
        if what == Outside::End {
            tokio::time::sleep(GRACE).await;
            force(130);
        }
    }
}

/// Waits until the terminal hangs up; false where that is unknown.
fn hung_up() -> bool {
    let stdout = io::stdout();
    loop {
        let mut fds = [PollFd::new(&stdout, PollFlags::empty())];
        match poll(&mut fds, None) {
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
            Ok(_) => {
                let happened = fds
                    .iter()
                    .map(PollFd::revents)
                    .fold(PollFlags::empty(), |a, b| a | b);
                if happened.intersects(PollFlags::HUP | PollFlags::ERR) {
                    return true;
                }
                if happened.contains(PollFlags::NVAL) {
                    return false;
                }
            }
        }
    }
}
