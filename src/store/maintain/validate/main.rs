//! Main: every page, its commit record, duplicates.

use std::collections::HashSet;

use super::{Level, Report};
use crate::config::show_counted;
use crate::stats::Cells;
use crate::store::aggregate::key_index::{TestKeys, each_key};
use crate::store::aggregate::tallies;
use crate::store::aggregate::{Columns, Digest, Keep, Reading, short};
use crate::store::disk;
use crate::store::format::commit_record::{CommitRecord, Consumed};
use crate::store::format::layout::{IncrementalName, MAIN, classify, test_keys_name};
use crate::store::format::row_kind;
use crate::store::format::schema::{Union, adapt, project};
use crate::store::parquet::ParquetFile;
use crate::store::read::snapshot::{Files, Main, MainKind, Snapshot};
use crate::store::resolve::KEY_COLUMNS;
use crate::store::{Control, Error, Result, Store};

pub(crate) fn check(
    store: &Store,
    files: &Files,
    snapshot: &Snapshot,
    report: &mut Report,
    control: &Control,
) -> Result<()> {
    for sentence in &snapshot.notes {
        report.add(Level::Note, MAIN, sentence.clone());
    }
    for file in &files.summaries {
        read_all(file, report, control)?;
    }
    if snapshot.main.of_other {
        report.add(
            Level::Critical,
            MAIN,
            "it is the main of another store: bring this store's own back (evaltop restore), and take the other \
             one's rows in with evaltop merge",
        );
    } else if let Some(expected) = snapshot.main.expected_rows {
        let rows = files.main.as_ref().map(|main| main.file.rows());
        let what = rows.map_or_else(
            || "it is missing".to_owned(),
            |rows| format!("it has {rows} rows"),
        );
        report.add(
            Level::Critical,
            MAIN,
            format!(
                "{what}, and the last commit had left {expected}: bring back a backup (evaltop restore), or accept \
                 it (evaltop consolidate --accept-main)"
            ),
        );
    } else if snapshot.main.lacking_tests > 0 {
        report.add(
            Level::Critical,
            MAIN,
            format!(
                "it lacks {} that the last commit had: bring back a backup (evaltop restore), or accept it \
                 (evaltop consolidate --accept-main)",
                show_counted(snapshot.main.lacking_tests, "test")
            ),
        );
    }
    let Some(main) = &files.main else {
        return Ok(());
    };
    read_all(&main.file, report, control)?;
    match &main.commit {
        Some(commit) => {
            let rows = main.file.rows();
            if commit.rows != rows && snapshot.main.expected_rows.is_none() {
                report.add(
                    Level::Critical,
                    MAIN,
                    format!(
                        "its commit record says {} rows and it has {rows}: bring back a backup (evaltop restore)",
                        commit.rows
                    ),
                );
            }
            consumed(store, commit, report);
            counted(files, main, commit, report, control)?;
            indexed(store, files, main, commit, report, control)?;
            let twice = duplicates(files, &main.file, control)?;
            if twice > 0 {
                report.add(
                    Level::Warning,
                    MAIN,
                    format!(
                        "{twice} tests are in it more than once, and each counts: another program added them"
                    ),
                );
            }
        }
        None => foreign(main, snapshot, report),
    }
    if snapshot.main.kind == MainKind::Mixed {
        report.add(
            Level::Note,
            MAIN,
            "it mixes records with summary rows; the next consolidate takes them apart",
        );
    }
    Ok(())
}

/// A main that another program wrote.
fn foreign(main: &Main, snapshot: &Snapshot, report: &mut Report) {
    match &main.inherited {
        None if snapshot.main.kind != MainKind::Records => {}
        _ => {
            report.add(
                Level::Note,
                MAIN,
                "another program wrote it last; the next consolidate takes it over",
            );
        }
    }
}

