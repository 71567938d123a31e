//! The terminal: taken over on entering, given back on every way out — return,
//! error, panic, signal, suspension. A frame is written only when it differs from
//! the one that is shown, so a picture that stands still costs no byte.

use std::backtrace::Backtrace;
use std::fs;
use std::io::{self, BufWriter, Stdout, Write};
use std::panic::{self, PanicHookInfo};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crossterm::cursor::{Hide, Show};
use crossterm::event::{
    DisableBracketedPaste, DisableMouseCapture, EnableBracketedPaste, EnableMouseCapture,
};
use crossterm::terminal::{
    BeginSynchronizedUpdate, EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen,
    disable_raw_mode, enable_raw_mode,
};
use crossterm::{execute, queue};
use etcetera::BaseStrategy;
use jiff::Timestamp;
use ratatui::backend::CrosstermBackend;
use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::widgets::Widget;
use ratatui::{Terminal, TerminalOptions, Viewport};

use super::model::Model;
use super::view::Screen;

use crate::store::parquet_file::panics_are_caught;

/// Whether the terminal is ours at the moment.
static TAKEN: AtomicBool = AtomicBool::new(false);
/// Whether the mouse was asked for.
static MOUSE: AtomicBool = AtomicBool::new(false);

/// The terminal while the dashboard has it. Dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Taken {
    terminal: Terminal<CrosstermBackend<BufWriter<Stdout>>>,
    shown: Option<(Buffer, Option<Position>)>,
}

impl Taken {
    /// Takes the terminal over.
    pub(crate) fn enter(mouse: bool) -> io::Result<Self> {
        MOUSE.store(mouse, Ordering::Relaxed);
        take()?;
        let (columns, rows) = crossterm::terminal::size()?;
        let area = Rect::new(0, 0, columns, rows);
        let backend = CrosstermBackend::new(BufWriter::with_capacity(1 << 16, io::stdout()));
        let options = TerminalOptions { viewport: Viewport::Fixed(area) };
        Ok(Self { terminal: Terminal::with_options(backend, options)?, shown: None })
    }

    /// Columns and rows.
    pub(crate) fn size() -> (u16, u16) {
        crossterm::terminal::size().unwrap_or((80, 24))
    }

    /// Shows the model. Returns whether anything had to be written.
    pub(crate) fn draw(&mut self, model: &Model) -> io::Result<bool> {
        let screen = Screen(model);
        let mut buffer = Buffer::empty(model.area);
        screen.render(model.area, &mut buffer);
        let frame = (buffer, screen.cursor());
        if self.shown.as_ref() == Some(&frame) {
            return Ok(false);
        }
        queue!(self.terminal.backend_mut(), BeginSynchronizedUpdate)?;
        if self.shown.as_ref().is_none_or(|(shown, _)| shown.area != model.area) {
            self.terminal.resize(model.area)?;
        }
        self.terminal.draw(|to| {
            to.buffer_mut().clone_from(&frame.0);
            if let Some(cursor) = frame.1 {
                to.set_cursor_position(cursor);
            }
        })?;
        execute!(self.terminal.backend_mut(), EndSynchronizedUpdate)?;
        self.shown = Some(frame);
        Ok(true)
    }

    /// Passes bytes on that show nothing. Where they can't be written the next frame tells.
    pub(crate) fn pass(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            let out = self.terminal.backend_mut();
            let _ = out.write_all(bytes).and_then(|()| out.flush());
        }
    }

    /// Gives the terminal back, stops the process until it is continued, takes the
    /// terminal again.
    pub(crate) fn suspend(&mut self) -> io::Result<()> {
        give_back();
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::STOP)?;
        self.resume()
    }

    /// Takes the terminal again after the process was stopped by somebody.
    pub(crate) fn resume(&mut self) -> io::Result<()> {
        take()?;
        self.shown = None;
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
    let taken = enable_raw_mode().and_then(|()| {
        execute!(io::stdout(), EnterAlternateScreen, EnableBracketedPaste, Hide)?;
        if MOUSE.load(Ordering::Relaxed) {
            execute!(io::stdout(), EnableMouseCapture)?;
        }
        Ok(())
    });
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
    let mut out = io::stdout();
    if MOUSE.load(Ordering::Relaxed) {
        let _ = queue!(out, DisableMouseCapture);
    }
    let _ = queue!(out, EndSynchronizedUpdate, DisableBracketedPaste, LeaveAlternateScreen, Show);
    let _ = out.flush();
    let _ = disable_raw_mode();
}

/// From now on a panic of this thread gives the terminal back, and every panic leaves
/// a report. A panic of a worker is told by the dashboard, which goes on.
pub(crate) fn report_panics() {
    let screen = thread::current().id();
    panic::set_hook(Box::new(move |info| {
        // A decoder that gave up on a damaged file: the file is told, not a mistake.
        if panics_are_caught() {
            return;
        }
        let ours = thread::current().id() == screen;
        if ours {
            give_back();
        }
        let report = write_report(info);
        if ours {
            let place = report.map_or_else(
                || "no report could be written".to_owned(),
                |p| format!("a report is in {}", p.display()),
            );
            eprintln!("evaltop stopped because of a mistake in its code ({place}).");
        }
    }));
}

/// Writes what is known of a panic; returns where.
fn write_report(info: &PanicHookInfo<'_>) -> Option<PathBuf> {
    let folders = [state_folder(), Some(std::env::temp_dir())];
    let text = format!(
        "evaltop {}\n{}\n{info}\n\n{}\n",
        env!("CARGO_PKG_VERSION"),
        Timestamp::now(),
        Backtrace::force_capture()
    );
    let name = format!("evaltop-panic-{}-{}.txt", Timestamp::now().as_millisecond(), std::process::id());
    folders.into_iter().flatten().find_map(|folder| {
        fs::create_dir_all(&folder).ok()?;
        let path = folder.join(&name);
        fs::write(&path, &text).ok()?;
        Some(path)
    })
}

fn state_folder() -> Option<PathBuf> {
    let folders = etcetera::choose_base_strategy().ok()?;
    Some(folders.state_dir().unwrap_or_else(|| folders.data_dir()).join("evaltop"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Run as a process of its own by the test below: the hook is the whole process's.
    #[test]
    fn panics_where_it_is_told_to() {
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
            .args(["--exact", "tui::terminal::tests::panics_where_it_is_told_to", "--nocapture"])
            .env("EVALTOP_TEST_PANIC", "1")
            .env("XDG_STATE_HOME", state.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("evaltop stopped because of a mistake in its code (a report is in "), "{said}");
        assert_eq!(said.matches("evaltop stopped").count(), 1, "a worker's is told by the dashboard: {said}");
        let reports: Vec<String> = fs::read_dir(state.path().join("evaltop"))
            .unwrap()
            .map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap())
            .collect();
        for mistake in ["a worker's mistake", "the screen's mistake"] {
            assert!(reports.iter().any(|r| r.contains(mistake) && r.contains("terminal.rs")), "{reports:?}");
        }
    }
}
