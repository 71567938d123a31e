//! Says people who don't look: the terminal's bell, a desktop notification, a program
//! of their own. It compares what is there with what was reported, so that whatever comes
//! and goes between two messages costs nothing, and a storm of alerts is one message.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::config::{Desktop, Level, Notify};
use crate::health::{Alert, Severity};
use crate::text::width;
use crate::tui::state::alert_history::{AlertKey, Book, Quiet};

/// Alerts that one message names; the rest is a number.
const NAMED: usize = 50;
/// Cells of a desktop notification.
const LONGEST: usize = 200;

/// What appeared and what ended since the last message.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct News {
    /// Appeared, or became worse.
    pub appeared: Vec<Alert>,
    /// Ended.
    pub cleared: Vec<Alert>,
}

/// Decides when there is something to say.
#[derive(Debug)]
pub(crate) struct Notifier {
    settings: Notify,
    store: PathBuf,
    /// What people know of.
    notified: BTreeMap<AlertKey, Alert>,
    /// Those of them that are snoozed: reported again when they wake.
    asleep: BTreeSet<AlertKey>,
    /// There is something to say.
    pending: bool,
    last: Option<Instant>,
    opened: bool,
}

impl Notifier {
    /// Nothing was reported yet.
    pub(crate) fn new(settings: Notify, store: &Path) -> Self {
        Self {
            settings,
            store: store.to_path_buf(),
            notified: BTreeMap::new(),
            asleep: BTreeSet::new(),
            pending: false,
            last: None,
            opened: false,
        }
    }

    /// The same where nobody has seen the first alerts.
    pub(crate) fn unread(settings: Notify, store: &Path) -> Self {
        Self {
            opened: true,
            ..Self::new(settings, store)
        }
    }

    /// Looks at the alerts. Those of the first scan are known: somebody just opened the dashboard.
    pub(crate) fn look(&mut self, book: &Book) {
        if !std::mem::replace(&mut self.opened, true) {
            self.notified = self.loud(book);
        }
        self.asleep.extend(asleep(book));
        self.pending = self.news(book) != News::default();
    }

    /// The next instant at which there is something to say.
    pub(crate) fn due(&self) -> Option<Instant> {
        let pause = Duration::from_secs(self.settings.every_seconds);
        self.pending
            .then(|| self.last.map_or_else(Instant::now, |at| at + pause))
    }

    /// What is to be reported now, once.
    pub(crate) fn take(&mut self, book: &Book) -> Option<News> {
        if self.due().is_none_or(|due| due > Instant::now()) {
            return None;
        }
        let news = self.news(book);
        self.pending = false;
        let loud = self.loud(book);
        // What is silent now and was reported stays known until it is over.
        let present: Vec<&AlertKey> = book.present().map(|(key, _)| key).collect();
        self.notified.retain(|key, _| present.contains(&key));
        self.notified.extend(loud);
        self.asleep = asleep(book).collect();
        if news == News::default() {
            return None;
        }
        self.last = Some(Instant::now());
        Some(news)
    }

    fn matters(&self, alert: &Alert) -> bool {
        alert.severity
            >= match self.settings.least {
                Level::Warning => Severity::Warning,
                Level::Critical => Severity::Critical,
            }
    }

    fn loud(&self, book: &Book) -> BTreeMap<AlertKey, Alert> {
        let loud = book
            .present()
            .filter(|(_, alert)| self.matters(alert) && book.quiet(alert).is_none());
        loud.map(|(key, alert)| (key.clone(), alert.clone()))
            .collect()
    }

    fn news(&self, book: &Book) -> News {
        let present: BTreeMap<&AlertKey, &Alert> = book.present().collect();
        let is_new = |key: &AlertKey, alert: &Alert| {
            let known = self
                .notified
                .get(key)
                .filter(|_| !self.asleep.contains(key));
            known.is_none_or(|known| known.severity < alert.severity)
        };
        let appeared = self
            .loud(book)
            .into_iter()
            .filter(|(key, alert)| is_new(key, alert))
            .map(|(_, a)| a);
        let cleared = self
            .notified
            .iter()
            .filter(|(key, _)| !present.contains_key(key))
            .map(|(_, a)| a.clone());
        News {
            appeared: appeared.collect(),
            cleared: cleared.collect(),
        }
    }

