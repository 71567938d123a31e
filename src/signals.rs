//! Signals, where files may have run out: tokio panics then, and a program that can't listen
//! should say so.

use std::io;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Pairs of sockets: more files than a runtime opens.
const PAIRS: usize = 4;

/// A runtime of this thread alone, which can listen for signals.
pub(crate) fn runtime() -> io::Result<Runtime> {
    // Tokio asserts that it gets its files.
    let pairs: Vec<_> = (0..PAIRS)
        .map(|_| UnixStream::pair())
        .collect::<io::Result<_>>()?;
    drop(pairs);
    let build = || Builder::new_current_thread().enable_all().build();
    catch_unwind(AssertUnwindSafe(build)).unwrap_or_else(|_| Err(rustix::io::Errno::MFILE.into()))
}

/// A signal that this program listens for, unless whoever started it has it ignored: `nohup` does so
/// with the end of the terminal, and shells with Ctrl-C for what they start in the background.
#[derive(Debug)]
pub(crate) struct Heard(Option<Signal>);

impl Heard {
    pub(crate) fn of(kind: SignalKind) -> io::Result<Self> {
        // A request to end is for this program, whatever its parent does with its own.
        if kind != SignalKind::terminate() && is_ignored(kind.as_raw_value()) {
            return Ok(Self(None));
        }
        signal(kind).map(|signal| Self(Some(signal)))
    }

    /// When it comes; never where it is ignored.
    pub(crate) async fn recv(&mut self) {
        match &mut self.0 {
            Some(signal) => {
                signal.recv().await;
            }
            None => std::future::pending().await,
        }
    }
}

#[allow(unsafe_code)]
fn is_ignored(signal: i32) -> bool {
    let mut now = std::mem::MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: without a new action it writes the present one, and nothing else.
    let asked = unsafe { libc::sigaction(signal, std::ptr::null(), now.as_mut_ptr()) };
    // SAFETY: it was written.
    asked == 0 && unsafe { now.assume_init() }.sa_sigaction == libc::SIG_IGN
}
