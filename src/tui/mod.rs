//! The dashboard: plain state, a pure `update`, pure views. This file is the only
//! one that awaits: one `select!` over input, hints of the watcher, answers of the
//! workers, signals and one timer. It drains what is queued, and draws when something
//! visible changed, at most fifteen times a second.

pub mod headless;
pub(crate) mod runtime;
pub(crate) mod state;
pub mod stores;

pub use state::settings::{check_keys, usual_keys};

use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use crossterm::event::Event;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::time::{Instant, sleep_until};

use crate::config::Config;
use crate::health::Severity;
use crate::memory;
use crate::monitor::{StoreState, Watch, WatchMode, watch};
use crate::signals;
use crate::stats::progress::Expected;
use crate::store::Store;
use input::keymap::Keymap;
use runtime::clock::Clock;
use runtime::notify::Notifier;
use runtime::scheduler::Pace;
use runtime::signals::Outside;
use runtime::terminal::Taken;
use runtime::workers::{Answer, Workers};
use state::model::{Model, Settings};
use update::message::{Effect, Message};
use view::theme::{Depth, Palette, Theme};

mod input;
mod update;
mod view;

/// The least time between two frames.
const FRAME: Duration = Duration::from_millis(67);

/// What the dashboard is opened with.
#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools)] // each is a choice of its own
pub struct Options {
    /// The store; need not be there yet.
    pub store: Store,
    /// Thresholds, keys, theme.
    pub config: Config,
    /// What the store is, where that is not obvious, shown in the first row.
    pub badge: Option<String>,
    /// Maintenance keys are off.
    pub readonly: bool,
    /// What is expected of the run.
    pub expected: Option<Expected>,
    /// The only session whose tests are shown.
    pub session: Option<String>,
    /// Take the mouse.
    pub mouse: bool,
    /// Draw with ASCII only, also where the locale could show more.
    pub ascii: bool,
    /// dark, light, high-contrast or colour-blind.
    pub theme: String,
    /// The first line of the activity pane, if any.
    pub greeting: Option<String>,
    /// It was opened from a list, to which Esc goes back.
    pub is_listed: bool,
    /// What is followed into the store, where it lies in the cache.
    pub follows: Option<PathBuf>,
    /// While there is no store: whether the folder holds logs by now.
    pub logs: Option<fn(&Path) -> bool>,
}

/// How the dashboard ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Somebody quit.
    Quit,
    /// A signal, or the terminal vanished.
    Interrupted,
    /// Back to the list of stores.
    Back,
    /// There are logs where no store came.
    Logs,
}

/// Shows the dashboard until somebody quits. Needs a terminal on stdout.
pub fn run(options: Options) -> Result<End> {
    let settings = settings(&options)?;
    in_runtime(show(options, settings))
}

/// Runs a screen. Whatever ends it, the terminal is given back.
fn in_runtime(screen: impl Future<Output = Result<End>>) -> Result<End> {
    let runtime = signals::runtime().context("cannot start the dashboard")?;
    runtime::terminal::report_panics();
    memory::settle_down();
    memory::prepare(runtime::terminal::give_back_at_once);
    let end = panic::catch_unwind(AssertUnwindSafe(|| runtime.block_on(screen)));
    runtime::signals::ended();
    runtime::terminal::give_back();
    // A job that is still running is killed with the process: it can stop anywhere.
    drop(panic::take_hook());
    end.unwrap_or_else(|mistake| panic::resume_unwind(mistake))
}

fn settings(options: &Options) -> Result<Settings> {
    let variable = |name: &str| std::env::var(name).ok();
    let palette: Palette = options.theme.parse().map_err(|_| {
        anyhow!(
            "'{}' is not a theme: use one of {}",
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
        store: options.store.layout.name().to_path_buf(),
        follows: options.follows.clone(),
        home: variable("HOME").filter(|h| h.len() > 1).map(PathBuf::from),
        thresholds: options.config.thresholds.clone(),
        badge: options.badge.clone(),
        readonly: options.readonly,
        is_listed: options.is_listed,
        expected: options.expected.clone(),
        snooze: options.config.notify.snooze_seconds,
        log_command: options.config.log.open.clone(),
        ascii: options.ascii
            || options.config.dashboard.ascii
            || !crate::text::locale::locale_is_utf8(variable),
        // The kernel's console has blocks, and no braille.
        braille: variable("TERM").as_deref() != Some("linux"),
        theme: Theme { palette, depth },
        zone: TimeZone::system(),
        keymap,
    })
}

/// The terminal, and what comes from it.
pub(crate) struct Screen {
    terminal: Taken,
    outside: UnboundedReceiver<Outside>,
    input: UnboundedReceiver<Event>,
}

impl Screen {
    fn enter(mouse: bool) -> Result<Self> {
        let (sender, outside) = mpsc::unbounded_channel();
        let terminal = Taken::enter(mouse).context("cannot take over the terminal")?;
        runtime::signals::listen(&sender).context("cannot listen for signals")?;
        let (typed, input) = mpsc::unbounded_channel();
        input::read(typed, sender).context("cannot read the terminal")?;
        Ok(Self {
            terminal,
            outside,
            input,
        })
    }
}

async fn show(options: Options, settings: Settings) -> Result<End> {
    let mut screen = Screen::enter(options.mouse && options.config.dashboard.mouse)?;
    show_in(options, settings, &mut screen).await
}

/// The dashboard on a screen that is there.
async fn show_in(options: Options, settings: Settings, screen: &mut Screen) -> Result<End> {
    let (answered, answers) = mpsc::unbounded_channel();
    let Screen {
        terminal,
        outside,
        input,
    } = screen;
    let mut model = Model::new(settings, Timestamp::now());
    let (columns, rows) = input::size();
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
    let logs = options.logs;
    let workers = Workers::open(options.store, options.config, options.session, answered)
        .context("cannot start the dashboard's threads")?;
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
        logs,
        changes: None,
        dirty: true,
    };
    desk.work(terminal).await
}

