//! The terminal: taken over on entering, given back on every way out — return,
//! error, panic, signal, suspension. A frame is written only when it differs from
//! the one that is shown, so a picture that stands still costs no byte.

use std::backtrace::Backtrace;
use std::cell::RefCell;
use std::fs;
use std::io::{self, Write};
use std::panic::{self, PanicHookInfo};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crossterm::cursor::{Hide, Show};
use crossterm::event::{
    DisableBracketedPaste, DisableMouseCapture, EnableBracketedPaste, EnableMouseCapture,
};
use crossterm::queue;
use crossterm::terminal::{
    BeginSynchronizedUpdate, EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen,
};
use etcetera::BaseStrategy;
use jiff::Timestamp;
use ratatui::backend::CrosstermBackend;
use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::widgets::Widget;
use ratatui::{Terminal, TerminalOptions, Viewport};
use rustix::termios::Termios;

use super::output;
use crate::tui::input::{Tty, size};
use crate::tui::state::model::Model;
use crate::tui::view::Screen;

use crate::store::parquet::panics_are_caught;

/// Whether the terminal is ours at the moment.
static TAKEN: AtomicBool = AtomicBool::new(false);
/// Whether the mouse was asked for.
static MOUSE: AtomicBool = AtomicBool::new(false);
/// The modes that the terminal had before it was ours.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);
/// Where the report of the last panic is.
static REPORT: Mutex<Option<PathBuf>> = Mutex::new(None);
/// How long a terminal that takes nothing may hold up the end.
const PATIENCE: Duration = Duration::from_millis(400);

/// The bytes of a frame while it is made.
#[derive(Debug, Clone, Default)]
struct Bytes(Rc<RefCell<Vec<u8>>>);

impl Write for Bytes {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    /// Nothing: a frame is sent as one.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The terminal while the dashboard has it. Dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Taken {
    terminal: Terminal<CrosstermBackend<Bytes>>,
    bytes: Bytes,
    shown: Option<(Buffer, Option<Position>)>,
}

impl Taken {
    /// Takes the terminal over.
    pub(crate) fn enter(mouse: bool) -> io::Result<Self> {
        MOUSE.store(mouse, Ordering::Relaxed);
        output::begin()?;
        take()?;
        let (columns, rows) = size();
        let area = Rect::new(0, 0, columns, rows);
        let bytes = Bytes::default();
        let options = TerminalOptions {
            viewport: Viewport::Fixed(area),
        };
        let terminal = Terminal::with_options(CrosstermBackend::new(bytes.clone()), options)?;
        Ok(Self {
            terminal,
            bytes,
            shown: None,
        })
    }

    /// Shows the model. Returns whether anything had to be written.
    pub(crate) fn draw(&mut self, model: &Model) -> io::Result<bool> {
        let screen = Screen(model);
        let mut buffer = Buffer::empty(model.area);
        screen.render(model.area, &mut buffer);
        self.put(buffer, screen.cursor())
    }

    /// Shows a picture. Returns whether anything had to be written.
    pub(crate) fn put(&mut self, buffer: Buffer, cursor: Option<Position>) -> io::Result<bool> {
        let area = buffer.area;
        let frame = (buffer, cursor);
        if self.shown.as_ref() == Some(&frame) {
            return Ok(false);
        }
        queue!(self.terminal.backend_mut(), BeginSynchronizedUpdate)?;
        if self
            .shown
            .as_ref()
            .is_none_or(|(shown, _)| shown.area != area)
        {
            self.terminal.resize(area)?;
        }
        self.terminal.draw(|to| {
            to.buffer_mut().clone_from(&frame.0);
            if let Some(cursor) = frame.1 {
                to.set_cursor_position(cursor);
            }
        })?;
        queue!(self.terminal.backend_mut(), EndSynchronizedUpdate)?;
        self.pass(&self.bytes.0.take());
        self.shown = Some(frame);
        Ok(true)
    }

    /// Passes bytes on. Where they can't be written the next frame says.
    #[allow(clippy::unused_self)] // only who has the terminal may
    pub(crate) fn pass(&self, bytes: &[u8]) {
        output::send(bytes);
    }

    /// Gives the terminal back, stops the process until it is continued, takes the
    /// terminal again.
    pub(crate) fn suspend(&mut self) -> io::Result<()> {
        give_back();
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::STOP)?;
        self.resume()
    }

    /// Draws everything the next time.
    pub(crate) fn forget(&mut self) {
        self.shown = None;
    }

    /// Takes the terminal again after the process was stopped, by whatever signal: the shell
    /// has set modes of its own in the meantime.
    pub(crate) fn resume(&mut self) -> io::Result<()> {
        take()?;
        self.forget();
        Ok(())
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        give_back();
    }
}

fn take() -> io::Result<()> {
    TAKEN.store(true, Ordering::SeqCst);
    let mut bytes = Vec::new();
    let taken = make_raw().and_then(|()| {
        queue!(bytes, EnterAlternateScreen, EnableBracketedPaste, Hide)?;
        if MOUSE.load(Ordering::Relaxed) {
            queue!(bytes, EnableMouseCapture)?;
        }
        Ok(())
    });
    output::send(&bytes);
    if taken.is_err() {
        give_back();
    }
    taken
}

