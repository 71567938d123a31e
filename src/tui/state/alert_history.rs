//! The alerts over time: since when each is there, who took note of it, which ended.
//! A scan of the store goes in, what appeared and what ended comes out. Its memory is
//! bounded by the alerts that are there and by [`KEPT`].

use std::collections::{BTreeMap, VecDeque};

use jiff::{SignedDuration, Timestamp};

use crate::health::{Alert, Severity};
use crate::monitor::Observation;
use crate::observation::StoreState;

/// Alerts that the history remembers.
pub(crate) const KEPT: usize = 300;
/// Alerts that can be quiet at the same time.
const QUIET: usize = 300;

/// What an alert is about: stays the same while its figures change.
pub(crate) type AlertKey = (String, Option<String>);

/// The key of an alert.
pub(crate) fn alert_key(alert: &Alert) -> AlertKey {
    (alert.rule.clone(), alert.subject.clone())
}

/// How an alert was silenced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quiet {
    /// Until it is over, or worse than this.
    Acknowledged(Severity),
    /// Until then, over and back in between or not, or until it is worse than this.
    Snoozed(Severity, Timestamp),
}

impl Quiet {
    fn severity(self) -> Severity {
        match self {
            Self::Acknowledged(severity) | Self::Snoozed(severity, _) => severity,
        }
    }
}

/// One alert in the history.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Episode {
    /// As it was at its worst, with its newest figures.
    pub alert: Alert,
    /// When it was first seen.
    pub since: Timestamp,
    /// When it was seen no more.
    pub until: Option<Timestamp>,
}

/// Something that changed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Change {
    /// When it was seen.
    pub at: Timestamp,
    /// The alert, as it is or was.
    pub alert: Alert,
    /// It appeared or became worse; else it is over.
    pub appeared: bool,
}

/// The alerts over time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Book {
    /// Whether there was a scan.
    opened: bool,
    /// What is there; each has an episode.
    present: BTreeMap<AlertKey, (Alert, Timestamp)>,
    quiet: BTreeMap<AlertKey, Quiet>,
    episodes: VecDeque<Episode>,
}

impl Book {
    /// Takes in a scan. What is there at the first scan did not appear: nobody knows since when.
    pub(crate) fn follow(&mut self, new: &Observation) -> Vec<Change> {
        let mut changes = Vec::new();
        for alert in &new.alerts {
            let key = alert_key(alert);
            let known = self.present.get(&key);
            let since = known.map_or(new.at, |(_, since)| *since);
            if known.is_none_or(|(old, _)| alert.severity > old.severity) {
                changes.push(Change {
                    at: new.at,
                    alert: alert.clone(),
                    appeared: true,
                });
            }
            if known.is_none() {
                self.episodes.push_front(Episode {
                    alert: alert.clone(),
                    since,
                    until: None,
                });
            }
            if let Some(episode) = self.open_episode(&key) {
                let severity = episode.alert.severity.max(alert.severity);
                episode.alert = Alert {
                    severity,
                    ..alert.clone()
                };
            }
            self.present.insert(key, (alert.clone(), since));
        }
        // A store that can't be read says nothing about what was wrong in it.
        if new.state == StoreState::Ready {
            let over = |key: &AlertKey| !new.alerts.iter().any(|alert| alert_key(alert) == *key);
            let ended: Vec<AlertKey> = self
                .present
                .keys()
                .filter(|key| over(key))
                .cloned()
                .collect();
            for key in ended {
                if let Some(episode) = self.open_episode(&key) {
                    episode.until = Some(new.at);
                }
                let gone = self.present.remove(&key);
                changes.extend(gone.map(|(alert, _)| Change {
                    at: new.at,
                    alert,
                    appeared: false,
                }));
            }
        }
        self.episodes.truncate(KEPT);
        let present = &self.present;
        self.quiet
            .retain(|key, quiet| match (present.get(key), *quiet) {
                (Some((alert, _)), quiet) => alert.severity <= quiet.severity(),
                (None, Quiet::Acknowledged(_)) => false,
                (None, Quiet::Snoozed(_, until)) => until > new.at,
            });
        if std::mem::replace(&mut self.opened, true) {
            changes
        } else {
            Vec::new()
        }
    }

    fn open_episode(&mut self, key: &AlertKey) -> Option<&mut Episode> {
        self.episodes
            .iter_mut()
            .find(|e| e.until.is_none() && alert_key(&e.alert) == *key)
    }

    /// Time went on: snoozing ends. Whether any did.
    pub(crate) fn wake(&mut self, now: Timestamp) -> bool {
        let before = self.quiet.len();
        self.quiet
            .retain(|_, quiet| !matches!(quiet, Quiet::Snoozed(_, until) if *until <= now));
        self.quiet.len() != before
    }

    /// When the next snoozing ends.
    pub(crate) fn next_wake(&self) -> Option<Timestamp> {
        self.quiet
            .values()
            .filter_map(|quiet| match quiet {
                Quiet::Snoozed(_, until) => Some(*until),
                Quiet::Acknowledged(_) => None,
            })
            .min()
    }

    /// Takes note of an alert; the second time takes that back.
    pub(crate) fn acknowledge(&mut self, alert: &Alert) {
        let key = alert_key(alert);
        if !matches!(self.quiet.remove(&key), Some(Quiet::Acknowledged(_))) {
            self.silence(key, Quiet::Acknowledged(alert.severity));
        }
    }

    /// Silences an alert for some time; the second time takes that back.
    pub(crate) fn snooze(&mut self, alert: &Alert, now: Timestamp, seconds: u64) {
        let key = alert_key(alert);
        let length = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
        let until = now.saturating_add(length).unwrap_or(Timestamp::MAX);
        if !matches!(self.quiet.remove(&key), Some(Quiet::Snoozed(..))) {
            self.silence(key, Quiet::Snoozed(alert.severity, until));
        }
    }

