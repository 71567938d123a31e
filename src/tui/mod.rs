//! The dashboard: plain state, a pure `update`, pure views. This file is the only
//! one that awaits: one `select!` over input, hints of the watcher, answers of the
//! workers, signals and one timer. It drains what is queued, and draws when something
//! visible changed, at most fifteen times a second.

pub use settings::{check_keys, usual_keys};
pub(crate) use theme::locale_is_utf8;

use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use crossterm::event::{Event, EventStream};
use futures::StreamExt;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::time::{Instant, sleep_until};

use crate::config::Config;
use crate::health::Severity;
use crate::memory;
use crate::monitor::{Watch, WatchMode, watch};
use crate::stats::progress::Expected;
use crate::store::Store;
use clock::Clock;
use gone::Outside;
use keymap::Keymap;
use message::{Effect, Message};
use model::{Model, Settings};
use notify::Notifier;
use pace::Pace;
use terminal::Taken;
use theme::{Depth, Palette, Theme};
use work::{Answer, Workers};

mod action;
mod ascii;
mod book;
mod change;
mod clock;
pub(crate) mod format;
mod gone;
mod hook;
mod keymap;
mod message;
mod model;
mod notify;
mod out;
mod pace;
mod settings;
mod table;
mod terminal;
pub(crate) mod text;
mod theme;
mod update;
mod view;
mod work;

#[cfg(test)]
mod docs;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod pictures;
#[cfg(test)]
mod week;

/// The least time between two frames.
const FRAME: Duration = Duration::from_millis(67);
/// How long workers may take to notice the end.
const FAREWELL: Duration = Duration::from_millis(500);

/// What the dashboard is opened with.
#[derive(Debug, Clone)]
pub struct Options {
    /// The store; need not be there yet.
    pub store: Store,
    /// Thresholds, keys, theme.
    pub config: Config,
    /// Maintenance keys are off.
    pub readonly: bool,
    /// What is expected of the run.
    pub expected: Option<Expected>,
    /// Take the mouse.
    pub mouse: bool,
    /// Draw with ASCII only, also where the locale could show more.
    pub ascii: bool,
    /// dark, light, high-contrast or colour-blind.
    pub theme: String,
    /// The first line of the activity pane, if any.
    pub greeting: Option<String>,
}

/// How the dashboard ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Somebody quit.
    Quit,
    /// A signal, or the terminal vanished.
    Interrupted,
}

/// Shows the dashboard until somebody quits. Needs a terminal on stdout.
pub fn run(options: Options) -> Result<End> {
    let settings = settings(&options)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the dashboard's threads")?;
    terminal::report_panics();
    memory::settle_down();
    let end = panic::catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(show(options, settings))
    }));
    gone::ended();
    terminal::give_back();
    // A job that is still running is killed with the process: it can stop anywhere.
    runtime.shutdown_timeout(FAREWELL);
    drop(panic::take_hook());
    end.unwrap_or_else(|mistake| panic::resume_unwind(mistake))
}

fn settings(options: &Options) -> Result<Settings> {
    let variable = |name: &str| std::env::var(name).ok();
    let palette: Palette = options.theme.parse().map_err(|_| {
        anyhow!(
            "'{}' is no theme: use one of {}",
            options.theme,
            Palette::names()
        )
    })?;
    let depth = if options.config.dashboard.color {
        Depth::detect(variable)
    } else {
        Depth::None
    };
    let keymap = Keymap::new(&options.config.keys).map_err(|refused| {
        let place = options.config.place(&format!("keys.{}", refused.action));
        anyhow!("{place}: keys.{}: {}", refused.action, refused.problem)
    })?;
    Ok(Settings {
        store: options.store.layout.root().to_path_buf(),
        home: variable("HOME").filter(|h| h.len() > 1).map(PathBuf::from),
        thresholds: options.config.thresholds.clone(),
        readonly: options.readonly,
        expected: options.expected.clone(),
        snooze: options.config.notify.snooze_seconds,
        ascii: options.ascii || options.config.dashboard.ascii || !theme::locale_is_utf8(variable),
        // The kernel's console has blocks, and no braille.
        braille: variable("TERM").as_deref() != Some("linux"),
        theme: Theme { palette, depth },
        zone: TimeZone::system(),
        keymap,
    })
}

