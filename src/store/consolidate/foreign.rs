//! A main that other code wrote: nobody resolved repeated tests in it. Two passes of
//! bounded memory find them: 64 bits a row first, then only the keys that came twice.

use std::collections::{HashMap, HashSet};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use jiff::tz::TimeZone;

use super::choice::Rank;
use super::merge::{Keys, records};
use crate::store::Control;
use crate::store::digest::short;
use crate::store::error::Result;
use crate::store::filter::Filter;
use crate::store::kind::{Shape, shape};
use crate::store::parquet_file::ParquetFile;
use crate::store::schema::DIMENSIONS;
use crate::store::search::Search;

/// Rows that another row of the same file replaces.
#[derive(Debug, Default)]
pub(in crate::store) struct Losers {
    /// Their positions.
    pub(in crate::store) rows: HashSet<u64>,
    /// Those that are older attempts.
    pub(in crate::store) superseded: u64,
    /// Those that are identical to another one.
    pub(in crate::store) repeated: u64,
}

#[derive(Debug)]
struct Best {
    rank: Rank,
    at: u64,
    /// Hashes of all distinct attempts.
    hashes: HashSet<u64>,
}

/// Finds them among the rows whose cells match: a test's attempts are all in one cell.
/// Where summary rows lie between the records, all rows are read.
pub(in crate::store) fn losers(
    main: &ParquetFile,
    filter: &Filter,
    schema: &SchemaRef,
    zone: &TimeZone,
    control: &Control,
) -> Result<Losers> {
    let mut losers = Losers::default();
    let search = Search::new(main, &filter.of_cells());
    let plain = shape(main.schema()) == Shape::Records;
    let twice = if plain {
        more_than_once(search.keys(schema, zone, control, |_, key| Some(short(key)))?)
    } else {
        twice(main, schema, zone, control)?
    };
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
            losers.compare(&batch, rows, &twice, &mut best)?;
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
            &twice,
            &mut best,
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
        twice: &HashSet<u64>,
        best: &mut HashMap<u128, Best>,
    ) -> Result<()> {
        let mut keys = Keys::of(batch)?;
        for (row, at) in (0..batch.num_rows()).zip(positions) {
            let Some(key) = keys.key(row).filter(|key| twice.contains(&short(*key))) else {
                continue;
            };
            let rank = keys.rank(batch, row)?;
            let Some(best) = best.get_mut(&key) else {
                best.insert(
                    key,
                    Best {
                        rank,
                        at,
                        hashes: HashSet::from([rank.1]),
                    },
                );
                continue;
            };
            if best.hashes.insert(rank.1) {
                self.superseded += 1;
            } else {
                self.repeated += 1;
            }
            let loser = if rank > best.rank {
                best.rank = rank;
                std::mem::replace(&mut best.at, at)
            } else {
                at
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
    let columns = [DIMENSIONS.as_slice(), &["test_id", "success"]].concat();
    let mut seen = Vec::new();
    for batch in main.batches(Some(&columns), 0)? {
        control.check()?;
        let batch = records(&batch?, schema, zone)?;
        let keys = Keys::of(&batch)?;
        seen.extend(
            (0..batch.num_rows())
                .filter_map(|row| keys.key(row))
                .map(short),
        );
    }
    Ok(more_than_once(seen))
}

/// Those that are there several times.
pub(in crate::store) fn more_than_once(mut seen: Vec<u64>) -> HashSet<u64> {
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