/// Gives the terminal back, once. Errors are passed over: there may be no terminal left.
pub(crate) fn give_back() {
    if !TAKEN.swap(false, Ordering::SeqCst) {
        return;
    }
    let mut bytes = Vec::new();
    if MOUSE.load(Ordering::Relaxed) {
        let _ = queue!(bytes, DisableMouseCapture);
    }
    let _ = queue!(
        bytes,
        EndSynchronizedUpdate,
        DisableBracketedPaste,
        LeaveAlternateScreen,
        Show
    );
    output::send(&bytes);
    output::flush(PATIENCE);
    let before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let (Some(before), Ok(tty)) = (before, Tty::get()) {
        let _ = tty.set_modes(&before);
    }
}

/// The same without waiting for anything: for a process that can't go on.
pub(crate) fn give_back_at_once() {
    const END: &[u8] =
        b"\x1b[?2026l\x1b[?1006l\x1b[?1015l\x1b[?1003l\x1b[?1002l\x1b[?1000l\x1b[?2004l\x1b[?1049l\x1b[?25h";

    if !TAKEN.swap(false, Ordering::SeqCst) {
        return;
    }
    let _ = rustix::io::write(io::stdout(), END);
    if let (Ok(before), Ok(tty)) = (BEFORE.try_lock(), Tty::get())
        && let Some(before) = &*before
    {
        let _ = tty.set_modes(before);
    }
}

/// Keys come one by one and unseen. Set each time: whoever stopped us may have reset it.
fn make_raw() -> io::Result<()> {
    let tty = Tty::get()?;
    let mut before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut modes = match &*before {
        Some(modes) => modes.clone(),
        None => tty.modes()?,
    };
    before.get_or_insert_with(|| modes.clone());
    modes.make_raw();
    tty.set_modes(&modes)
}

/// From now on a panic of this thread gives the terminal back, and every panic leaves
/// a report. A panic of a worker is reported by the dashboard, which goes on.
pub(crate) fn report_panics() {
    let screen = thread::current().id();
    panic::set_hook(Box::new(move |info| {
        // A decoder that gave up on a damaged file: the file is reported, not a mistake.
        if panics_are_caught() {
            return;
        }
        let ours = thread::current().id() == screen;
        if ours {
            give_back();
        }
        let report = write_report(info);
        *REPORT.lock().unwrap_or_else(PoisonError::into_inner) = report;
        if ours {
            // Where nobody listens any more, saying so must not be a second panic.
            let _ = writeln!(io::stderr(), "{}.", mistake("evaltop"));
        }
    }));
}

/// What is said of a panic in a worker: `what` stopped, and where the report is.
pub(crate) fn mistake(what: &str) -> String {
    let report = REPORT
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    let place = report.map_or_else(
        || "no report could be written".to_owned(),
        |path| format!("a report is in {}", path.display()),
    );
    format!("{what} stopped because of a mistake in the code ({place})")
}

/// Panics where a test asks for it, to see what becomes of the terminal.
#[cfg(debug_assertions)]
#[allow(clippy::panic)] // that is what it is for
pub(crate) fn panic_if_asked(place: &str) {
    assert!(
        std::env::var("EVALTOP_TEST_MISTAKE").as_deref() != Ok(place),
        "asked for by a test"
    );
}

#[cfg(not(debug_assertions))]
pub(crate) fn panic_if_asked(_place: &str) {}

/// Writes what is known of a panic; returns where.
fn write_report(info: &PanicHookInfo<'_>) -> Option<PathBuf> {
    // Two threads may panic within a millisecond.
    static REPORTS: AtomicU32 = AtomicU32::new(0);

    let folders = [state_folder(), Some(std::env::temp_dir())];
    let text = format!(
        "evaltop {}\n{}\n{info}\n\n{}\n",
        env!("CARGO_PKG_VERSION"),
        Timestamp::now(),
        Backtrace::force_capture()
    );
    let name = format!(
        "evaltop-panic-{}-{}-{}.txt",
        Timestamp::now().as_millisecond(),
        std::process::id(),
        REPORTS.fetch_add(1, Ordering::SeqCst)
    );
    folders.into_iter().flatten().find_map(|folder| {
        fs::create_dir_all(&folder).ok()?;
        let path = folder.join(&name);
        fs::write(&path, &text).ok()?;
        Some(path)
    })
}

fn state_folder() -> Option<PathBuf> {
    let folders = etcetera::choose_base_strategy().ok()?;
    Some(
        folders
            .state_dir()
            .unwrap_or_else(|| folders.data_dir())
            .join("evaltop"),
    )
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Run as a process of its own by the test below: the hook is the whole process's.
    #[test]
    fn panics_where_it_is_asked_to() {
        if std::env::var_os("EVALTOP_TEST_PANIC").is_some() {
            report_panics();
            let _ = thread::spawn(|| panic!("a worker's mistake")).join();
            panic!("the screen's mistake");
        }
    }

    #[test]
    fn a_panic_leaves_a_report_and_one_sentence() {
        let state = tempfile::tempdir().unwrap();
        let output = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "tui::runtime::terminal::tests::panics_where_it_is_asked_to",
                "--nocapture",
            ])
            .env("EVALTOP_TEST_PANIC", "1")
            .env("XDG_STATE_HOME", state.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            said.contains("evaltop stopped because of a mistake in the code (a report is in "),
            "{said}"
        );
        assert_eq!(
            said.matches("evaltop stopped").count(),
            1,
            "a worker's is told by the dashboard: {said}"
        );
        let reports: Vec<String> = fs::read_dir(state.path().join("evaltop"))
            .unwrap()
            .map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap())
            .collect();
        for mistake in ["a worker's mistake", "the screen's mistake"] {
            assert!(
                reports
                    .iter()
                    .any(|r| r.contains(mistake) && r.contains("terminal.rs")),
                "{reports:?}"
            );
        }
    }
}
