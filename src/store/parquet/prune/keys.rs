//! The keys of the records that were found, read on all cores.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use arrow::datatypes::SchemaRef;
use jiff::tz::TimeZone;

use super::{Piece, Search, readers};
use crate::store::Control;
use crate::store::aggregate::Columns;
use crate::store::error::Result;
use crate::store::format::schema::{adapt, project};
use crate::store::resolve::KEY_COLUMNS;
use crate::store::threads;

impl Search {
    /// What `pick` makes of position and key of each record that has one, in the file's
    /// order. All rows must be records.
    pub(crate) fn keys<T: Send>(
        &self,
        schema: &SchemaRef,
        zone: &TimeZone,
        control: &Control,
        pick: impl Fn(u64, u128) -> Option<T> + Sync,
    ) -> Result<Vec<T>> {
        let names = KEY_COLUMNS;
        let target = project(schema, &names);
        let of = |piece: &Piece| -> Result<Vec<T>> {
            let mut picked = Vec::new();
            let Some(found) = self.find(piece, 0, &[])? else {
                return Ok(picked);
            };
            let mut positions = found.positions();
            for batch in self.read(Some(&names), &found)? {
                control.check()?;
                let batch = adapt(&batch?, &target, zone)?;
                let columns = Columns::new(&batch)?;
                let rows = positions.by_ref().take(batch.num_rows()).enumerate();
                picked.extend(rows.filter_map(|(row, at)| pick(at, columns.key(row)?)));
            }
            Ok(picked)
        };
        let pieces = self.pieces();
        let (next, done) = (
            AtomicUsize::new(0),
            Mutex::new(Vec::with_capacity(pieces.len())),
        );
        let work = || {
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some(piece) = pieces.get(at) else {
                    return Ok(());
                };
                let picked = of(piece)?;
                let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                done.push((at, picked));
                control.progress(
                    "looking for repeated tests",
                    done.len() as u64,
                    pieces.len() as u64,
                );
            }
        };
        let ended = threads::together(readers(pieces.len()), work);
        ended.into_iter().collect::<Result<()>>()?;
        let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        done.sort_unstable_by_key(|(at, _)| *at);
        Ok(done.into_iter().flat_map(|(_, picked)| picked).collect())
    }
}
