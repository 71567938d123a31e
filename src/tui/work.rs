//! Work that blocks, away from the screen: looks at the store, plans, jobs. Each
//! answers with an event; a panic in one of them is an answer too.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::spawn_blocking;

use super::hook;
use super::message::{Effect, Failure, JobId, Message};
use super::notify::Call;
use super::terminal::{mistake, panic_if_asked};
use crate::config::Config;
use crate::jobs::{self, Plan, Request};
use crate::memory;
use crate::monitor::{Monitor, Observation, WatchMode};
use crate::stats::paired;
use crate::store::query::{self, Filter, Side};
use crate::store::{Control, Error, Progress, Store};

/// The least time between two reports of progress.
const REPORT_EVERY: Duration = Duration::from_millis(80);
/// An answer.
#[derive(Debug)]
pub(crate) enum Answer {
    /// For the dashboard.
    Message(Message),
    /// The store was looked at; the monitor comes back for the next look.
    Looked(Box<Monitor>, Box<Observation>),
    /// Looking failed.
    LookFailed,
}

/// Starts work and remembers how to cancel it.
#[derive(Debug)]
pub(crate) struct Workers {
    store: Store,
    config: Config,
    monitor: Option<Box<Monitor>>,
    planning: Option<(JobId, Control)>,
    running: Option<(JobId, Control)>,
    answers: UnboundedSender<Answer>,
}

impl Workers {
    /// Workers for one store.
    pub(crate) fn new(store: Store, config: Config, answers: UnboundedSender<Answer>) -> Self {
        let monitor = Some(Box::new(Monitor::new(store.clone(), config.clone())));
        Self {
            store,
            config,
            monitor,
            planning: None,
            running: None,
            answers,
        }
    }

    /// Looks at the store; false while a look is under way.
    pub(crate) fn look(&mut self, watch: WatchMode) -> bool {
        let Some(mut monitor) = self.monitor.take() else {
            return false;
        };
        let (answers, early) = (self.answers.clone(), self.answers.clone());
        tokio::spawn(async move {
            let look = spawn_blocking(move || {
                panic_if_asked("look");
                monitor.set_watch(watch);
                let control = match monitor.glance(Timestamp::now()) {
                    Some(glance) => {
                        let _ = early.send(Answer::Message(Message::Glimpsed(Box::new(glance))));
                        Control::new(reporter(early, |progress| Message::Read(progress.done)))
                    }
                    None => Control::default(),
                };
                let seen = monitor.observe_telling(Timestamp::now(), &control);
                (monitor, seen)
            });
            let answer = match look.await {
                Ok((monitor, seen)) => Answer::Looked(monitor, Box::new(seen)),
                Err(_) => Answer::LookFailed,
            };
            let _ = answers.send(answer);
        });
        true
    }

    /// The monitor is back.
    pub(crate) fn looked(&mut self, monitor: Box<Monitor>) {
        self.monitor = Some(monitor);
    }

    /// A look failed: the next one starts from scratch.
    pub(crate) fn look_failed(&mut self) -> Message {
        self.monitor = Some(Box::new(Monitor::new(
            self.store.clone(),
            self.config.clone(),
        )));
        Message::Trouble(mistake("looking at the store"))
    }

    /// Finds out what a job would do.
    pub(crate) fn plan(&mut self, id: JobId, request: Request) {
        let (store, answers) = (self.store.clone(), self.answers.clone());
        let control = Control::default();
        self.planning = Some((id, control.clone()));
        tokio::spawn(async move {
            let plan =
                spawn_blocking(move || tidily(|| jobs::plan(&store, &request, &control))).await;
            let plan = match plan {
                Ok(plan) => plan.map(Box::new).map_err(|e| e.to_string()),
                Err(_) => Err(mistake("planning")),
            };
            let _ = answers.send(Answer::Message(Message::Planned(id, plan)));
        });
    }

    /// Compares two models.
    pub(crate) fn compare(&self, both: [String; 2]) {
        let (store, answers) = (self.store.clone(), self.answers.clone());
        tokio::spawn(async move {
            let [first, second] = both.clone();
            let work = spawn_blocking(move || {
                let filter = Filter::default();
                let sides = [first.as_str(), second.as_str()];
                tidily(|| {
                    let pairs =
                        query::pairs(&store, &filter, Side::Model, sides, &Control::default())?;
                    paired::compare(pairs)
                })
            });
            let result = match work.await {
                Ok(result) => result.map_err(|e| e.to_string()),
                Err(_) => Err(mistake("comparing")),
            };
            let _ = answers.send(Answer::Message(Message::Compared(both, result)));
        });
    }

    /// Does what a plan says.
    pub(crate) fn run(&mut self, id: JobId, plan: Box<Plan>) {
        let (store, answers) = (self.store.clone(), self.answers.clone());
        let control = Control::new(reporter(answers.clone(), move |progress| {
            Message::Progress(id, progress)
        }));
        self.running = Some((id, control.clone()));
        tokio::spawn(async move {
            let outcome = spawn_blocking(move || {
                panic_if_asked("job");
                tidily(|| jobs::run(&store, &plan, &control))
            })
            .await;
            let result = match outcome {
                Ok(Ok(outcome)) => Ok(Box::new(outcome)),
                Ok(Err(Error::Cancelled)) => Err(Failure::Cancelled),
                Ok(Err(error)) => Err(Failure::Failed(error.to_string())),
                Err(_) => Err(Failure::Failed(mistake("the job"))),
            };
            let _ = answers.send(Answer::Message(Message::Finished(id, result)));
        });
    }

    /// Runs the user's own program, without waiting for it.
    pub(crate) fn call(&self, call: Call) {
        let answers = self.answers.clone();
        tokio::spawn(async move {
            let told = spawn_blocking(move || hook::run(&call)).await;
            let told = told.unwrap_or_else(|_| Err(mistake("notify.hook")));
            let _ = answers.send(Answer::Message(Message::Told(told)));
        });
    }

    /// Tells a job to stop, whether it is planned or runs.
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
            Effect::Compare(both) => self.compare(both),
            Effect::Plan(id, request) => self.plan(id, request),
            Effect::Run(id, plan) => self.run(id, plan),
            Effect::Cancel(id) => self.cancel(id),
            Effect::Scan | Effect::Alerts | Effect::Suspend | Effect::Quit => {}
        }
    }
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
