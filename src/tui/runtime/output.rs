//! The way to the terminal: one thread writes, so that a terminal that takes nothing
//! (a slow line, a stopped emulator) holds up neither the event loop nor the end of the
//! program. There is at most one frame on its way; the next one is drawn when it is out,
//! from what is true then.

use std::io;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use tokio::sync::Notify;

/// What is on its way.
struct Line {
    waiting: Vec<u8>,
    /// The thread writes.
    busy: bool,
    /// The thread runs.
    begun: bool,
    /// The terminal took no more, for good.
    failed: bool,
}

static LINE: Mutex<Line> = Mutex::new(Line {
    waiting: Vec::new(),
    busy: false,
    begun: false,
    failed: false,
});
/// Something is waiting, or everything is out.
static MOVED: Condvar = Condvar::new();
/// Everything is out, or nothing goes any more.
static FREED: Notify = Notify::const_new();

fn line() -> MutexGuard<'static, Line> {
    LINE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts the thread, once.
pub(crate) fn begin() -> io::Result<()> {
    let mut line = line();
    if !line.begun {
        thread::Builder::new()
            .name("terminal".to_owned())
            .spawn(write_on)?;
        line.begun = true;
    }
    Ok(())
}

/// Asks the terminal to take a text into its clipboard (OSC 52). What the terminal makes of it is
/// the user's choice; tmux passes it on with `set-clipboard on`.
pub(crate) fn copying(text: &str) -> Vec<u8> {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = b"\x1b]52;c;".to_vec();
    for three in text.as_bytes().chunks(3) {
        let bits = three
            .iter()
            .chain(&[0, 0])
            .take(3)
            .fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte));
        for (at, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            let letter = LETTERS.get(bits >> shift & 63).copied();
            out.push(if at <= three.len() {
                letter.unwrap_or(b'=')
            } else {
                b'='
            });
        }
    }
    out.push(7);
    out
}

/// Sends bytes after those that are on their way. Never waits.
pub(crate) fn send(bytes: &[u8]) {
    let mut line = line();
    if !line.failed {
        line.waiting.extend_from_slice(bytes);
    }
    MOVED.notify_all();
}

/// Whether nothing is on its way.
pub(crate) fn is_free() -> bool {
    let line = line();
    line.failed || (line.waiting.is_empty() && !line.busy)
}

/// Whether the terminal is gone.
pub(crate) fn has_failed() -> bool {
    line().failed
}

/// Waits until something that was on its way is out.
pub(crate) async fn freed() {
    FREED.notified().await;
}

/// Waits for everything to be out, but no longer than this.
pub(crate) fn flush(within: Duration) {
    let end = Instant::now() + within;
    let mut line = line();
    while line.begun && !line.failed && (line.busy || !line.waiting.is_empty()) {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        line = MOVED
            .wait_timeout(line, left)
            .unwrap_or_else(PoisonError::into_inner)
            .0;
    }
}

fn write_on() {
    loop {
        let mut line = line();
        while line.waiting.is_empty() {
            line = MOVED.wait(line).unwrap_or_else(PoisonError::into_inner);
        }
        let bytes = std::mem::take(&mut line.waiting);
        line.busy = true;
        drop(line);
        let written = write(&bytes);
        let mut line = self::line();
        line.busy = false;
        line.failed |= written.is_err();
        if line.failed {
            line.waiting = Vec::new();
        }
        drop(line);
        MOVED.notify_all();
        FREED.notify_one();
    }
}

/// Writes past the lock of the standard output, which whoever ends the program may need.
fn write(mut bytes: &[u8]) -> Result<(), Errno> {
    let stdout = io::stdout();
    while !bytes.is_empty() {
        match rustix::io::write(&stdout, bytes) {
            Ok(0) => return Err(Errno::IO),
            Ok(n) => bytes = bytes.get(n..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            // Somebody who had the terminal before left it non-blocking.
            Err(Errno::AGAIN) => match poll(&mut [PollFd::new(&stdout, PollFlags::OUT)], None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            },
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod copying_tests {
    #[test]
    fn a_text_is_copied_in_base64() {
        for (text, coded) in [
            ("", ""),
            ("a", "YQ=="),
            ("ab", "YWI="),
            ("abc", "YWJj"),
            ("a.eval#7", "YS5ldmFsIzc="),
        ] {
            let expected = format!("\x1b]52;c;{coded}\x07").into_bytes();
            assert_eq!(super::copying(text), expected, "{text}");
        }
    }
}
