//! What main and the increments that never change come to: most of what there is. From look
//! to look only what is new is added to it.

use std::collections::HashSet;

use super::{MainRows, Source, add_all};
use crate::stats::Cells;
use crate::stats::clusters::Clusters;
use crate::stats::history::History;
use crate::store::aggregate::{Activity, Digest};
use crate::store::disk::Stat;
use crate::store::read::footer_cache::alike;
use crate::store::read::pool::Pools;

/// The sum of main and of increments of ours.
#[derive(Debug, Default)]
pub(crate) struct Settled {
    main: Option<Stat>,
    /// The numbers of the increments that are in it.
    sources: HashSet<u32>,
    /// Of the digests of many files when they were last looked through.
    version: u64,
    pub(crate) cells: Cells,
    pub(crate) clusters: Clusters,
    pub(crate) activity: Activity,
    /// The tests of all models over time.
    pub(crate) history: History,
}

impl Settled {
    fn of(main: Option<Stat>, rows: Option<&MainRows>) -> Self {
        let mut settled = Self {
            main,
            ..Self::default()
        };
        if let Some(rows) = rows {
            settled.cells.clone_from(&rows.cells);
            settled.clusters.clone_from(&rows.digest.clusters);
            settled.activity.clone_from(&rows.digest.activity);
            settled.activity.settle();
            add_all(&mut settled.history, &settled.activity);
        }
        settled
    }

    fn add(&mut self, digest: &Digest) {
        digest.add_settled(&mut self.cells);
        self.clusters.merge(&digest.clusters);
        self.activity.merge(&digest.activity);
        self.activity.settle();
        add_all(&mut self.history, &digest.activity);
    }

    /// Whether it can be added to: main is what it was, and no file in it is gone.
    pub(crate) fn stands(&self, main: Option<&Stat>, gone: &HashSet<u32>) -> bool {
        alike(self.main.as_ref(), main) && self.sources.is_disjoint(gone)
    }

    /// Whether a source is in it.
    pub(crate) fn has(&self, source: &Source) -> bool {
        self.sources.contains(&source.id)
    }

    /// `known` with all that is new, or everything again where there is nothing to add to.
    pub(crate) fn with(
        known: Option<Self>,
        main: Option<Stat>,
        rows: Option<&MainRows>,
        pools: &Pools,
        sources: &[Source],
    ) -> Self {
        let mut settled = known.unwrap_or_else(|| Self::of(main, rows));
        if settled.version != pools.version || settled.sources.is_empty() {
            let inside =
                |of: &HashSet<u32>| of.iter().filter(|id| settled.sources.contains(*id)).count();
            // One of which some files are in it can neither be added nor left out.
            if pools
                .all()
                .any(|(of, _)| !of.is_empty() && (1..of.len()).contains(&inside(of)))
            {
                settled = Self::of(main, rows);
            }
            for (of, digest) in pools.all() {
                if !of.is_subset(&settled.sources) {
                    settled.add(digest);
                    settled.sources.extend(of);
                }
            }
            settled.version = pools.version;
        }
        for source in sources.iter().filter(|source| source.stays) {
            if let Some(digest) = source
                .digest
                .as_ref()
                .filter(|_| !settled.sources.contains(&source.id))
            {
                settled.sources.insert(source.id);
                settled.add(digest);
            }
        }
        settled
    }
}
