//! A main that other code wrote: nobody resolved repeated tests in it. Two passes of
//! bounded memory find them: 64 bits a row first, then only the keys that came twice.

use std::collections::{HashMap, HashSet};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use jiff::tz::TimeZone;

use super::merge::{Keys, records};
use crate::store::Control;
use crate::store::aggregate::short;
use crate::store::error::Result;
use crate::store::format::row_kind::{self, Shape, shape};
use crate::store::parquet::ParquetFile;
use crate::store::parquet::filter::Filter;
use crate::store::parquet::prune::Search;
use crate::store::resolve::{Attempts, KEY_COLUMNS, Removed, Verdict};

/// Rows that another row of the same file replaces, or that were removed on purpose.
#[derive(Debug, Default)]
pub(crate) struct Losers {
    /// Their positions.
    pub(crate) rows: HashSet<u64>,
    /// Those that are older attempts.
    pub(crate) superseded: u64,
    /// Those that are identical to another one.
    pub(crate) repeated: u64,
    /// Those that were removed on purpose.
    pub(crate) removed: u64,
}

/// Finds them among the rows whose cells match: a test's attempts are all in one cell.
/// Where summary rows lie between the records, all rows are read.
pub(crate) fn losers(
    main: &ParquetFile,
    filter: &Filter,
    schema: &SchemaRef,
    zone: &TimeZone,
    removed: &Removed,
    control: &Control,
) -> Result<Losers> {
    let mut losers = Losers::default();
    let search = Search::new(main, &filter.of_cells());
    let plain = shape(main.schema()) == Shape::Records;
    let mut twice = if plain {
        more_than_once(search.keys(schema, zone, control, |_, key| Some(short(key)))?)
    } else {
        twice(main, schema, zone, control)?
    };
    twice.extend(removed.shorts());
    if twice.is_empty() {
        return Ok(losers);
    }
    let mut best = HashMap::new();
    let mut position = 0;
    if !plain {
        for batch in main.batches(None, 0)? {
            control.check()?;
            let batch = records(&batch?, schema, zone)?;
            let rows = position..;
            position += batch.num_rows() as u64;
            losers.compare(&batch, rows, (&twice, removed), &mut best, zone)?;
        }
        return Ok(losers);
    }
    let found = search.keys(schema, zone, control, |at, key| {
        twice.contains(&short(key)).then_some(at)
    })?;
    let mut positions = found.iter().copied();
    for batch in main.rows_at(None, &found)? {
        control.check()?;
        losers.compare(
            &records(&batch?, schema, zone)?,
            &mut positions,
            (&twice, removed),
            &mut best,
            zone,
        )?;
    }
    Ok(losers)
}

impl Losers {
    /// Takes in the records of a batch at these positions.
    fn compare(
        &mut self,
        batch: &RecordBatch,
        positions: impl Iterator<Item = u64>,
        (twice, removed): (&HashSet<u64>, &Removed),
        best: &mut HashMap<u128, (Attempts, u64)>,
        zone: &TimeZone,
    ) -> Result<()> {
        let mut keys = Keys::of(batch, zone)?;
        for (row, at) in (0..batch.num_rows()).zip(positions) {
            let Some(key) = keys.key(row).filter(|key| twice.contains(&short(*key))) else {
                continue;
            };
            let rank = keys.rank(batch, row)?;
            if removed.removes(key, &rank) {
                self.removed += 1;
                self.rows.insert(at);
                continue;
            }
            let Some((attempts, best)) = best.get_mut(&key) else {
                best.insert(key, (Attempts::new(rank), at));
                continue;
            };
            let verdict = attempts.weigh(rank);
            if verdict.supersedes() {
                self.superseded += 1;
            } else {
                self.repeated += 1;
            }
            let loser = match verdict {
                Verdict::Newest => std::mem::replace(best, at),
                _ => at,
            };
            self.rows.insert(loser);
        }
        Ok(())
    }
}

/// 64 bits of the keys that may come twice.
fn twice(
    main: &ParquetFile,
    schema: &SchemaRef,
    zone: &TimeZone,
    control: &Control,
) -> Result<HashSet<u64>> {
    let columns = [&KEY_COLUMNS[..], &row_kind::NAMES].concat();
    let mut seen = Vec::new();
    for batch in main.batches(Some(&columns), 0)? {
        control.check()?;
        let batch = records(&batch?, schema, zone)?;
        let keys = Keys::of(&batch, zone)?;
        seen.extend(
            (0..batch.num_rows())
                .filter_map(|row| keys.key(row))
                .map(short),
        );
    }
    Ok(more_than_once(seen))
}

/// Those that are there several times.
pub(crate) fn more_than_once(mut seen: Vec<u64>) -> HashSet<u64> {
    seen.sort_unstable();
    let pairs = seen.windows(2);
    pairs
        .filter_map(|pair| {
            pair.first()
                .filter(|first| Some(*first) == pair.get(1))
                .copied()
        })
        .collect()
}