    /// What is written to the terminal: nothing that shows, only the bell and a notification.
    pub(crate) fn bytes(&self, news: &News, tmux: bool) -> Vec<u8> {
        let mut out = Vec::new();
        if self.settings.bell && !news.appeared.is_empty() {
            out.push(b'\x07');
        }
        let message = width::truncate(&sentence(news), LONGEST);
        let sequence = match self.settings.desktop {
            Desktop::Off => return out,
            Desktop::Osc9 => format!("\x1b]9;evaltop: {message}\x07"),
            Desktop::Osc777 => format!("\x1b]777;notify;evaltop;{}\x07", message.replace(';', ",")),
        };
        if tmux {
            // Passed on to the terminal outside, where tmux allows it.
            out.extend(format!("\x1bPtmux;{}\x1b\\", sequence.replace('\x1b', "\x1b\x1b")).bytes());
        } else {
            out.extend(sequence.bytes());
        }
        out
    }

    /// The program to run, its time limit, and what it reads.
    pub(crate) fn hook(&self, news: &News, book: &Book, now: Timestamp) -> Option<Call> {
        if self.settings.hook.is_empty() {
            return None;
        }
        let health = book
            .present()
            .map(|(_, alert)| alert.severity)
            .max()
            .unwrap_or_default();
        let some = |alerts: &[Alert]| {
            alerts
                .iter()
                .take(NAMED)
                .map(|a| json!(a))
                .collect::<Value>()
        };
        let input = json!({
            "schema_version": 1,
            "at": now,
            "store": self.store,
            "health": health,
            "summary": sentence(news),
            "appeared": some(&news.appeared),
            "cleared": some(&news.cleared),
        });
        Some(Call {
            command: self.settings.hook.clone(),
            input: format!("{input}\n"),
            limit: Duration::from_secs(self.settings.hook_timeout_seconds),
        })
    }
}

/// What is there and snoozed.
fn asleep(book: &Book) -> impl Iterator<Item = AlertKey> {
    let snoozed = |alert: &Alert| matches!(book.quiet(alert), Some(Quiet::Snoozed(..)));
    book.present()
        .filter(move |(_, alert)| snoozed(alert))
        .map(|(key, _)| key.clone())
}

/// A program to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Its standard input.
    pub input: String,
    /// How long it may take.
    pub limit: Duration,
}

