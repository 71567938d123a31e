//! A main that other code wrote: nobody resolved repeated tests in it. Two passes of
//! bounded memory find them: 64 bits a row first, then only the keys that came twice.

use std::collections::{HashMap, HashSet};

use arrow::datatypes::SchemaRef;
use jiff::tz::TimeZone;

use super::choice::Rank;
use super::merge::{Keys, records};
use crate::store::Control;
use crate::store::digest::short;
use crate::store::error::Result;
use crate::store::parquet_file::ParquetFile;
use crate::store::schema::DIMENSIONS;

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

/// Finds them.
pub(in crate::store) fn losers(
    main: &ParquetFile,
    schema: &SchemaRef,
    zone: &TimeZone,
    control: &Control,
) -> Result<Losers> {
    let mut losers = Losers::default();
    let twice = twice(main, schema, zone, control)?;
    if twice.is_empty() {
        return Ok(losers);
    }
    let mut best: HashMap<u128, Best> = HashMap::new();
    let mut position = 0;
    for batch in main.batches(None, 0)? {
        control.check()?;
        let batch = records(&batch?, schema, zone)?;
        let mut keys = Keys::of(&batch)?;
        for row in 0..batch.num_rows() {
            let at = position + row as u64;
            let Some(key) = keys.key(row).filter(|key| twice.contains(&short(*key))) else { continue };
            let rank = keys.rank(&batch, row)?;
            let Some(best) = best.get_mut(&key) else {
                best.insert(key, Best { rank, at, hashes: HashSet::from([rank.1]) });
                continue;
            };
            if best.hashes.insert(rank.1) {
                losers.superseded += 1;
            } else {
                losers.repeated += 1;
            }
            let loser = if rank > best.rank {
                best.rank = rank;
                std::mem::replace(&mut best.at, at)
            } else {
                at
            };
            losers.rows.insert(loser);
        }
        position += batch.num_rows() as u64;
    }
    Ok(losers)
}

/// 64 bits of the keys that may come twice.
fn twice(main: &ParquetFile, schema: &SchemaRef, zone: &TimeZone, control: &Control) -> Result<HashSet<u64>> {
    let columns = [DIMENSIONS.as_slice(), &["test_id", "success"]].concat();
    let mut seen = Vec::new();
    for batch in main.batches(Some(&columns), 0)? {
        control.check()?;
        let batch = records(&batch?, schema, zone)?;
        let keys = Keys::of(&batch)?;
        seen.extend((0..batch.num_rows()).filter_map(|row| keys.key(row)).map(short));
    }
    seen.sort_unstable();
    let pairs = seen.windows(2);
    Ok(pairs.filter_map(|pair| pair.first().filter(|first| Some(*first) == pair.get(1)).copied()).collect())
}
