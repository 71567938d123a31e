//! Tests that the last commit had and that nothing here has any more. Other code rewrote main from
//! what it had read long before, or dropped them; or an older main was copied back. What lies in
//! folders or is pending brings its rows back; of the others a commit must not make an end in silence.

use crate::store::aggregate::key_index::{TestKeys, each_key, keys_in};
use crate::store::aggregate::short;
use crate::store::commit::base::Base;
use crate::store::error::Result;
use crate::store::parquet::ParquetFile;
use crate::store::read::snapshot::{Files, Increment};
use crate::store::{Control, Store};

/// How many tests of the last commit are gone, as far as the index of its keys is there.
pub(crate) fn missing(store: &Store, base: &Base, files: &Files, control: &Control) -> Result<u64> {
    let (Some(main), Some(last)) = (&base.main, &base.behind) else {
        return Ok(0);
    };
    let Some(known) = TestKeys::shorts_of(store, last) else {
        return Ok(0);
    };
    let zone = base.zone(store);
    let mut found = vec![false; known.len()];
    let mut find = |short: u64| {
        if let Ok(at) = known.binary_search(&short)
            && let Some(found) = found.get_mut(at)
        {
            *found = true;
        }
    };
    let groups = |file: &ParquetFile| (0..file.metadata().num_row_groups()).collect::<Vec<usize>>();
    let own = keys_in(main, &zone, &groups(main), control, |_, _, key| {
        let short = short(key);
        known.binary_search(&short).is_ok().then_some(short)
    })?;
    own.into_iter().for_each(&mut find);
    for increment in &files.increments {
        // One that can't be read is left out by the commit, and named.
        let Ok(file) = increment.open(store) else {
            continue;
        };
        let read = each_key(&file, &zone, &groups(&file), control, |_, _, key| {
            find(short(key));
        });
        control.check()?;
        drop(read);
    }
    Ok(known
        .iter()
        .zip(&found)
        .filter(|(short, found)| !**found && !base.removed.has(**short))
        .count() as u64)
}

/// How many tests main and some files have together: 8 bytes each.
pub(crate) fn together(
    store: &Store,
    base: &Base,
    files: &[&Increment],
    control: &Control,
) -> Result<u64> {
    let zone = base.zone(store);
    let mut shorts = Vec::new();
    let mut take = |file: &ParquetFile| {
        let groups: Vec<usize> = (0..file.metadata().num_row_groups()).collect();
        each_key(file, &zone, &groups, control, |_, _, key| {
            shorts.push(short(key));
        })
    };
    if let Some(main) = &base.main {
        take(main)?;
    }
    for increment in files {
        take(&increment.open(store)?)?;
    }
    // What was removed on purpose lies in folders still, and the last commit did not count it.
    shorts.retain(|short| !base.removed.has(*short));
    shorts.sort_unstable();
    shorts.dedup();
    Ok(shorts.len() as u64)
}
