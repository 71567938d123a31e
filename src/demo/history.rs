//! What the demo's store holds when it opens: six hours of results in main, and
//! increments that wait. The same seed makes the same results, dated back from now.

use jiff::{SignedDuration, Timestamp};

use super::simulation::Simulation;
use crate::store::{Control, Record, Result, Store, consolidate, increment, layout, record};

/// How far back the results go.
const HOURS: i64 = 6;
/// Increments that wait when the dashboard opens, below the alert's threshold of 100.
const WAITING: u64 = 92;
/// Rows of one waiting increment.
const ROWS: usize = 18;
/// Writers of the past.
const WRITERS: u64 = 8;

/// Fills an empty store with the past of a run that ends at `now`.
pub fn fill(store: &Store, seed: u64, rows: usize, now: Timestamp) -> Result<()> {
    store.create()?;
    let begin = now - SignedDuration::from_hours(HOURS);
    let waiting_begin = now - SignedDuration::from_mins(25);
    let past = results(seed, rows, begin, waiting_begin);
    increment::publish(store, &stem(begin, 0), &[record::to_batch(&past)?])?;
    consolidate::run(store, &consolidate::Options::default(), now, &Control::default())?;

    let total = WAITING as usize * ROWS;
    let recent = results(seed.wrapping_add(1), total, waiting_begin, now - SignedDuration::from_secs(2));
    for (at, chunk) in (0..).zip(recent.chunks(ROWS)) {
        increment::publish(store, &stem(waiting_begin, at + 1), &[record::to_batch(chunk)?])?;
    }
    Ok(())
}

/// `rows` results evenly spread over a span, of eight writers in turn.
pub(super) fn results(seed: u64, rows: usize, begin: Timestamp, end: Timestamp) -> Vec<Record> {
    let mut writers: Vec<_> = (0..WRITERS).map(|index| Simulation::new(seed, index)).collect();
    let span = end.as_microsecond() - begin.as_microsecond();
    let count = writers.len();
    (0..rows)
        .filter_map(|row| {
            let at = begin.as_microsecond() + (span as f64 * (row as f64 / rows as f64)) as i64;
            let at = Timestamp::from_microsecond(at).unwrap_or(begin);
            let index = row % count;
            let (mut record, _) = writers.get_mut(index)?.next(at);
            record.process_id = Some(process_id(begin, index as u64));
            Some(record)
        })
        .collect()
}