/// Decodes every page of a file.
fn read_all(file: &ParquetFile, report: &mut Report, control: &Control) -> Result<()> {
    let name = file
        .path()
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    report.files += 1;
    let mut rows = 0;
    for batch in file.batches(None, 0)? {
        control.check()?;
        match batch {
            Ok(batch) => rows += batch.num_rows() as u64,
            Err(error @ Error::Unreadable { .. }) => {
                report.add(Level::Critical, name, error.to_string());
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        control.progress("checking main", rows, file.rows());
    }
    report.rows += rows;
    if rows != file.rows() {
        let message = format!(
            "its footer says {} rows and its pages hold {rows}",
            file.rows()
        );
        report.add(Level::Critical, name, message);
    }
    Ok(())
}

/// Files that the commit record says main contains and that changed since.
fn consumed(store: &Store, commit: &CommitRecord, report: &mut Report) {
    let ours = |entry: &&Consumed| classify(&entry.name) != IncrementalName::LegacyIncrement;
    for entry in commit.consumed.iter().filter(ours) {
        let path = store.layout.incremental().join(&entry.name);
        let Ok(stat) = store.disk.stat(&path) else {
            continue;
        };
        let hash = disk::hash(&*store.disk, &path).unwrap_or_default();
        if stat.bytes != entry.bytes || hash != entry.xxh3 {
            report.add(
                Level::Warning,
                super::incremental(&entry.name),
                "it changed after main took it in, so it counts again; records with a test_id count once",
            );
        }
    }
}

/// Compares what the footer says of the rows with the rows.
fn counted(
    files: &Files,
    main: &Main,
    commit: &CommitRecord,
    report: &mut Report,
    control: &Control,
) -> Result<()> {
    let Some(reported) = tallies::of(&main.file, commit) else {
        return Ok(());
    };
    let reading = Reading::of(MAIN, main.file.schema(), &files.zone, commit.created)?;
    let names = [&Columns::NAMES[..], &row_kind::NAMES].concat();
    let reading = Reading {
        keep: Keep::Hashes,
        target: project(&reading.target, &names),
        ..reading
    };
    let mut found = Digest::default();
    for batch in main.file.batches(Some(&names), 0)? {
        control.check()?;
        match batch {
            Ok(batch) => found.push(&batch, &reading)?,
            // Said before.
            Err(_) => return Ok(()),
        }
        found.hashes.clear();
    }
    let cells = |digest: &Digest| {
        let mut cells = Cells::default();
        digest.add_settled(&mut cells);
        cells
    };
    if cells(&reported) != cells(&found) {
        report.add(
            Level::Critical,
            MAIN,
            "the tallies in its footer are not those of its rows, so totals are wrong: bring back a backup, which \
             counts the rows again (evaltop restore)",
        );
    }
    Ok(())
}

/// Compares the index of test keys with the keys.
fn indexed(
    store: &Store,
    files: &Files,
    main: &Main,
    commit: &CommitRecord,
    report: &mut Report,
    control: &Control,
) -> Result<()> {
    let name = test_keys_name(&commit.commit_id);
    if store.disk.stat(&store.layout.root().join(&name)).is_err() {
        return Ok(());
    }
    report.files += 1;
    let index = TestKeys::of(store, &main.file, commit);
    let entries = index.and_then(|index| index.entries().ok());
    let Some(entries) = entries else {
        let message = "it is damaged, so main's keys are read instead: remove this file, and the next consolidate makes it again";
        report.add(Level::Note, name, message);
        return Ok(());
    };
    let groups: Vec<usize> = (0..main.file.metadata().num_row_groups()).collect();
    let mut found = Vec::new();
    let read = each_key(
        &main.file,
        &files.zone,
        &groups,
        control,
        |group, _, key| {
            found.push((short(key), group as u16));
        },
    );
    match read {
        // Said before.
        Err(Error::Unreadable { .. }) => return Ok(()),
        other => other?,
    }
    found.sort_unstable();
    if found != entries {
        report.add(
            Level::Critical,
            name,
            "it does not hold main's test keys, so second attempts would count twice: remove this file, and the next \
             consolidate rebuilds it",
        );
    }
    Ok(())
}

/// Tests that a file has more than once.
fn duplicates(files: &Files, file: &ParquetFile, control: &Control) -> Result<u64> {
    let mut union = Union::new();
    union.add(MAIN, file.schema())?;
    let names = KEY_COLUMNS;
    let target = project(&union.finish(), &names);
    let mut keys = Vec::new();
    for batch in file.batches(Some(&names), 0)? {
        control.check()?;
        let batch = match batch {
            Ok(batch) => adapt(&batch, &target, &files.zone)?,
            // Said before.
            Err(Error::Unreadable { .. }) => return Ok(0),
            Err(error) => return Err(error),
        };
        let columns = Columns::new(&batch)?;
        keys.extend(
            (0..batch.num_rows())
                .filter_map(|row| columns.key(row))
                .map(short),
        );
    }
    keys.sort_unstable();
    let twice: HashSet<u64> = keys
        .iter()
        .zip(keys.iter().skip(1))
        .filter(|(a, b)| a == b)
        .map(|(a, _)| *a)
        .collect();
    Ok(twice.len() as u64)
}
