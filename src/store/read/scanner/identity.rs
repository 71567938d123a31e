//! What a scan has to say of rows that bring no id.

use std::collections::HashMap;

use super::{Scanner, View};
use crate::store::error::Result;
use crate::store::format::layout::{bare_name, folder_of};
use crate::store::read::identity_facts::{IdentityFacts, Rewritten, changed_column};
use crate::store::read::listing::Increment;
use crate::store::read::main::Main;
use crate::store::resolve::Novelty;
use crate::store::{Control, Store};

impl Scanner {
    pub(super) fn identity(
        &mut self,
        store: &Store,
        view: &View,
        control: &Control,
    ) -> Result<IdentityFacts> {
        let unnamed = view
            .files
            .increments
            .iter()
            .filter(|file| file.ids.is_some());
        let unnamed: HashMap<&str, &Increment> =
            unnamed.map(|file| (file.name.as_str(), file)).collect();
        let mut facts = IdentityFacts::default();
        let pools = self.waiting.pools.digests().map(|digest| digest.bare);
        let sources = view.sources.iter();
        let own = sources.filter_map(|source| Some((&source.name, source.digest.as_ref()?.bare)));
        let own: Vec<(&String, u64)> = own.filter(|(_, bare)| *bare > 0).collect();
        // In main they have ids from the next commit on.
        facts.bare = pools.sum::<u64>() + own.iter().map(|(_, bare)| bare).sum::<u64>();
        facts.bare_in = own.first().map(|(name, _)| (*name).clone());
        for ((one, other), rows) in &view.resolved.identical {
            let pair = (view.sources.get(*one), view.sources.get(*other));
            let (Some(one), Some(other)) = pair else {
                continue;
            };
            // A commit took it in before, so this is not news.
            let is_new =
                |name: &str, novelty| unnamed.contains_key(name) && novelty != Novelty::TakenIn;
            if is_new(&one.name, one.novelty) && is_new(&other.name, other.novelty) {
                facts
                    .identical
                    .push((one.name.clone(), other.name.clone(), *rows));
            }
        }
        let known = std::mem::take(&mut self.changed);
        let Some(main) = &view.files.main else {
            return Ok(facts);
        };
        for source in &view.sources {
            let file = unnamed.get(source.name.as_str());
            let Some(file) = file.filter(|_| source.novelty == Novelty::TakenIn) else {
                continue;
            };
            let consumed = main
                .record()
                .map_or(&[][..], |record| &record.consumed)
                .iter();
            let before = consumed.filter(|entry| bare_name(&entry.name) == bare_name(&file.name));
            let before = before.map(|entry| entry.rows).max().unwrap_or_default();
            let again = source.losers.len() as u64;
            // A file with fewer rows was started over.
            if folder_of(&file.name).is_some() || again >= before || source.records < before {
                continue;
            }
            let version = (file.name.clone(), file.stat.bytes, file.stat.modified_ns);
            let column = match known.get(&version) {
                Some(column) => column.clone(),
                None => column_of(store, view, main, file, &source.losers, control)?,
            };
            facts
                .rewritten
                .extend(column.clone().map(|column| Rewritten {
                    file: file.name.clone(),
                    column,
                    rows: before - again,
                }));
            self.changed.insert(version, column);
        }
        Ok(facts)
    }
}

/// Nothing where the file is being written again.
fn column_of(
    store: &Store,
    view: &View,
    main: &Main,
    file: &Increment,
    losers: &[u64],
    control: &Control,
) -> Result<Option<String>> {
    let Ok(opened) = file.open(store) else {
        return Ok(None);
    };
    changed_column(&main.file, &opened, losers, &view.files.zone, control)
}
