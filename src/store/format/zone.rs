//! Time zones by the names that commit records have.

use jiff::Timestamp;
use jiff::fmt::temporal::{DateTimeParser, DateTimePrinter};
use jiff::tz::TimeZone;

/// The name of a zone: that of the time zone database, an offset, or a POSIX rule. The zone of a
/// machine may have none of them (`/etc/localtime` is a copy): then it is the offset of today.
pub(crate) fn name(zone: &TimeZone) -> String {
    let printer = DateTimePrinter::new();
    printer.time_zone_to_string(zone).unwrap_or_else(|_| {
        let today = TimeZone::fixed(zone.to_offset(Timestamp::now()));
        let named = printer.time_zone_to_string(&today);
        named.unwrap_or_else(|_| "UTC".to_owned())
    })
}

/// The zone of a name.
pub(crate) fn of(name: &str) -> Result<TimeZone, jiff::Error> {
    TimeZone::get(name).or_else(|_| DateTimeParser::new().parse_time_zone(name))
}

/// The zone that commits can name: what is read before the first one is read the same afterwards.
pub(crate) fn named(zone: &TimeZone) -> TimeZone {
    of(&name(zone)).unwrap_or(TimeZone::UTC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_zone_has_a_name_that_means_it() {
        let summer: Timestamp = "2026-07-01T12:00:00Z".parse().unwrap();
        let winter: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
        let zones = [
            TimeZone::UTC,
            TimeZone::get("Europe/Berlin").unwrap(),
            TimeZone::fixed(jiff::tz::offset(8)),
            TimeZone::posix("CST-8").unwrap(),
            TimeZone::posix("EST5EDT,M3.2.0,M11.1.0").unwrap(),
        ];
        for zone in zones {
            let named = named(&zone);
            for time in [summer, winter] {
                assert_eq!(named.to_offset(time), zone.to_offset(time), "{zone:?}");
            }
        }
        assert_eq!(name(&TimeZone::UTC), "UTC");
        assert_eq!(
            name(&TimeZone::get("Asia/Shanghai").unwrap()),
            "Asia/Shanghai"
        );
    }
}
