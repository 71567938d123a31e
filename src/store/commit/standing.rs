//! What the records of a store say of its main: the one place where readers and commits learn
//! whether it is the main of the last commit, an older one, or one that other code wrote.

use super::{log, removed};
use crate::store::Store;
use crate::store::error::Result;
use crate::store::format::commit_record::{CommitRecord, FORMAT, RemovedSet};
use crate::store::parquet::ParquetFile;

/// How main stands to what was committed here.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    /// Main's own record, or the one that it inherits; `None` before the first commit.
    pub(crate) record: Option<CommitRecord>,
    /// Other code wrote main, or nobody has compared its rows with what was removed since.
    pub(crate) foreign: bool,
    /// It was copied here from another store; `record` is this store's.
    pub(crate) of_other: bool,
    /// The set of rows that were removed on purpose.
    pub(crate) in_force: Option<RemovedSet>,
    /// The last commit that is known to have happened.
    pub(crate) newest: Option<CommitRecord>,
    /// That commit did not make this main, which may lack what it had: its id.
    pub(crate) behind: Option<String>,
}

impl Standing {
    /// Of main, or of a store without one.
    pub(crate) fn of(store: &Store, main: Option<&ParquetFile>) -> Result<Self> {
        let own = main.map(CommitRecord::of).transpose()?.flatten();
        let copy = log::list(store)?.into_iter().next();
        let made = |own: &CommitRecord| copy.is_none_or(|copy| copy.commit_id == own.commit_id);
        let done = if own.as_ref().is_some_and(made) {
            None
        } else {
            log::newest_done(store)?
        };
        let of_other = matches!((&own, &done), (Some(own), Some(done)) if is_of_other(own, done));
        // To this store it is a main that other code wrote.
        let here = own.filter(|_| !of_other);
        let speaks = match (&here, of_other) {
            (Some(_), _) => None,
            (None, true) => done.clone(),
            (None, false) => log::speaks(store)?,
        };
        let in_force = removed::in_force(here.as_ref(), done.as_ref(), speaks.as_ref()).cloned();
        // An older main has rows that nobody has compared with what was removed since.
        let compared = here.as_ref().is_some_and(|own| own.removed == in_force);
        let foreign = main.is_some_and(|main| !main.is_ours() || !compared);
        let newest = done.into_iter().chain(here.clone());
        let newest = newest.max_by_key(|record| record.generation);
        let is_its = |newest: &&CommitRecord| {
            let own = here.as_ref().filter(|_| !foreign);
            own.is_some_and(|own| own.commit_id == newest.commit_id)
        };
        // Keys of format 1 had no session: none of them would be found.
        let behind = newest.as_ref().filter(|newest| newest.identifies());
        let behind = behind.filter(|newest| !is_its(newest));
        Ok(Self {
            behind: behind.map(|newest| newest.commit_id.clone()),
            record: here.or(speaks),
            foreign,
            of_other,
            in_force,
            newest,
        })
    }
}

/// Whether main was copied here from another store than that of the last commit.
fn is_of_other(main: &CommitRecord, done: &CommitRecord) -> bool {
    main.store != done.store && main.format >= FORMAT && done.format >= FORMAT
}
