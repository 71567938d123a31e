//! Times that name no zone, and files that contradict the zone in which they were read.

use super::{Finding, Remedy, Rule, Severity, plural};
use crate::config::{Thresholds, show_duration};
use crate::observation::{Observation, ZoneFrom};

/// Rows that seem to be of another zone.
pub(super) struct AnotherZone;

impl Rule for AnotherZone {
    fn name(&self) -> &'static str {
        "times_of_another_zone"
    }

    fn explanation(&self) -> &'static str {
        "A time without a zone means something else to each reader: ages, rates and charts are off by the difference. \
         Write times with their zone, in Python datetime.now(timezone.utc)."
    }

    fn findings(&self, seen: &Observation, _: &Thresholds) -> Vec<Finding> {
        let zone = &seen.zone;
        let Some(off) = &zone.off else {
            return Vec::new();
        };
        let apart = show_duration(off.seconds.unsigned_abs() as f64);
        let fits = match off.fits {
            0 => "UTC".to_owned(),
            fits => format!(
                "an offset of {}",
                jiff::tz::Offset::from_seconds(fits)
                    .map_or_else(|_| fits.to_string(), |offset| offset.to_string())
            ),
        };
        let message = format!("times read as {} are {apart} off: {fits} fits", zone.name);
        let rows = plural(zone.naive, "row has", "rows have");
        let what = match zone.from {
            ZoneFrom::Store => "The store's first commit fixed that zone.",
            ZoneFrom::Settings => "The settings name that zone (time_zone).",
            ZoneFrom::Machine => {
                "That is this machine's zone: set time_zone in the settings before the first consolidate, which fixes it."
            }
        };
        let side = if off.seconds > 0 { "before" } else { "after" };
        let detail = format!(
            "{rows} a time without a zone, and the newest of {} lies {apart} {side} the file was written. {what}",
            off.file
        );
        vec![
            Finding::new(Severity::Warning, message, Remedy::None)
                .about(&off.file)
                .detail(detail),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::{OffView, ZoneView};

    #[test]
    fn it_says_which_zone_fits() {
        let said = |seconds, fits| {
            let zone = ZoneView {
                name: "Asia/Shanghai".to_owned(),
                from: ZoneFrom::Machine,
                naive: 12,
                off: Some(OffView {
                    file: "increment_7_20260131_120000.parquet".to_owned(),
                    seconds,
                    fits,
                }),
            };
            let seen = Observation {
                zone,
                ..Observation::default()
            };
            let mut found = AnotherZone.findings(&seen, &Thresholds::default());
            found.remove(0)
        };
        let found = said(28_800, 0);
        assert_eq!(
            found.message,
            "times read as Asia/Shanghai are 8h off: UTC fits"
        );
        assert!(
            found
                .detail
                .starts_with("12 rows have a time without a zone"),
            "{}",
            found.detail
        );
        assert_eq!(
            said(-3_600, 32_400).message,
            "times read as Asia/Shanghai are 1h off: an offset of +09 fits"
        );
        let quiet = Observation::default();
        assert!(
            AnotherZone
                .findings(&quiet, &Thresholds::default())
                .is_empty()
        );
    }
}
