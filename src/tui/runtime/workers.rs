//! Work that blocks, away from the screen: looks at the store, plans, jobs. Each
//! answers with an event; a panic in one of them is an answer too.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::mpsc::UnboundedSender;

use super::notify::Call;
use super::terminal::{mistake, panic_if_asked};
use super::{ask, hook};
use crate::config::Config;
use crate::expr::Expr;
use crate::jobs::{self, Plan, Request};
use crate::memory;
use crate::monitor::filtered::{Condition, Filtered};
use crate::monitor::{Monitor, Observation, WatchMode};
use crate::stats::metric::Metric;
use crate::store::{Control, Error, Progress, Store};
use crate::tui::update::message::{Effect, Failure, JobId, Message};

/// The least time between two reports of progress.
const REPORT_EVERY: Duration = Duration::from_millis(80);
/// An answer.
#[derive(Debug)]
pub(crate) enum Answer {
    /// For the dashboard.
    Message(Message),
    /// The store was looked at, or that failed and the last picture stands in.
    Scanned(Box<Observation>),
}

/// How to look: how changes are noticed, which session alone, which metric.
type Asked = (WatchMode, Option<String>, Option<String>);

/// Starts work and remembers how to cancel it. Looks have a thread from the beginning: there
/// may be none to be had later, when it is needed most.
#[derive(Debug)]
pub(crate) struct Workers {
    store: Store,
    looks: mpsc::Sender<Asked>,
    scanning: bool,
    /// The only session whose tests are shown.
    session: Option<String>,
    /// What is measured instead of success.
    metric: Option<String>,
    config: Config,
    planning: Option<(JobId, Control)>,
    running: Option<(JobId, Control)>,
    answers: UnboundedSender<Answer>,
}

impl Workers {
    /// Workers for one store.
    pub(crate) fn open(
        store: Store,
        config: Config,
        session: Option<String>,
        answers: UnboundedSender<Answer>,
    ) -> io::Result<Self> {
        let (looks, asked) = mpsc::channel();
        let (of, to, own) = (store.clone(), answers.clone(), config.clone());
        thread::Builder::new()
            .name("look".to_owned())
            .spawn(move || scan_on(&of, &own, &asked, &to))?;
        Ok(Self {
            store,
            looks,
            scanning: false,
            session,
            metric: None,
            config,
            planning: None,
            running: None,
            answers,
        })
    }

    /// Looks at the store; false while a scan is under way.
    pub(crate) fn look(&mut self, watch: WatchMode) -> bool {
        if self.scanning {
            return false;
        }
        let asked = (watch, self.session.clone(), self.metric.clone());
        self.scanning = self.looks.send(asked).is_ok();
        self.scanning
    }

    /// A scan is over.
    pub(crate) fn looked(&mut self) {
        self.scanning = false;
    }

    /// Does something on a thread of its own. `failed` makes the answer where that is not to
    /// be had, or where the work panics.
    fn begin(
        &self,
        what: &'static str,
        work: impl FnOnce() -> Message + Send + 'static,
        failed: impl Fn(String) -> Message + Send + Sync + 'static,
    ) {
        let answers = self.answers.clone();
        let failed = Arc::new(failed);
        let panicked = Arc::clone(&failed);
        let started = thread::Builder::new().name(what.to_owned()).spawn(move || {
            let done = catch_unwind(AssertUnwindSafe(|| tidily(work)));
            let message = done.unwrap_or_else(|_| panicked(mistake(what)));
            let _ = answers.send(Answer::Message(message));
        });
        if let Err(error) = started {
            let why = Error::no_thread(&error).to_string();
            let _ = self.answers.send(Answer::Message(failed(why)));
        }
    }

    /// Finds out what a job would do.
    pub(crate) fn plan(&mut self, id: JobId, mut request: Request) {
        if let Request::Report(options) = &mut request {
            let of = &mut options.request;
            of.session.clone_from(&self.session);
            of.prices = Arc::clone(&self.config.price_table);
            of.unjudged = of.metric.is_success().then(|| self.config.metric("score"));
        }
        let store = self.store.clone();
        let control = Control::default();
        self.planning = Some((id, control.clone()));
        let work = move || {
            let plan = jobs::plan(&store, &request, &control);
            Message::Planned(id, plan.map(Box::new).map_err(|e| e.to_string()))
        };
        self.begin("planning", work, move |why| Message::Planned(id, Err(why)));
    }

    /// Compares two values of a column.
    fn compare(
        &self,
        both: [String; 2],
        column: &'static str,
        metric: Metric,
        condition: Option<Box<Expr>>,
    ) {
        let store = self.store.clone();
        let named = both.clone();
        let session = self.session.clone().filter(|_| column == "model");
        let work = move || {
            let only = (session.as_deref(), condition.as_deref());
            let result = ask::compare(&store, only, &both, (column, &metric));
            Message::Compared(both, result.map_err(|e| e.to_string()))
        };
        self.begin("comparing", work, move |why| {
            Message::Compared(named.clone(), Err(why))
        });
    }

    /// Reads the tests that a filter leaves.
    pub(crate) fn filter(&self, condition: Condition) {
        let (store, named) = (self.store.clone(), condition.clone());
        let work = move || {
            let found = Filtered::look(&store, &condition, Timestamp::now(), &Control::default());
            Message::Filtered(condition, found.map(Box::new).map_err(|e| e.to_string()))
        };
        self.begin("filtering", work, move |why| {
            Message::Filtered(named.clone(), Err(why))
        });
    }

