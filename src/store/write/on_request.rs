//! The last word of a process that is asked to end by SIGTERM and does nothing about it: a pool of
//! workers ends so, and a job that is cancelled. Without it nothing tells it from one that was
//! killed.
//!
//! The handler only wakes a thread and waits for it, a second at most; then the process ends as it
//! would have ended. A program that has a handler of its own keeps it.

use std::sync::Once;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

use super::live::{Live, WeakLive};
use crate::store::format::heartbeat::Ended;

/// Milliseconds that the last word may take.
const PATIENCE: i32 = 1_000;

/// Who has the thread: a forked child has none.
static OWNER: AtomicI32 = AtomicI32::new(0);
/// Where the handler writes that it was asked.
static ASKED: AtomicI32 = AtomicI32::new(-1);
/// Where it reads that the word is said.
static SAID: AtomicI32 = AtomicI32::new(-1);

static LIVES: Mutex<Vec<(WeakLive, bool)>> = Mutex::new(Vec::new());

/// Says so for this writer. A `worker` ends with its pool, which interrupts nothing.
pub fn say_last_word(live: &Live, worker: bool) {
    static ONCE: Once = Once::new();
    let own = i32::try_from(std::process::id()).unwrap_or_default();
    // Held in the parent while it forked, it is never free again; by another thread it soon is.
    let lives = (0..50).find_map(|_| {
        let lives = LIVES.try_lock().ok();
        if lives.is_none() {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        lives
    });
    let Some(mut lives) = lives else {
        return;
    };
    let is_first = OWNER.load(Ordering::Relaxed) != own;
    if is_first {
        lives.clear();
    }
    lives.retain(|(live, _)| live.upgrade().is_some());
    lives.push((live.downgrade(), worker));
    // Nobody ends the first process of a container so.
    if is_first && own > 1 {
        let mut is_ours = false;
        ONCE.call_once(|| is_ours = handle());
        // A forked child has the handler and no thread.
        is_ours |= ASKED.load(Ordering::Relaxed) >= 0;
        if is_ours && start().is_ok() {
            OWNER.store(own, Ordering::Relaxed);
        }
    }
}

/// Takes the signal, where nobody else does.
#[allow(unsafe_code)]
fn handle() -> bool {
    let mut now = std::mem::MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: without a new action it writes the present one, and nothing else.
    let asked = unsafe { libc::sigaction(libc::SIGTERM, std::ptr::null(), now.as_mut_ptr()) };
    // SAFETY: it was written.
    if asked != 0 || unsafe { now.assume_init() }.sa_sigaction != libc::SIG_DFL {
        return false;
    }
    let handler: extern "C" fn(libc::c_int) = on_signal;
    // SAFETY: all zeros is an action without flags, and the handler makes system calls alone.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as libc::sighandler_t;
        action.sa_flags = libc::SA_RESTART;
        libc::sigaction(libc::SIGTERM, &raw const action, std::ptr::null_mut()) == 0
    }
}

#[allow(unsafe_code)]
extern "C" fn on_signal(signal: libc::c_int) {
    // SAFETY: each of these calls may be made in a handler.
    unsafe {
        if OWNER.load(Ordering::Relaxed) == libc::getpid() {
            let byte = [1_u8];
            libc::write(ASKED.load(Ordering::Relaxed), byte.as_ptr().cast(), 1);
            let mut said = libc::pollfd {
                fd: SAID.load(Ordering::Relaxed),
                events: libc::POLLIN,
                revents: 0,
            };
            libc::poll(&raw mut said, 1, PATIENCE);
        }
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
    }
}

/// Starts the thread that says it.
#[allow(unsafe_code)]
fn start() -> std::io::Result<()> {
    let (asked, ask) = std::io::pipe()?;
    let (said, say) = std::io::pipe()?;
    // SAFETY: both sets are written before they are read. The thread gets the mask of its maker,
    // and the signal must find another one.
    let before = unsafe {
        let (mut all, mut before) = (std::mem::zeroed(), std::mem::zeroed());
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const all, &raw mut before);
        before
    };
    let started = std::thread::Builder::new()
        .name("last word".to_owned())
        .spawn(move || {
            use std::io::{Read, Write};
            let (mut asked, mut say) = (asked, say);
            if asked.read_exact(&mut [0]).is_err() {
                return;
            }
            speak();
            // The process ends, also where nobody hears it.
            let _ = say.write_all(&[1]);
        });
    // SAFETY: the set was written above.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut()) };
    started?;
    // They stay open as long as the process lives.
    ASKED.store(std::os::fd::IntoRawFd::into_raw_fd(ask), Ordering::Relaxed);
    SAID.store(std::os::fd::IntoRawFd::into_raw_fd(said), Ordering::Relaxed);
    Ok(())
}

fn speak() {
    let lives = LIVES.lock().unwrap_or_else(PoisonError::into_inner);
    for (live, worker) in lives.iter() {
        let Some(live) = live.upgrade() else { continue };
        if !worker {
            live.interrupted();
        }
        let ended = if live.running() > 0 {
            Ended::Lost
        } else {
            Ended::Ended
        };
        live.last_word(ended, Some("SIGTERM".to_owned()), Timestamp::now());
    }
}
