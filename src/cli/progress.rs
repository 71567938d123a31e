//! What a command shows while it works, and how Ctrl-C stops it at a safe point.

use std::io::{self, IsTerminal};
use std::process;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use tokio::signal::unix::SignalKind;

use super::verbosity;
use crate::signals::{self, Heard};
use crate::store::Control;

/// Jobs shorter than this show nothing: no flicker.
const PATIENCE: Duration = Duration::from_millis(300);

/// A control for one command: progress is drawn on stderr where that is a terminal,
/// and gone again when this is dropped. Ctrl-C, SIGTERM and the terminal's end
/// cancel the work at its next safe point; a second signal ends the program.
#[derive(Debug)]
pub struct Shown {
    /// To hand down into the work.
    pub control: Control,
    bar: ProgressBar,
}

impl Shown {
    /// Begins to listen for signals.
    pub fn new() -> Self {
        let bar = if io::stderr().is_terminal() && !verbosity::quiet() {
            ProgressBar::new(0)
        } else {
            ProgressBar::hidden()
        };
        if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {human_pos}/{human_len}")
        {
            bar.set_style(style.progress_chars("█▌·"));
        }
        let (begun, drawn) = (Instant::now(), bar.clone());
        let control = Control::new(move |progress| {
            if begun.elapsed() > PATIENCE {
                drawn.set_length(progress.total);
                drawn.set_position(progress.done);
                drawn.set_message(progress.what);
            }
        });
        let cancelled = control.clone();
        on_signals(move |nth| {
            cancelled.cancel();
            if nth > 1 {
                process::exit(130);
            }
        });
        Self { control, bar }
    }
}

impl Default for Shown {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Waits between two rounds of something; `false` when it was interrupted.
pub(super) fn wait(time: Duration, control: &Control) -> bool {
    const STEP: Duration = Duration::from_millis(100);
    let mut left = time.max(STEP);
    while !left.is_zero() {
        if control.check().is_err() {
            return false;
        }
        std::thread::sleep(STEP.min(left));
        left = left.saturating_sub(STEP);
    }
    control.check().is_ok()
}

/// Calls `act` with 1 for the first Ctrl-C, SIGTERM or end of the terminal, 2 for the
/// second, and so on.
pub(super) fn on_signals(act: impl Fn(u32) + Send + 'static) {
    let listen = async move {
        let mut interrupt = Heard::of(SignalKind::interrupt())?;
        let mut terminate = Heard::of(SignalKind::terminate())?;
        let mut hangup = Heard::of(SignalKind::hangup())?;
        for nth in 1.. {
            tokio::select! {
                () = interrupt.recv() => {}
                () = terminate.recv() => {}
                () = hangup.recv() => {}
            }
            act(nth);
        }
        Ok(())
    };
    // Where it can't listen, a signal ends the program, which may end anywhere.
    let started = std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || -> io::Result<()> { signals::runtime()?.block_on(listen) });
    if let Err(error) = started {
        tracing::warn!("cannot listen for signals: {error}");
    }
}
