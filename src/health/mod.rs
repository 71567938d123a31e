//! Rules that turn an observation of the store into alerts: each a small type with
//! a name, a severity, thresholds from the config, a message that says what to do,
//! and the action that does it.

use std::cmp::Reverse;

use crate::config::Thresholds;
use crate::observation::Observation;

pub use crate::observation::alert::{Alert, Remedy, Severity};

mod burst;
mod disk;
mod files;
mod identity;
mod money;
mod pace;
mod session;
mod sources;
mod store;
mod waiting;
mod writers;
mod zone;

/// One thing that can be wrong with a store.
trait Rule {
    /// Stable for scripts: `too_many_increments`.
    fn name(&self) -> &'static str;
    /// Why it matters and what to do, in a few sentences.
    fn explanation(&self) -> &'static str;
    /// What is wrong now, if anything.
    fn findings(&self, seen: &Observation, limits: &Thresholds) -> Vec<Finding>;
}

/// One case of a rule.
#[derive(Debug, Clone, PartialEq)]
struct Finding {
    severity: Severity,
    /// With figures, in about 60 columns.
    message: String,
    action: Remedy,
    subject: Option<String>,
    /// Put before the rule's explanation.
    detail: String,
}

impl Finding {
    fn new(severity: Severity, message: String, action: Remedy) -> Self {
        Self {
            severity,
            message,
            action,
            subject: None,
            detail: String::new(),
        }
    }

    fn about(mut self, subject: &str) -> Self {
        self.subject = Some(subject.to_owned());
        self
    }

    fn detail(mut self, detail: String) -> Self {
        self.detail = detail;
        self
    }
}

/// All rules; among alerts of one severity the earlier rule comes first.
const RULES: &[&dyn Rule] = &[
    &store::Unreadable,
    &store::Missing,
    &store::Shrunk,
    &store::RemovedUnread,
    &burst::FailureBurst,
    &disk::DiskSpace,
    &writers::LostWriters,
    &session::IncompleteSession,
    &money::Budget,
    &session::Throttled,
    &writers::FailedWriters,
    &writers::SilentWriters,
    &writers::StalledWriters,
    &sources::StaleSources,
    &zone::AnotherZone,
    &pace::SlowThroughput,
    &files::UnreadableFiles,
    &files::SchemaConflict,
    &files::Misnamed,
    &identity::RewrittenRows,
    &identity::IdenticalRows,
    &identity::SeveralSessions,
    &identity::WithoutIdentity,
    &waiting::IncrementFiles,
    &waiting::IncrementBytes,
    &waiting::OldestRow,
    &pace::Superseding,
    &store::LegacySummaries,
    &files::FutureFiles,
    &store::DataNotes,
    &store::Polling,
];

/// Applies every rule to one scan of the store; the worst alert first.
pub fn check(seen: &Observation, limits: &Thresholds) -> Vec<Alert> {
    let mut alerts: Vec<Alert> = RULES
        .iter()
        .flat_map(|rule| {
            rule.findings(seen, limits)
                .into_iter()
                .map(|finding| alert(*rule, finding))
        })
        .collect();
    // Stable: within one severity the order of the rules stands.
    alerts.sort_by_key(|alert| Reverse(alert.severity));
    alerts
}

fn alert(rule: &dyn Rule, finding: Finding) -> Alert {
    let explanation = match finding.detail.as_str() {
        "" => rule.explanation().to_owned(),
        detail => format!("{detail} {}", rule.explanation()),
    };
    Alert {
        rule: rule.name().to_owned(),
        severity: finding.severity,
        message: finding.message,
        action: finding.action,
        subject: finding.subject,
        explanation,
    }
}

/// The health of the store: that of its worst alert.
pub fn worst(alerts: &[Alert]) -> Severity {
    alerts
        .iter()
        .map(|alert| alert.severity)
        .max()
        .unwrap_or_default()
}

/// "1 file", "2 files", "1,000 files".
fn plural(count: u64, one: &str, many: &str) -> String {
    format!(
        "{} {}",
        crate::config::show_count(count),
        if count == 1 { one } else { many }
    )
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::observation::{StoreState, WatchMode};

    #[test]
    fn an_empty_store_is_healthy() {
        let alerts = check(&Observation::default(), &Thresholds::default());
        assert_eq!(alerts, []);
        assert_eq!(worst(&alerts), Severity::Healthy);
    }

    #[test]
    fn the_worst_comes_first() {
        let mut seen = Observation {
            watch: WatchMode::Polling("NFS".into()),
            state: StoreState::Unreadable("main is torn".into()),
            ..Observation::default()
        };
        seen.waiting.increments = 101;
        let alerts = check(&seen, &Thresholds::default());
        let rules: Vec<&str> = alerts.iter().map(|alert| alert.rule.as_str()).collect();
        assert_eq!(
            rules,
            ["store_unreadable", "too_many_increments", "watch_polling"]
        );
        assert_eq!(worst(&alerts), Severity::Critical);
    }

    #[test]
    fn rules_have_their_own_names_and_say_why() {
        let names: HashSet<&str> = RULES.iter().map(|rule| rule.name()).collect();
        assert_eq!(names.len(), RULES.len());
        for rule in RULES {
            assert!(rule.explanation().ends_with('.'), "{}", rule.name());
            assert!(
                rule.name()
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b == b'_'),
                "{}",
                rule.name()
            );
        }
    }
}
