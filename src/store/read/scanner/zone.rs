//! In which zone times were read that name none, and whether their files contradict it.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::modified;
use crate::store::aggregate::Naive;
use crate::store::format::layout::MAIN;
use crate::store::format::zone;
use crate::store::read::listing::Files;
use crate::store::read::main::Main;
use crate::store::read::main_rows::MainRows;
use crate::store::read::snapshot::{OffFacts, WaitingFile, ZoneFacts};

/// Offsets of zones are whole quarters of an hour, in microseconds, and no two differ by more.
const QUARTER: i64 = 900 * 1_000_000;
const MOST: i64 = 26 * 4 * QUARTER;
/// So many of the newest files have to agree, where there are as many.
const AGREE: usize = 3;
/// A file is written so many microseconds after its newest row at most.
const AFTER: i64 = 120 * 1_000_000;

pub(super) fn zone_facts(
    files: &Files,
    main: Option<&MainRows>,
    waiting: &[WaitingFile],
) -> ZoneFacts {
    let of_main = files.main.as_ref().zip(main);
    let of_main = of_main.map(|(main, rows)| {
        let stat = main.file.stat();
        (MAIN, rows.digest.naive, modified(&stat))
    });
    let all = waiting
        .iter()
        .map(|file| (file.name.as_str(), file.naive, file.modified));
    let all: Vec<(&str, Naive, Timestamp)> = all
        .chain(of_main)
        .filter(|(_, naive, _)| naive.rows > 0)
        .collect();
    // What was written last says most: others may be copies of older files, and main is written
    // long after its rows. Where there are several, one that was late for another reason doesn't do.
    let mut written: Vec<_> = all.iter().filter(|(name, ..)| *name != MAIN).collect();
    written.sort_by_key(|(.., modified)| std::cmp::Reverse(*modified));
    let mut offs = written.iter().take(AGREE).map(|(name, naive, modified)| {
        off(name, naive.newest?, modified.as_microsecond(), &files.zone)
    });
    let first = offs.next().flatten();
    let agree =
        |one: &OffFacts| offs.all(|other| other.is_some_and(|other| other.seconds == one.seconds));
    ZoneFacts {
        name: zone::name(&files.zone),
        fixed: files.main.as_ref().and_then(Main::record).is_some(),
        naive: all.iter().map(|(_, naive, _)| naive.rows).sum(),
        off: first.filter(agree),
    }
}

fn off(file: &str, newest: i64, written: i64, zone: &TimeZone) -> Option<OffFacts> {
    let late = written
        .checked_sub(newest)
        .filter(|late| late.abs() <= MOST)?;
    let whole = (late as f64 / QUARTER as f64).round() as i64 * QUARTER;
    if whole == 0 || (late - whole).abs() > AFTER {
        return None;
    }
    let seconds = whole / 1_000_000;
    let own = zone.to_offset(Timestamp::from_microsecond(newest).ok()?);
    let fits = i32::try_from(i64::from(own.seconds()) - seconds).ok()?;
    if !is_of_a_zone(fits) {
        return None;
    }
    Some(OffFacts {
        file: file.to_owned(),
        seconds,
        fits,
    })
}

/// Whether some zone has this offset, in seconds: whole hours, and a few halves and quarters.
fn is_of_a_zone(offset: i32) -> bool {
    const OTHERS: [i32; 12] = [
        -34_200, -12_600, -9_000, 12_600, 16_200, 19_800, 20_700, 23_400, 31_500, 34_200, 37_800,
        45_900,
    ];
    let whole = offset % 3_600 == 0 && (-43_200..=50_400).contains(&offset);
    whole || OTHERS.contains(&offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600;

    #[test]
    fn a_file_that_was_written_hours_after_its_rows_is_of_another_zone() {
        let shanghai = TimeZone::get("Asia/Shanghai").unwrap();
        let now = 1_769_860_800;
        let found = |late: i64| {
            let micros = |seconds: i64| seconds * 1_000_000;
            let off = off("f", micros(now - late), micros(now), &shanghai);
            off.map(|off| (off.seconds, off.fits))
        };
        assert_eq!(found(8 * HOUR + 3), Some((8 * HOUR, 0)));
        assert_eq!(found(-HOUR), Some((-HOUR, 9 * 3_600)));
        // New York's winter.
        assert_eq!(found(13 * HOUR + 90), Some((13 * HOUR, -5 * 3_600)));
        // Kolkata, and offsets that no zone has.
        assert_eq!(found(2 * HOUR + 1_800), Some((9_000, 19_800)));
        for late in [900, 1_800, 3_900, -7 * HOUR] {
            assert_eq!(found(late), None, "{late}");
        }
        for late in [0, 100, -100, 8 * HOUR + 400, 30 * HOUR] {
            assert_eq!(found(late), None, "{late}");
        }
    }
}