/// Everything that the event loop holds.
struct Desk<'a> {
    model: Model,
    workers: Workers,
    notifier: Notifier,
    pace: Pace,
    watch: Option<Watch>,
    answers: UnboundedReceiver<Answer>,
    outside: &'a mut UnboundedReceiver<Outside>,
    input: &'a mut UnboundedReceiver<Event>,
    begun: Instant,
    clock: Clock,
    drawn: Option<Instant>,
    end: Option<End>,
    logs: Option<fn(&Path) -> bool>,
    /// When the picture changes although nothing happens.
    changes: Option<Timestamp>,
    dirty: bool,
}

impl Desk<'_> {
    async fn work(&mut self, terminal: &mut Taken) -> Result<End> {
        loop {
            if runtime::output::has_failed() {
                return Ok(End::Interrupted);
            }
            self.scan_if_due();
            self.notify(terminal);
            let now = Instant::now();
            let frame = self.drawn.map_or(now, |at| at + FRAME);
            if self.dirty && frame <= now && runtime::output::is_free() {
                self.dirty = false;
                // Where the terminal is gone there is nobody to notify.
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
                signal = self.outside.recv() => outside = Some(signal.unwrap_or(Outside::End)),
                hint = hint => hinted = Some(hint),
                () = runtime::output::freed() => {}
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
            self.handle(terminal, Message::Tick(wall))?;
            if let Some(by) = jumped {
                self.handle(terminal, Message::Jumped(by))?;
            }
            for answer in answers {
                self.answered(terminal, answer)?;
            }
            for event in events {
                runtime::terminal::panic_if_asked("screen");
                if let Some(message) = message(event) {
                    self.handle(terminal, message)?;
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
        // What is on its way to the terminal says when it is out.
        if self.dirty && runtime::output::is_free() {
            wake = wake.min(frame);
        }
        for due in [self.pace.due(), self.notifier.due()].into_iter().flatten() {
            wake = wake.min(due);
        }
        let seconds = runtime::redraw::next(&self.model).map(|seconds| seconds.clamp(0.0, 3_600.0));
        if let Some(seconds) = seconds {
            wake = wake.min(now + Duration::from_secs_f64(seconds.max(0.05)));
        }
        self.changes =
            seconds.and_then(|s| self.model.now.checked_add(Duration::from_secs_f64(s)).ok());
        wake
    }

    fn scan_if_due(&mut self) {
        if self.pace.due().is_some_and(|due| due <= Instant::now()) {
            let missing = self.model.store_state() == Some(&StoreState::Missing);
            let logs = self.logs.filter(|_| missing && !self.model.was_there);
            if logs.is_some_and(|logs| logs(&self.model.settings.store)) {
                self.end = Some(End::Logs);
            }
            let mode = self.watch.as_ref().map_or_else(
                || WatchMode::Polling("the watcher could not be started".to_owned()),
                Watch::mode,
            );
            if self.workers.look(mode) {
                self.pace.started();
            }
        }
    }

    /// Says those who don't look.
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
            Answer::Message(message) => self.handle(terminal, message),
            Answer::Scanned(seen) => {
                self.workers.looked();
                let rows = seen.totals.tests + seen.superseded + seen.repeated;
                self.pace.ended(rows);
                if seen.behind.is_some() || matches!(seen.state, StoreState::Unreadable(_)) {
                    self.pace.retry();
                }
                self.handle(terminal, Message::Observed(seen))
            }
        }
    }

    fn handle(&mut self, terminal: &mut Taken, message: Message) -> Result<()> {
        // The time alone, which comes with everything, mostly leaves the picture as it is.
        self.dirty |= match message {
            Message::Tick(now) => self.changes.is_some_and(|at| at <= now),
            _ => true,
        };
        let noted = self.model.noted;
        let effects = update::update(&mut self.model, message);
        let new = self.model.noted.saturating_sub(noted);
        for entry in self.model.activity.iter().take(new as usize).rev() {
            tracing::info!(target: "activity", severity = ?entry.severity, "{}", crate::text::width::clean(&entry.text));
        }
        for effect in effects {
            match effect {
                Effect::Scan => self.pace.hint(),
                Effect::Alerts => self.notifier.look(&self.model.book),
                Effect::Quit => self.end = Some(End::Quit),
                Effect::Back => self.end = Some(End::Back),
                Effect::Repaint => terminal.forget(),
                Effect::Suspend => self.suspend(terminal)?,
                Effect::Copy(text) => terminal.pass(&runtime::output::copying(&text)),
                work => {
                    if let Effect::Run(_, plan) = &work {
                        tracing::info!(target: "activity", "begins: {}", crate::text::width::clean(&plan.summary));
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
        let (columns, rows) = input::size();
        self.handle(terminal, Message::Resize(columns, rows))
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