/// The news in a line.
fn sentence(news: &News) -> String {
    let more = |n: usize| {
        if n > 1 {
            format!(" (and {} more)", n - 1)
        } else {
            String::new()
        }
    };
    let worst = news.appeared.iter().max_by_key(|alert| alert.severity);
    match (worst, news.cleared.first()) {
        (Some(alert), _) => format!("{}{}", alert.message, more(news.appeared.len())),
        (None, Some(alert)) => format!("over: {}{}", alert.message, more(news.cleared.len())),
        (None, None) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use super::*;
    use crate::health::Remedy;
    use crate::monitor::Observation;
    use crate::tui::state::fixture;
    use crate::tui::state::fixture::now;

    fn alert(rule: &str, severity: Severity) -> Alert {
        fixture::alert(
            rule,
            severity,
            &format!("{rule}; now\u{1b}[2J"),
            Remedy::None,
            "",
        )
    }

    fn look(book: &mut Book, notifier: &mut Notifier, alerts: &[Alert]) -> Option<News> {
        book.follow(&Observation {
            at: now(),
            alerts: alerts.to_vec(),
            ..Observation::default()
        });
        notifier.look(book);
        notifier.take(book)
    }

    fn notifier(change: impl FnOnce(&mut Notify)) -> (Book, Notifier) {
        let mut settings = Notify::default();
        change(&mut settings);
        (
            Book::default(),
            Notifier::new(settings, Path::new("/runs/store")),
        )
    }

    fn rules(alerts: &[Alert]) -> Vec<&str> {
        alerts.iter().map(|a| a.rule.as_str()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn reports_at_once_and_then_at_most_once_a_minute() {
        let (mut book, mut notifier) = notifier(|_| {});
        let (a, b, c) = (
            alert("a", Severity::Warning),
            alert("b", Severity::Warning),
            alert("c", Severity::Critical),
        );
        assert_eq!(
            look(&mut book, &mut notifier, from_ref(&a)),
            None,
            "there at the start"
        );
        let news = look(&mut book, &mut notifier, &[a.clone(), b.clone()]).unwrap();
        assert_eq!((rules(&news.appeared), news.cleared.len()), (vec!["b"], 0));
        // Comes and goes within the minute: nobody is notified.
        assert_eq!(
            look(&mut book, &mut notifier, &[a.clone(), b.clone(), c.clone()]),
            None
        );
        assert_eq!(
            notifier.due(),
            Some(Instant::now() + Duration::from_secs(60))
        );
        assert_eq!(
            look(&mut book, &mut notifier, &[a.clone(), b.clone()]),
            None
        );
        assert_eq!(notifier.due(), None);
        assert_eq!(look(&mut book, &mut notifier, from_ref(&c)), None);
        tokio::time::advance(Duration::from_secs(60)).await;
        let news = notifier.take(&book).unwrap();
        assert_eq!(
            (rules(&news.appeared), rules(&news.cleared)),
            (vec!["c"], vec!["a", "b"])
        );
        assert_eq!(notifier.take(&book), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_silenced_is_not_reported_and_its_end_is() {
        let (mut book, mut notifier) = notifier(|n| n.every_seconds = 0);
        let a = alert("a", Severity::Warning);
        look(&mut book, &mut notifier, &[]);
        look(&mut book, &mut notifier, from_ref(&a)).unwrap();
        book.snooze(&a, now(), 60);
        assert_eq!(
            rules(&look(&mut book, &mut notifier, &[]).unwrap().cleared),
            ["a"]
        );
        assert_eq!(
            look(&mut book, &mut notifier, from_ref(&a)),
            None,
            "snoozed"
        );
        book.wake(now() + jiff::SignedDuration::from_secs(60));
        notifier.look(&book);
        assert_eq!(
            rules(&notifier.take(&book).unwrap().appeared),
            ["a"],
            "awake again"
        );
        assert_eq!(look(&mut book, &mut notifier, from_ref(&a)), None);
        book.snooze(&a, now(), 60);
        assert_eq!(look(&mut book, &mut notifier, from_ref(&a)), None);
        book.wake(now() + jiff::SignedDuration::from_secs(60));
        notifier.look(&book);
        assert_eq!(
            rules(&notifier.take(&book).unwrap().appeared),
            ["a"],
            "never gone, told again"
        );
        let worse = alert("a", Severity::Critical);
        assert_eq!(
            rules(&look(&mut book, &mut notifier, &[worse]).unwrap().appeared),
            ["a"],
            "worse"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn the_least_severity_counts() {
        let (mut book, mut notifier) = notifier(|n| n.least = Level::Critical);
        look(&mut book, &mut notifier, &[]);
        assert_eq!(
            look(&mut book, &mut notifier, &[alert("a", Severity::Warning)]),
            None
        );
        assert!(look(&mut book, &mut notifier, &[alert("a", Severity::Critical)]).is_some());
    }

    #[test]
    fn nothing_of_an_alert_steers_the_terminal() {
        let news = News {
            appeared: vec![alert("a", Severity::Warning)],
            cleared: Vec::new(),
        };
        let text = |change: fn(&mut Notify), tmux| {
            String::from_utf8(notifier(change).1.bytes(&news, tmux)).unwrap()
        };
        assert_eq!(text(|_| {}, false), "\x07");
        assert_eq!(text(|n| n.bell = false, false), "");
        let body = width::clean(&news.appeared[0].message).into_owned();
        assert!(!body.contains('\x1b'));
        assert_eq!(
            text(|n| n.desktop = Desktop::Osc9, false),
            format!("\x07\x1b]9;evaltop: {body}\x07")
        );
        assert_eq!(
            text(|n| n.desktop = Desktop::Osc777, true),
            format!(
                "\x07\x1bPtmux;\x1b\x1b]777;notify;evaltop;{}\x07\x1b\\",
                body.replace(';', ",")
            )
        );
        let over = News {
            cleared: news.appeared.clone(),
            appeared: Vec::new(),
        };
        assert_eq!(
            notifier(|_| {}).1.bytes(&over, false),
            b"",
            "no bell for an end"
        );
    }

    #[test]
    fn the_hook_reads_what_happened_as_json() {
        let (mut book, notifier) =
            notifier(|n| n.hook = vec!["page".to_owned(), "$HOME".to_owned()]);
        let a = alert("a", Severity::Critical);
        book.follow(&Observation {
            at: now(),
            alerts: vec![a.clone()],
            ..Observation::default()
        });
        let news = News {
            appeared: vec![a],
            cleared: Vec::new(),
        };
        let call = notifier.hook(&news, &book, now()).unwrap();
        assert_eq!(call.command, ["page", "$HOME"]);
        let input: Value = serde_json::from_str(&call.input).unwrap();
        assert_eq!(
            (&input["store"], &input["health"]),
            (&json!("/runs/store"), &json!("critical"))
        );
        assert_eq!(input["appeared"][0]["rule"], "a");
    }
}
