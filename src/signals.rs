//! Signals, where files may have run out: tokio panics then, and a program that can't listen
//! should say so.

use std::io;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::runtime::{Builder, Runtime};

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
