//! Lineage: main has the tests of the commits that its record names, as far as their folders are
//! there.

use std::collections::HashSet;

use super::{Level, Report, incremental};
use crate::config::show_counted;
use crate::store::aggregate::key_index::each_key;
use crate::store::aggregate::short;
use crate::store::disk::Entry;
use crate::store::format::layout::{IncrementalName, classify};
use crate::store::parquet::ParquetFile;
use crate::store::read::folders::{self, entries_of, is_as_read};
use crate::store::read::footer_cache::{Opened, open};
use crate::store::read::main::namer;
use crate::store::read::snapshot::{Files, Snapshot};
use crate::store::{Control, Error, Result, Store};

pub(crate) fn check(
    store: &Store,
    files: &Files,
    snapshot: &Snapshot,
    report: &mut Report,
    control: &Control,
) -> Result<()> {
    // Rows that were removed on purpose are not in main either, and which ones is unknown.
    if snapshot.removed_unread.is_some() {
        return Ok(());
    }
    let own = files.main.as_ref();
    let Some((main, commit)) = own.and_then(|main| Some((main, main.commit.as_deref()?))) else {
        return Ok(());
    };
    let known = commit.consumed_by_name();
    let namer = namer(store, Some(commit), None);
    // Journals came into main by way of increments, and what other code has changed since counts.
    let is_in_main = |entry: &Entry| match classify(&entry.name) {
        IncrementalName::Increment => true,
        IncrementalName::LegacyIncrement => {
            is_as_read(&entries_of(&known, &entry.name), &entry.stat)
        }
        _ => false,
    };
    let mut there: Option<HashSet<u64>> = None;
    let folders = folders::list(store)?.into_iter();
    for folder in folders.filter(|folder| commit.has_merged(&folder.commit_id)) {
        let entries = folders::files(store, &folder.name)?;
        for entry in entries.iter().filter(|entry| is_in_main(entry)) {
            let file = match open(store, &entry.name, &entry.stat, &namer) {
                Ok(Opened::File(file)) => file,
                // Gone or changed since it was listed; or main has its rows, and it is damaged.
                Ok(Opened::Footer(_)) | Err(_) => continue,
            };
            report.files += 1;
            let there = match &mut there {
                Some(there) => there,
                none => match shorts(&main.file, files, control) {
                    // Said before.
                    Err(Error::Unreadable { .. }) => return Ok(()),
                    there => none.insert(there?.collect()),
                },
            };
            let Ok(found) = shorts(&file, files, control) else {
                control.check()?;
                continue;
            };
            let lacks = |short: &u64| !there.contains(short) && !files.removed.has(*short);
            let missing = found.filter(lacks).count() as u64;
            if missing > 0 {
                let (rows, are) = (
                    show_counted(missing, "row"),
                    if missing == 1 { "is" } else { "are" },
                );
                report.add(
                    Level::Critical,
                    incremental(&entry.name),
                    format!(
                        "{rows} of it {are} not in main, whose commit record says that main contains them: restore a \
                         newer backup, or consolidate again if other code wrote main"
                    ),
                );
            }
        }
    }
    Ok(())
}

/// 64 bits of the key of each record.
fn shorts(
    file: &ParquetFile,
    files: &Files,
    control: &Control,
) -> Result<impl Iterator<Item = u64>, Error> {
    let groups: Vec<usize> = (0..file.metadata().num_row_groups()).collect();
    let mut found = Vec::new();
    each_key(file, &files.zone, &groups, control, |_, _, key| {
        found.push(short(key));
    })?;
    Ok(found.into_iter())
}
