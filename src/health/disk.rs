//! The file system runs full.

use super::{Finding, Remedy, Rule, Severity};
use crate::config::{Thresholds, show_size};
use crate::observation::Observation;

/// Little free space, by share or by size.
pub(super) struct DiskSpace;

impl Rule for DiskSpace {
    fn name(&self) -> &'static str {
        "disk_space"
    }

    fn explanation(&self) -> &'static str {
        "On a full disk writers can't record results, and consolidate needs room for a second copy of main. \
         Cleanup removes old backups and leftovers of this store; beyond that, free space elsewhere."
    }

    fn findings(&self, seen: &Observation, limits: &Thresholds) -> Vec<Finding> {
        let Some((free, total)) = seen.disk.filter(|(_, total)| *total > 0) else {
            return Vec::new();
        };
        let percent = free as f64 * 100.0 / total as f64;
        if percent >= limits.disk_percent && free >= limits.disk_bytes {
            return Vec::new();
        }
        // Below a tenth of the limit a few minutes of a busy run can fill the rest.
        let critical = free < limits.disk_bytes / 10;
        let severity = if critical {
            Severity::Critical
        } else {
            Severity::Warning
        };
        let message = format!(
            "disk {percent:.0}% free, {}: clean up or free some space",
            show_size(free)
        );
        vec![Finding::new(severity, message, Remedy::Cleanup)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn severity(free: u64, total: u64) -> Option<Severity> {
        let seen = Observation {
            disk: Some((free, total)),
            ..Observation::default()
        };
        DiskSpace
            .findings(&seen, &Thresholds::default())
            .first()
            .map(|finding| finding.severity)
    }

    #[test]
    fn alarms_below_a_tenth_or_a_gibibyte() {
        assert_eq!(severity(100 * GIB, 1_000 * GIB), None);
        assert_eq!(
            severity(100 * GIB - 1, 1_000 * GIB),
            Some(Severity::Warning)
        );
        assert_eq!(severity(GIB, 4 * GIB), None);
        assert_eq!(severity(GIB - 1, 4 * GIB), Some(Severity::Warning));
        assert_eq!(severity(GIB / 10 - 1, GIB), Some(Severity::Critical));
        assert_eq!(severity(0, 4 * GIB), Some(Severity::Critical));
    }

    #[test]
    fn unknown_space_is_no_alarm() {
        assert_eq!(
            DiskSpace.findings(&Observation::default(), &Thresholds::default()),
            []
        );
        assert_eq!(severity(0, 0), None);
    }
}