    /// Does what a plan says.
    pub(crate) fn run(&mut self, id: JobId, plan: Box<Plan>) {
        let store = self.store.clone();
        let control = Control::new(reporter(self.answers.clone(), move |progress| {
            Message::Progress(id, progress)
        }));
        self.running = Some((id, control.clone()));
        let work = move || {
            panic_if_asked("job");
            let result = match jobs::run(&store, &plan, &control) {
                Ok(outcome) => Ok(Box::new(outcome)),
                Err(Error::Cancelled) => Err(Failure::Cancelled),
                Err(error) => Err(Failure::Failed(error.to_string())),
            };
            Message::Finished(id, result)
        };
        self.begin("the job", work, move |why| {
            Message::Finished(id, Err(Failure::Failed(why)))
        });
    }

    /// Runs the user's own program, without waiting for it.
    pub(crate) fn call(&self, call: Call) {
        let work = move || Message::Notified(hook::run(&call));
        self.begin("notify.hook", work, |why| Message::Notified(Err(why)));
    }

    /// Asks a job to stop, whether it is planned or runs.
    pub(crate) fn cancel(&self, id: JobId) {
        for (_, control) in self
            .planning
            .iter()
            .chain(&self.running)
            .filter(|(of, _)| *of == id)
        {
            control.cancel();
        }
    }

    /// Starts what an effect asks for, where it is work.
    pub(crate) fn start(&mut self, effect: Effect) {
        match effect {
            Effect::Compare(both, metric, condition) => {
                self.compare(
                    both,
                    "model",
                    metric.map_or_else(Metric::default, |own| *own),
                    condition,
                );
            }
            Effect::CompareSessions(both, metric) => {
                let metric = metric.map_or_else(Metric::default, |own| *own);
                self.compare(both, "session_id", metric, None);
            }
            Effect::Session(session) => self.session = session,
            Effect::Metric(metric) => self.metric = metric.filter(|name| name != "success"),
            Effect::Sessions(metric) => {
                let (store, config) = (self.store.clone(), self.config.clone());
                let metric = metric.map_or_else(Metric::default, |own| *own);
                let work = move || {
                    let found = ask::sessions(&store, &config, metric);
                    Message::Sessions(found.map_err(|error| error.to_string()))
                };
                self.begin("the sessions", work, |why| Message::Sessions(Err(why)));
            }
            Effect::Metrics => {
                let store = self.store.clone();
                let work =
                    move || Message::Metrics(ask::metrics(&store).map_err(|e| e.to_string()));
                self.begin("the columns", work, |why| Message::Metrics(Err(why)));
            }
            Effect::Row(model, failure) => {
                let store = self.store.clone();
                let work = move || Message::Row(ask::row(&store, &model, &failure));
                self.begin("the row", work, |why| Message::Row(Err(why)));
            }
            Effect::Log(path, sample, trial) => {
                let work = move || Message::Log(ask::log(&path, sample.as_deref(), trial));
                self.begin("the log", work, |why| Message::Log(Err(why)));
            }
            Effect::Start(words) => {
                let work = move || Message::Started(ask::start(&words));
                self.begin("log.open", work, |why| Message::Started(Err(why)));
            }
            Effect::Filter(condition) => self.filter(condition),
            Effect::Plan(id, request) => self.plan(id, request),
            Effect::Run(id, plan) => self.run(id, plan),
            Effect::Cancel(id) => self.cancel(id),
            Effect::Scan
            | Effect::Repaint
            | Effect::Alerts
            | Effect::Suspend
            | Effect::Copy(_)
            | Effect::Back
            | Effect::Quit => {}
        }
    }
}

/// Looks at the store whenever it is asked to, until nobody asks any more. Whatever ends a
/// look, there is an answer: the last picture with the reason why it is old.
fn scan_on(
    store: &Store,
    config: &Config,
    asked: &mpsc::Receiver<Asked>,
    answers: &UnboundedSender<Answer>,
) {
    let mut monitor = Monitor::new(store.clone(), config.clone());
    let mut last: Option<Observation> = None;
    for (watch, session, metric) in asked {
        monitor.set_watch(watch);
        monitor.set_session(session);
        monitor.set_metric(metric);
        let look = || {
            panic_if_asked("look");
            look(&mut monitor, answers)
        };
        let seen = catch_unwind(AssertUnwindSafe(look)).unwrap_or_else(|_| {
            // What it remembers may be half of something: from scratch, but for the picture.
            let why = Error::Exhausted(mistake("reading the store"));
            monitor = Monitor::after(store.clone(), config.clone(), last.take());
            monitor.failed(Timestamp::now(), &why)
        });
        last = Some(seen.clone());
        if answers.send(Answer::Scanned(Box::new(seen))).is_err() {
            return;
        }
    }
}

fn look(monitor: &mut Monitor, answers: &UnboundedSender<Answer>) -> Observation {
    if !memory::recover() {
        return monitor.failed(Timestamp::now(), &Error::no_memory());
    }
    let control = match monitor.glance(Timestamp::now()) {
        Some(glance) => {
            let _ = answers.send(Answer::Message(Message::Glimpsed(Box::new(glance))));
            Control::new(reporter(answers.clone(), |progress| {
                Message::Read(progress.done)
            }))
        }
        None => Control::default(),
    };
    monitor.observe_with(Timestamp::now(), &control)
}

/// Does some work, and gives back the memory that it took.
fn tidily<T>(work: impl FnOnce() -> T) -> T {
    let done = work();
    memory::give_back();
    done
}

/// Passes progress on, but not more often than anybody could see.
fn reporter(
    answers: UnboundedSender<Answer>,
    message: impl Fn(Progress) -> Message + Send + Sync + 'static,
) -> impl Fn(Progress) + Send + Sync + 'static {
    let last: Arc<Mutex<Option<Instant>>> = Arc::default();
    move |progress| {
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|at| at.elapsed() >= REPORT_EVERY) {
            *last = Some(Instant::now());
            let _ = answers.send(Answer::Message(message(progress)));
        }
    }
}
