//! What the demo's store holds when it opens: six hours of results in main, and
//! increments that wait. The same seed makes the same results, dated back from now.

use std::f64::consts::TAU;

use jiff::{SignedDuration, Timestamp};

use super::simulation::Simulation;
use crate::store::commit::consolidate;
use crate::store::format::record;
use crate::store::write::increment::{Stems, publish};
use crate::store::{Control, RealDisk, Record, Result, Store};

/// How far back the results go.
const HOURS: i64 = 6;
/// The part of them that waits in increments.
const WAITING_MINUTES: i64 = 24;
/// Increments that wait when the dashboard opens, below the alert's threshold of 100.
const WAITING: usize = 92;
/// Writers of the past; each keeps its process id over all of it.
const WRITERS: usize = 8;

/// Fills an empty store with the past of a run that ends at `now`, at `per_minute`
/// results a minute.
pub fn fill(store: &Store, seed: u64, per_minute: f64, now: Timestamp) -> Result<()> {
    let folder = store.layout.incremental();
    store
        .disk
        .create_folder(&folder)
        .map_err(crate::store::Error::io("create", &folder))?;
    let begin = now - SignedDuration::from_hours(HOURS);
    let split = now - SignedDuration::from_mins(WAITING_MINUTES);
    let mut past = Past::new(seed, begin);
    past.publish(store, 1, begin, split, per_minute)?;
    consolidate::run(
        store,
        &consolidate::Options::default(),
        now,
        &Control::default(),
    )?;
    past.publish(
        store,
        WAITING,
        split,
        now - SignedDuration::from_secs(2),
        per_minute,
    )
}

/// Publishes `files` increments of results from the last minutes, as a machine does
/// that was cut off from the store for a while.
pub fn late_batch(store: &Store, seed: u64, files: usize, now: Timestamp) -> Result<()> {
    let begin = now - SignedDuration::from_mins(3);
    Past::new(seed.wrapping_add(2_000), begin).publish(store, files, begin, now, 60.0)
}

/// Writers that were there before the demo began.
struct Past {
    writers: Vec<(Stems, Simulation)>,
}

impl Past {
    fn new(seed: u64, begin: Timestamp) -> Self {
        let writers = (0..WRITERS)
            .map(|index| {
                let stems = Stems::new(&RealDisk, begin + SignedDuration::from_secs(index as i64));
                (stems, Simulation::new(seed, index as u64))
            })
            .collect();
        Self { writers }
    }

    /// `files` increments of the writers in turn, their results spread over a span.
    fn publish(
        &mut self,
        store: &Store,
        files: usize,
        begin: Timestamp,
        end: Timestamp,
        per_minute: f64,
    ) -> Result<()> {
        let span = end.duration_since(begin);
        let rows = ((span.as_secs_f64() / 60.0 * per_minute) as usize).max(files);
        for file in 0..files {
            let (from, to) = (rows * file / files, rows * (file + 1) / files);
            let at = |row: usize| begin + span.mul_f64(rhythm(row as f64 / rows as f64));
            let records: Vec<_> = (from..to)
                .filter_map(|row| self.record(file, row, at(row)))
                .collect();
            let Some((stems, _)) = self.writers.get_mut(file % WRITERS) else {
                continue;
            };
            let batch = record::to_batch(&records)?;
            publish(store, &stems.next_stem(), &batch.schema(), [Ok(batch)])?;
        }
        Ok(())
    }

    /// One result. A single file mixes all writers, many files have one writer each.
    fn record(&mut self, file: usize, row: usize, at: Timestamp) -> Option<Record> {
        let index = if file == 0 {
            row % WRITERS
        } else {
            file % WRITERS
        };
        let (stems, simulation) = self.writers.get_mut(index)?;
        let (mut record, _) = simulation.next(at);
        record.process_id = Some(stems.process_id().to_owned());
        Some(record)
    }
}

/// When a share of the results was there, as a share of the time: a run is faster at one
/// time and slower at another. Monotone from 0 to 1, and at its usual pace at both ends.
fn rhythm(share: f64) -> f64 {
    let wave = |times: f64, depth: f64| {
        let turns = TAU * times;
        depth * (1.0 - (turns * share).cos()) / turns
    };
    share + wave(2.0, 0.2) + wave(5.0, 0.2) + wave(13.0, 0.15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rhythm_goes_from_start_to_end_and_never_back() {
        assert!(rhythm(0.0).abs() < 1e-12 && (rhythm(1.0) - 1.0).abs() < 1e-12);
        let times: Vec<f64> = (0..=1000).map(|n| rhythm(f64::from(n) / 1000.0)).collect();
        assert!(times.is_sorted());
        let paces: Vec<f64> = times
            .windows(2)
            .map(|pair| (pair[1] - pair[0]) * 1000.0)
            .collect();
        assert!(paces.iter().any(|pace| *pace > 1.3) && paces.iter().any(|pace| *pace < 0.7));
    }
}