async fn show(options: Options, settings: Settings) -> Result<End> {
    let (answered, answers) = mpsc::unbounded_channel();
    let (told, outside) = mpsc::unbounded_channel();
    let mut terminal = Taken::enter(options.mouse && options.config.dashboard.mouse)
        .context("cannot take over the terminal")?;
    gone::listen(&told).context("cannot listen for signals")?;
    let (typed, input) = mpsc::unbounded_channel();
    tokio::spawn(read_input(typed, told));

    let mut model = Model::new(settings, Timestamp::now());
    let (columns, rows) = Taken::size();
    update::update(&mut model, Message::Resize(columns, rows));
    if let Some(greeting) = options.greeting {
        model.note(Severity::Healthy, greeting);
    }
    for sentence in &options.config.ignored {
        model.note(Severity::Warning, sentence.clone());
    }
    let notifier = Notifier::new(options.config.notify.clone(), options.store.layout.root());
    let refresh = &options.config.refresh;
    let pace = Pace::new(refresh.busy_seconds, refresh.idle_seconds);
    let poll = Duration::from_secs(refresh.busy_seconds);
    let watch = match watch::start(options.store.layout.root(), poll) {
        Ok(watch) => Some(watch),
        Err(error) => {
            model.note(
                Severity::Warning,
                format!("changes are noticed by scans only: {error}"),
            );
            None
        }
    };
    let workers = Workers::new(options.store, options.config, answered);
    let mut desk = Desk {
        model,
        workers,
        notifier,
        pace,
        watch,
        answers,
        outside,
        input,
        begun: Instant::now(),
        clock: Clock::default(),
        drawn: None,
        end: None,
        changes: None,
        dirty: true,
    };
    desk.work(&mut terminal).await
}

/// Input on its way to the event loop. An end of it is the end of the terminal.
async fn read_input(to: UnboundedSender<Event>, told: UnboundedSender<Outside>) {
    let mut events = EventStream::new();
    while let Some(Ok(event)) = events.next().await {
        if to.send(event).is_err() {
            return;
        }
    }
    let _ = told.send(Outside::End);
}

/// Everything that the event loop holds.
struct Desk {
    model: Model,
    workers: Workers,
    notifier: Notifier,
    pace: Pace,
    watch: Option<Watch>,
    answers: UnboundedReceiver<Answer>,
    outside: UnboundedReceiver<Outside>,
    input: UnboundedReceiver<Event>,
    begun: Instant,
    clock: Clock,
    drawn: Option<Instant>,
    end: Option<End>,
    /// When the picture changes although nothing happens.
    changes: Option<Timestamp>,
    dirty: bool,
}

impl Desk {
    async fn work(&mut self, terminal: &mut Taken) -> Result<End> {
        loop {
            if out::has_failed() {
                return Ok(End::Interrupted);
            }
            self.look_if_due();
            self.notify(terminal);
            let now = Instant::now();
            let frame = self.drawn.map_or(now, |at| at + FRAME);
            if self.dirty && frame <= now && out::is_free() {
                self.dirty = false;
                // Where the terminal is gone there is nobody to tell.
                match terminal.draw(&self.model) {
                    Ok(true) => self.drawn = Some(Instant::now()),
                    Ok(false) => {}
                    Err(_) => return Ok(End::Interrupted),
                }
            }
            let wake = self.wake(frame);
            let hint = async {
                match &mut self.watch {
                    Some(watch) => watch.hints.recv().await,
                    None => std::future::pending().await,
                }
            };
            let mut events = Vec::new();
            let mut answers = Vec::new();
            let mut outside = None;
            let mut hinted = None;
            tokio::select! {
                event = self.input.recv() => events.extend(event),
                answer = self.answers.recv() => answers.extend(answer),
                told = self.outside.recv() => outside = Some(told.unwrap_or(Outside::End)),
                hint = hint => hinted = Some(hint),
                () = out::freed() => {}
                () = sleep_until(wake) => {}
            }
            while let Ok(event) = self.input.try_recv() {
                events.push(event);
            }
            while let Ok(answer) = self.answers.try_recv() {
                answers.push(answer);
            }
            match hinted {
                Some(Some(())) => self.pace.hint(),
                Some(None) => self.watch = None,
                None => {}
            }
            let wall = Timestamp::now();
            let jumped = self.clock.jumped(self.begun.elapsed(), wall);
            self.tell(terminal, Message::Tick(wall))?;
            if let Some(by) = jumped {
                self.tell(terminal, Message::Jumped(by))?;
            }
            for answer in answers {
                self.answered(terminal, answer)?;
            }
            for event in events {
                terminal::panic_if_asked("screen");
                // What it is by now counts, not what it was when the event was made.
                if matches!(event, Event::Resize(..)) {
                    self.resized(terminal)?;
                    continue;
                }
                if let Some(message) = message(event) {
                    self.tell(terminal, message)?;
                }
            }
            match outside {
                Some(Outside::End) => return Ok(End::Interrupted),
                Some(Outside::Stop) => self.suspend(terminal)?,
                Some(Outside::Continue) => self.continued(terminal)?,
                Some(Outside::Resized) => self.resized(terminal)?,
                None => {}
            }
            if let Some(end) = self.end {
                return Ok(end);
            }
        }
    }

