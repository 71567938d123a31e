//! Too much waits to be consolidated: files, bytes, or one row for too long.

use super::{Finding, Remedy, Rule, Severity, plural};
use crate::config::{Thresholds, show_count, show_duration, show_size};
use crate::observation::Observation;

/// Increment files above their limit.
pub(super) struct IncrementFiles;

impl Rule for IncrementFiles {
    fn name(&self) -> &'static str {
        "too_many_increments"
    }

    fn explanation(&self) -> &'static str {
        "Every reader of the store opens every increment, so queries slow down as they pile up. \
         Consolidate merges them into main; it can run while writers work, and loses nothing."
    }

    fn findings(&self, seen: &Observation, limits: &Thresholds) -> Vec<Finding> {
        let count = seen.waiting.increments;
        over(count, limits.increments_warning, limits.increments_critical)
            .map(|(severity, limit)| {
                let message = format!(
                    "{} (limit {}): consolidate",
                    plural(count, "pending increment", "pending increments"),
                    show_count(limit)
                );
                Finding::new(severity, message, Remedy::Consolidate)
            })
            .into_iter()
            .collect()
    }
}

/// Bytes of increments above their limit.
pub(super) struct IncrementBytes;

impl Rule for IncrementBytes {
    fn name(&self) -> &'static str {
        "increments_too_large"
    }

    fn explanation(&self) -> &'static str {
        "Increments are read whole by every query, main only where it matters. \
         Consolidate merges them into main; it can run while writers work, and loses nothing."
    }

    fn findings(&self, seen: &Observation, limits: &Thresholds) -> Vec<Finding> {
        let bytes = seen.waiting.increment_bytes;
        over(bytes, limits.bytes_warning, limits.bytes_critical)
            .map(|(severity, limit)| {
                let message = format!(
                    "{} of pending increments (limit {}): consolidate",
                    show_size(bytes),
                    show_size(limit)
                );
                Finding::new(severity, message, Remedy::Consolidate)
            })
            .into_iter()
            .collect()
    }
}

/// The limit that a value exceeds, the worse one first.
fn over(value: u64, warning: u64, critical: u64) -> Option<(Severity, u64)> {
    if value > critical {
        Some((Severity::Critical, critical))
    } else {
        (value > warning).then_some((Severity::Warning, warning))
    }
}

/// A row that has waited for too long.
pub(super) struct OldestRow;

impl Rule for OldestRow {
    fn name(&self) -> &'static str {
        "oldest_waiting"
    }

    fn explanation(&self) -> &'static str {
        "Rows are safe while they wait, but tools that read main alone don't see them. \
         Consolidate moves them into main."
    }

    fn findings(&self, seen: &Observation, limits: &Thresholds) -> Vec<Finding> {
        let Some(oldest) = seen.waiting.oldest else {
            return Vec::new();
        };
        let age = seen.at.duration_since(oldest).as_secs_f64();
        if age <= limits.oldest_seconds as f64 {
            return Vec::new();
        }
        let limit = show_duration(limits.oldest_seconds as f64);
        let message = format!(
            "oldest pending row is {} old (limit {limit}): consolidate",
            show_duration(age)
        );
        vec![Finding::new(
            Severity::Warning,
            message,
            Remedy::Consolidate,
        )]
    }
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};

    use super::*;

    fn severity(rule: &dyn Rule, seen: &Observation) -> Option<Severity> {
        rule.findings(seen, &Thresholds::default())
            .first()
            .map(|finding| finding.severity)
    }

    #[test]
    fn files_alarm_above_their_limits_not_at_them() {
        let mut seen = Observation::default();
        for (count, expected) in [
            (100, None),
            (101, Some(Severity::Warning)),
            (1_000, Some(Severity::Warning)),
            (1_001, Some(Severity::Critical)),
        ] {
            seen.waiting.increments = count;
            assert_eq!(severity(&IncrementFiles, &seen), expected, "{count}");
        }
        let found = IncrementFiles.findings(&seen, &Thresholds::default());
        assert_eq!(
            found[0].message,
            "1,001 pending increments (limit 1,000): consolidate"
        );
    }

    #[test]
    fn bytes_alarm_above_their_limits_not_at_them() {
        let mut seen = Observation::default();
        for (bytes, expected) in [
            (100 << 20, None),
            ((100 << 20) + 1, Some(Severity::Warning)),
            (1 << 30, Some(Severity::Warning)),
            ((1 << 30) + 1, Some(Severity::Critical)),
        ] {
            seen.waiting.increment_bytes = bytes;
            assert_eq!(severity(&IncrementBytes, &seen), expected, "{bytes}");
        }
    }

    #[test]
    fn the_oldest_row_alarms_after_an_hour() {
        let at: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        let mut seen = Observation {
            at,
            ..Observation::default()
        };
        assert_eq!(severity(&OldestRow, &seen), None);
        seen.waiting.oldest = Some(at - SignedDuration::from_hours(1));
        assert_eq!(severity(&OldestRow, &seen), None);
        seen.waiting.oldest = Some(at - SignedDuration::from_mins(75));
        assert_eq!(severity(&OldestRow, &seen), Some(Severity::Warning));
        let found = OldestRow.findings(&seen, &Thresholds::default());
        assert_eq!(
            found[0].message,
            "oldest pending row is 1h15 old (limit 1h): consolidate"
        );
    }
}