    fn silence(&mut self, key: AlertKey, quiet: Quiet) {
        while self.quiet.len() >= QUIET {
            self.quiet.pop_first();
        }
        self.quiet.insert(key, quiet);
    }

    /// How an alert was silenced, if it was.
    pub(crate) fn quiet(&self, alert: &Alert) -> Option<Quiet> {
        self.quiet.get(&alert_key(alert)).copied()
    }

    /// Since when an alert is there.
    pub(crate) fn since(&self, key: &AlertKey) -> Option<Timestamp> {
        self.present.get(key).map(|(_, since)| *since)
    }

    /// What is there.
    pub(crate) fn present(&self) -> impl Iterator<Item = (&AlertKey, &Alert)> {
        self.present.iter().map(|(key, (alert, _))| (key, alert))
    }

    /// Every alert that is remembered, newest first.
    pub(crate) fn episodes(&self) -> &VecDeque<Episode> {
        &self.episodes
    }
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use super::*;
    use crate::health::Remedy;
    use crate::tui::state::fixture;

    fn at(minute: i64) -> Timestamp {
        fixture::now() + SignedDuration::from_mins(minute)
    }

    fn burst(severity: Severity) -> Alert {
        fixture::alert(
            "failure_burst",
            severity,
            "9 of 9 failed",
            Remedy::Errors,
            "m",
        )
    }

    fn look(minute: i64, alerts: &[Alert]) -> Observation {
        Observation {
            at: at(minute),
            alerts: alerts.to_vec(),
            ..Observation::default()
        }
    }

    #[test]
    fn tells_what_appears_becomes_worse_and_ends() {
        let mut book = Book::default();
        let warning = burst(Severity::Warning);
        assert_eq!(book.follow(&look(0, &[])), []);
        let change = |minute, alert: &Alert, appeared| Change {
            at: at(minute),
            alert: alert.clone(),
            appeared,
        };
        assert_eq!(
            book.follow(&look(1, from_ref(&warning))),
            [change(1, &warning, true)]
        );
        assert_eq!(book.follow(&look(2, from_ref(&warning))), []);
        let worse = burst(Severity::Critical);
        assert_eq!(
            book.follow(&look(3, from_ref(&worse))),
            [change(3, &worse, true)]
        );
        assert_eq!(book.since(&alert_key(&worse)), Some(at(1)));
        assert_eq!(book.follow(&look(4, &[])), [change(4, &worse, false)]);
        let episode = Episode {
            alert: worse,
            since: at(1),
            until: Some(at(4)),
        };
        assert_eq!(book.episodes().iter().collect::<Vec<_>>(), [&episode]);
    }

    #[test]
    fn what_is_there_at_the_start_did_not_appear_but_can_end() {
        let mut book = Book::default();
        assert_eq!(book.follow(&look(0, &[burst(Severity::Warning)])), []);
        assert_eq!(book.follow(&look(1, &[])).len(), 1);
    }

    #[test]
    fn a_store_that_cannot_be_read_ends_nothing() {
        let mut book = Book::default();
        book.follow(&look(0, &[burst(Severity::Warning)]));
        let gone = Observation {
            state: StoreState::Missing,
            ..look(1, &[])
        };
        assert_eq!(book.follow(&gone), []);
        assert_eq!(book.follow(&look(2, &[burst(Severity::Warning)])), []);
        assert_eq!(book.follow(&look(3, &[])).len(), 1);
    }

    #[test]
    fn snoozing_lasts_through_an_end_and_ends_with_time_or_something_worse() {
        let warning = burst(Severity::Warning);
        let mut book = Book::default();
        book.follow(&look(0, from_ref(&warning)));
        book.snooze(&warning, at(0), 3_600);
        book.follow(&look(1, &[]));
        book.follow(&look(2, from_ref(&warning)));
        assert_eq!(
            book.quiet(&warning),
            Some(Quiet::Snoozed(Severity::Warning, at(60)))
        );
        assert_eq!(book.next_wake(), Some(at(60)));
        assert!(!book.wake(at(59)) && book.wake(at(60)));
        assert_eq!(book.quiet(&warning), None);
        book.snooze(&warning, at(60), 3_600);
        book.follow(&look(61, &[burst(Severity::Critical)]));
        assert_eq!(book.quiet(&warning), None);
        book.snooze(&warning, at(60), 3_600);
        book.snooze(&warning, at(60), 3_600);
        assert_eq!(book.quiet(&warning), None, "the second time takes it back");
    }

    #[test]
    fn acknowledging_ends_with_the_alert() {
        let warning = burst(Severity::Warning);
        let mut book = Book::default();
        book.follow(&look(0, from_ref(&warning)));
        book.acknowledge(&warning);
        book.follow(&look(1, from_ref(&warning)));
        assert!(book.quiet(&warning).is_some());
        book.follow(&look(2, &[]));
        book.follow(&look(3, from_ref(&warning)));
        assert!(book.quiet(&warning).is_none());
    }

    #[test]
    fn a_week_of_flapping_is_remembered_in_bounded_memory() {
        let mut book = Book::default();
        for minute in 0..5_000 {
            let about = format!("writer {minute}");
            let alert = fixture::alert(
                "stalled_writer",
                Severity::Warning,
                "quiet",
                Remedy::Writer,
                &about,
            );
            book.follow(&look(minute, from_ref(&alert)));
            book.snooze(&alert, at(minute), 8 * 86_400);
        }
        assert_eq!(
            (book.episodes.len(), book.present.len(), book.quiet.len()),
            (KEPT, 1, QUIET)
        );
    }
}