    /// The next instant at which there is something to do.
    fn wake(&mut self, frame: Instant) -> Instant {
        let now = Instant::now();
        let mut wake = now + Duration::from_secs(3_600);
        // What is on its way to the terminal tells when it is out.
        if self.dirty && out::is_free() {
            wake = wake.min(frame);
        }
        for due in [self.pace.due(), self.notifier.due()].into_iter().flatten() {
            wake = wake.min(due);
        }
        let seconds = change::next(&self.model).map(|seconds| seconds.clamp(0.0, 3_600.0));
        if let Some(seconds) = seconds {
            wake = wake.min(now + Duration::from_secs_f64(seconds.max(0.05)));
        }
        self.changes =
            seconds.and_then(|s| self.model.now.checked_add(Duration::from_secs_f64(s)).ok());
        wake
    }

    fn look_if_due(&mut self) {
        if self.pace.due().is_some_and(|due| due <= Instant::now()) {
            let mode = self.watch.as_ref().map_or_else(
                || WatchMode::Polling("the watcher could not be started".to_owned()),
                Watch::mode,
            );
            if self.workers.look(mode) {
                self.pace.started();
            }
        }
    }

    /// Tells those who don't look.
    fn notify(&mut self, terminal: &mut Taken) {
        let Some(news) = self.notifier.take(&self.model.book) else {
            return;
        };
        terminal.pass(
            &self
                .notifier
                .bytes(&news, std::env::var_os("TMUX").is_some()),
        );
        if let Some(call) = self.notifier.hook(&news, &self.model.book, self.model.now) {
            self.workers.call(call);
        }
    }

    fn answered(&mut self, terminal: &mut Taken, answer: Answer) -> Result<()> {
        match answer {
            Answer::Message(message) => self.tell(terminal, message),
            Answer::Looked(monitor, seen) => {
                self.workers.looked(monitor);
                let rows = seen.totals.tests + seen.superseded + seen.repeated;
                self.pace.ended(rows);
                self.tell(terminal, Message::Observed(seen))
            }
            Answer::LookFailed => {
                self.pace.ended(0);
                let message = self.workers.look_failed();
                self.tell(terminal, message)
            }
        }
    }

    fn tell(&mut self, terminal: &mut Taken, message: Message) -> Result<()> {
        // The time alone, which comes with everything, mostly leaves the picture as it is.
        self.dirty |= match message {
            Message::Tick(now) => self.changes.is_some_and(|at| at <= now),
            _ => true,
        };
        let noted = self.model.noted;
        let effects = update::update(&mut self.model, message);
        let new = self.model.noted.saturating_sub(noted);
        for entry in self.model.activity.iter().take(new as usize).rev() {
            tracing::info!(target: "activity", severity = ?entry.severity, "{}", text::clean(&entry.text));
        }
        for effect in effects {
            match effect {
                Effect::Scan => self.pace.hint(),
                Effect::Alerts => self.notifier.look(&self.model.book),
                Effect::Quit => self.end = Some(End::Quit),
                Effect::Suspend => self.suspend(terminal)?,
                work => {
                    if let Effect::Run(_, plan) = &work {
                        tracing::info!(target: "activity", "begins: {}", text::clean(&plan.summary));
                    }
                    self.workers.start(work);
                }
            }
        }
        Ok(())
    }

    fn suspend(&mut self, terminal: &mut Taken) -> Result<()> {
        terminal
            .suspend()
            .context("cannot take the terminal again")?;
        self.continued(terminal)
    }

    /// The terminal may have another size and shows something else.
    fn continued(&mut self, terminal: &mut Taken) -> Result<()> {
        terminal
            .resume()
            .context("cannot take the terminal again")?;
        self.pace.hint();
        self.resized(terminal)
    }

    /// Whatever the size is in the end, what the terminal made of the picture on the way is not known.
    fn resized(&mut self, terminal: &mut Taken) -> Result<()> {
        terminal.forget();
        let (columns, rows) = Taken::size();
        self.tell(terminal, Message::Resize(columns, rows))
    }
}

fn message(event: Event) -> Option<Message> {
    match event {
        Event::Key(key) => Some(Message::Key(key)),
        Event::Mouse(mouse) => Some(Message::Mouse(mouse)),
        Event::Paste(text) => Some(Message::Paste(text)),
        Event::FocusGained | Event::FocusLost | Event::Resize(..) => None,
    }
}
