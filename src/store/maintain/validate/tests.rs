use std::fs;

use super::*;
use crate::store::commit::consolidate;
use crate::store::format::commit_record::{CommitRecord, Summaries};
use crate::store::format::layout::journal_name;
use crate::store::parquet::ParquetFile;
use crate::store::testing::fixture::{Fixture, LEGACY, STEM, batch, record, records};

fn checked(fixture: &Fixture) -> Report {
    check(&fixture.store, fixture.now, &Control::default()).unwrap()
}

/// Level and file of each finding.
fn found(report: &Report) -> Vec<(Level, &str)> {
    report
        .findings
        .iter()
        .map(|finding| (finding.level, finding.file.as_str()))
        .collect()
}

/// A store after a commit, with some hour passed.
fn committed() -> Fixture {
    let mut fixture = Fixture::new();
    fixture.increment(LEGACY, &batch(&records(0, 5)));
    consolidate::run(
        &fixture.store,
        &consolidate::Options::default(),
        fixture.now,
        &Control::default(),
    )
    .unwrap();
    fixture.now = fixture
        .now
        .checked_add(jiff::SignedDuration::from_hours(2))
        .unwrap();
    fixture
}

fn content(fixture: &Fixture) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![fixture.store.layout.root().to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
        {
            if entry.is_dir() {
                folders.push(entry);
            } else {
                found.push((entry.clone(), fs::read(entry).unwrap()));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn a_store_after_a_commit_is_well() {
    let fixture = committed();
    let report = checked(&fixture);
    let bad: Vec<_> = report
        .findings
        .iter()
        .filter(|finding| finding.level > Level::Note)
        .collect();
    assert!(bad.is_empty(), "{bad:?}");
    assert_eq!(report.rows, 5);
}

#[test]
fn main_has_the_rows_of_the_commits_that_it_names() {
    let fixture = committed();
    let ours = "increment_12_20260131_120000_host_0a1b_0.parquet";
    fixture.increment(ours, &batch(&records(5, 9)));
    let merge = |fixture: &Fixture| {
        let (options, control) = (consolidate::Options::default(), Control::default());
        consolidate::run(&fixture.store, &options, fixture.now, &control).unwrap();
    };
    merge(&fixture);
    let critical = |fixture: &Fixture| {
        let report = checked(fixture);
        let found = report.findings.into_iter();
        let found = found.filter(|finding| finding.file.contains(".consumed/"));
        found.map(|finding| finding.message).collect::<Vec<_>>()
    };
    assert_eq!(critical(&fixture), Vec::<String>::new());
    // A main that says it has these rows, and has others.
    let main = ParquetFile::open(&*fixture.store.disk, &fixture.store.layout.main()).unwrap();
    let record = CommitRecord::of(&main).unwrap().unwrap();
    let rows: Vec<_> = records(0, 7).into_iter().chain(records(20, 22)).collect();
    fixture.main_with(&batch(&rows), &record);
    let found = critical(&fixture);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].starts_with("2 rows of it are not in main"),
        "{found:?}"
    );
    // What was removed on purpose is not missing.
    let mut fixture = committed();
    fixture.increment(ours, &batch(&records(5, 9)));
    merge(&fixture);
    let filter = crate::store::read::query::Filter {
        condition: Some(Box::new("test_id = 't6'".parse().unwrap())),
        ..crate::store::read::query::Filter::default()
    };
    let control = Control::default();
    let plan = crate::store::maintain::remove::plan(&fixture.store, &filter, &control).unwrap();
    crate::store::maintain::remove::run(&fixture.store, &plan, fixture.now, &control).unwrap();
    fixture.now += jiff::SignedDuration::from_mins(1);
    assert_eq!(critical(&fixture), Vec::<String>::new());
}

#[test]
fn damage_is_found_and_nothing_is_changed() {
    let fixture = committed();
    let layout = &fixture.store.layout;
    let folder = layout.incremental();
    fs::write(
        folder.join("increment_8_20260131_120000.parquet"),
        b"PAR1 and no more",
    )
    .unwrap();
    drop(fixture.journal(STEM, &records(5, 7)));
    fs::write(folder.join("transaction_9.tmp"), b"x").unwrap();
    fs::write(folder.join(".increment_9.parquet.tmp"), b"x").unwrap();
    fs::write(layout.metadata(), b"{").unwrap();
    fs::create_dir_all(layout.backups()).unwrap();
    fs::write(
        layout
            .backups()
            .join("test_results_20260131_120000.parquet"),
        b"nothing",
    )
    .unwrap();
    let before = content(&fixture);
    let report = checked(&fixture);
    let seen = found(&report);
    for expected in [
        (
            Level::Warning,
            "incremental/increment_8_20260131_120000.parquet".to_owned(),
        ),
        (
            Level::Warning,
            format!("incremental/{}", journal_name(STEM)),
        ),
        (Level::Warning, "incremental/transaction_9.tmp".to_owned()),
        (
            Level::Note,
            "incremental/.increment_9.parquet.tmp".to_owned(),
        ),
        (Level::Note, "metadata.json".to_owned()),
        (
            Level::Warning,
            "backups/test_results_20260131_120000.parquet".to_owned(),
        ),
    ] {
        assert!(
            seen.contains(&(expected.0, &expected.1)),
            "{expected:?} not in {seen:?}"
        );
    }
    assert!(seen.is_sorted_by_key(|(level, _)| std::cmp::Reverse(*level)));
    assert_eq!(content(&fixture), before);
}

#[test]
fn repairs_lose_no_row_and_say_what_they_did() {
    let mut fixture = committed();
    let layout = fixture.store.layout.clone();
    let bad = "increment_8_20260131_120000.parquet";
    fs::write(layout.incremental().join(bad), b"PAR1 and no more").unwrap();
    drop(fixture.journal(STEM, &records(5, 7)));
    fs::remove_file(layout.model_stats()).unwrap();
    let pending = layout.incremental().join("transaction_9.tmp");
    fixture.increment("increment_9.parquet", &batch(&records(7, 9)));
    fs::rename(layout.incremental().join("increment_9.parquet"), &pending).unwrap();
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(3_600);
    fs::File::open(&pending).unwrap().set_modified(old).unwrap();
    let report = checked(&fixture);
    let done = repair(
        &fixture.store,
        &report,
        Timestamp::now(),
        &Control::default(),
    )
    .unwrap();
    assert_eq!(done.len(), 4, "{done:?}");
    assert!(!pending.exists());
    assert_eq!(
        fs::read(layout.quarantine().join(bad)).unwrap(),
        b"PAR1 and no more"
    );
    let reason = fs::read_to_string(layout.quarantine().join(format!("{bad}.reason.txt"))).unwrap();
    assert!(reason.contains("can't be read"), "{reason}");
    assert!(!layout.incremental().join(bad).exists());
    fixture.now = fixture
        .now
        .checked_add(jiff::SignedDuration::from_secs(1))
        .unwrap();
    let report = checked(&fixture);
    assert!(
        report
            .findings
            .iter()
            .all(|f| f.level == Level::Note && f.repair.is_none()),
        "{report:?}"
    );
    assert_eq!(report.rows, 9);
    // The same repairs again find nothing to do.
    assert_eq!(
        repair(
            &fixture.store,
            &report,
            Timestamp::now(),
            &Control::default()
        )
        .unwrap(),
        Vec::<String>::new()
    );
}

/// A legacy writer that was stopped in the middle of writing goes on some time.
#[test]
fn an_unreadable_file_that_somebody_writes_stays() {
    let fixture = committed();
    let path = fixture
        .store
        .layout
        .incremental()
        .join("increment_8_20260131_120000.parquet");
    fs::write(&path, b"PAR1 and no more").unwrap();
    let writer = fs::File::options().append(true).open(&path).unwrap();
    if fixture
        .store
        .disk
        .is_open_for_writing(&path)
        .unwrap()
        .is_none()
    {
        eprintln!("skipped: this file system has no leases");
        return;
    }
    let report = checked(&fixture);
    assert!(
        report
            .findings
            .iter()
            .any(|finding| finding.repair.is_some()),
        "{report:?}"
    );
    assert!(
        repair(&fixture.store, &report, fixture.now, &Control::default())
            .unwrap()
            .is_empty()
    );
    assert!(path.exists());
    drop(writer);
    assert_eq!(
        repair(&fixture.store, &report, fixture.now, &Control::default())
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn the_journal_of_a_living_writer_is_left_alone() {
    let fixture = committed();
    let journal = fixture.journal(STEM, &records(5, 7));
    let report = Report {
        findings: vec![Finding {
            level: Level::Warning,
            file: String::new(),
            message: String::new(),
            repair: Some(Repair::RecoverJournal(journal_name(STEM))),
        }],
        ..Report::default()
    };
    assert!(
        repair(
            &fixture.store,
            &report,
            Timestamp::now(),
            &Control::default()
        )
        .unwrap()
        .is_empty()
    );
    drop(journal);
    assert_eq!(
        repair(
            &fixture.store,
            &report,
            Timestamp::now(),
            &Control::default()
        )
        .unwrap()
        .len(),
        1
    );
}

#[test]
fn a_torn_main_and_a_main_that_shrank_are_critical() {
    let fixture = committed();
    let main = fixture.store.layout.main();
    let whole = fs::read(&main).unwrap();
    fs::write(&main, &whole[..whole.len() - 3]).unwrap();
    fixture.increment(LEGACY, &batch(&records(10, 12)));
    let torn = fixture
        .store
        .layout
        .incremental()
        .join("increment_torn.parquet");
    fs::write(&torn, "PAR1 and no more").unwrap();
    let report = checked(&fixture);
    assert!(
        found(&report).contains(&(Level::Warning, "incremental/increment_torn.parquet")),
        "{report:?}"
    );
    assert_eq!((report.files, report.rows), (3, 2));
    fs::remove_file(&torn).unwrap();
    assert_eq!(found(&report)[0], (Level::Critical, "test_results.parquet"));
    assert!(
        report.findings[0].message.contains("move this file away"),
        "{report:?}"
    );
    // Another program rewrites it with fewer rows.
    fixture.main(&batch(&records(0, 2)), None);
    let report = checked(&fixture);
    assert_eq!(found(&report)[0], (Level::Critical, "test_results.parquet"));
    assert!(report.findings[0].message.contains("2 rows"), "{report:?}");
    // Another one removes it.
    fs::remove_file(&main).unwrap();
    let report = checked(&fixture);
    assert_eq!(found(&report)[0], (Level::Critical, "test_results.parquet"));
    assert!(
        report.findings[0].message.starts_with("it is missing"),
        "{report:?}"
    );
}

#[test]
fn duplicates_in_main_are_found() {
    let fixture = Fixture::new();
    let rows = [records(0, 3), vec![record("t1", true, 9)]].concat();
    fixture.main(&batch(&rows), Some(vec![]));
    let report = checked(&fixture);
    assert!(
        report
            .findings
            .iter()
            .any(|f| f.message.starts_with("1 tests are in it more than once"))
    );
}

#[test]
fn a_backup_is_held_against_its_own_record() {
    let fixture = committed();
    let layout = fixture.store.layout.clone();
    fs::create_dir_all(layout.backups()).unwrap();
    let copy = layout
        .backups()
        .join("test_results_20260131_120000.parquet");
    fs::copy(layout.main(), &copy).unwrap();
    let own = "backups/test_results_20260131_120000.parquet";
    assert!(
        found(&checked(&fixture))
            .iter()
            .all(|(_, file)| *file != own)
    );
    // Other code took a row away and kept the record.
    let record = CommitRecord::of(&ParquetFile::open(&*fixture.store.disk, &copy).unwrap())
        .unwrap()
        .unwrap();
    let main = fs::read(layout.main()).unwrap();
    fixture.main_with(&batch(&records(0, 4)), &record);
    fs::rename(layout.main(), &copy).unwrap();
    fs::write(layout.main(), &main).unwrap();
    let report = checked(&fixture);
    let finding = report
        .findings
        .iter()
        .find(|finding| finding.file == own)
        .unwrap();
    assert_eq!(finding.level, Level::Warning);
    assert!(
        finding.message.contains("says 5 rows and it has 4"),
        "{finding:?}"
    );
    let missing = Summaries {
        name: "summaries_0123456789abcdef.parquet".into(),
        rows: 1,
    };
    fixture.main_with(
        &batch(&records(0, 5)),
        &CommitRecord {
            summaries: vec![missing],
            ..record
        },
    );
    fs::rename(layout.main(), &copy).unwrap();
    fs::write(layout.main(), &main).unwrap();
    let report = checked(&fixture);
    let finding = report
        .findings
        .iter()
        .find(|finding| finding.file == own)
        .unwrap();
    assert!(
        finding
            .message
            .contains("summaries_0123456789abcdef.parquet is missing"),
        "{finding:?}"
    );
}
