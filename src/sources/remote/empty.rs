//! Emptying a mailbox: what a store's main has needs to lie there no longer.
//!
//! A file goes when a pull from it alone would take nothing, were there only main: each of its rows
//! is there, or a newer attempt. Files that are young stay, and those of which anything is not
//! understood. Whatever is killed when, each file is removed or not; a writer that sends one again
//! is answered by the next pull, which has its rows.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;

use super::{Fresh, Place, Stat, mirror_bucket, mirror_of};
use crate::sources::mailbox::{self, Mailbox, Url};
use crate::store::format::layout::{IncrementalName, MAIN, classify, is_live, test_keys_of};
use crate::store::read::query::{self, Selection};
use crate::store::read::snapshot::{FileState, Scanner};
use crate::store::write::live;
use crate::store::{Control, Error, Result, Store};

/// Files that are compared with main at once.
const FILES: usize = 256;

/// What became of a mailbox.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Emptied {
    /// Files with rows that were removed, or would be.
    pub removed: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that stay because they are young.
    pub young: u64,
    /// Files that stay because main does not have all that is in them.
    pub needed: u64,
}

/// Which files go.
#[derive(Debug, Clone, Copy)]
pub struct Empty {
    /// Only files that are older.
    pub older_than: SignedDuration,
    /// Remove nothing, only say what would be.
    pub dry_run: bool,
}

/// Removes from a mailbox what the store's main has.
pub fn empty(
    store: &Store,
    place: &Place,
    cache: &Path,
    options: Empty,
    now: Timestamp,
    control: &Control,
) -> Result<Emptied> {
    let (url, folder) = match place {
        Place::Folder(path) => (Url::Folder(path.clone()), path.clone()),
        Place::Bucket(url) => {
            let folder = mirror_of(cache, &place.name());
            mirror_bucket(url, &folder, control)?;
            (url.clone(), folder)
        }
        Place::Host { .. } => return Err(not_a_mailbox(place)),
    };
    let mut there = mailbox::entries(&url)?;
    // A store's own files are for the store to remove; senders put increments alone.
    let pending = there.list("incremental")?.unwrap_or_default();
    let is_own = |name: &str| {
        matches!(
            classify(name),
            IncrementalName::Journal
                | IncrementalName::LegacyIncrement
                | IncrementalName::Transaction
        )
    };
    if there.stat(MAIN)?.is_some()
        || there.list("commits")?.is_some()
        || pending.iter().any(|(name, _)| is_own(name))
    {
        return Err(not_a_mailbox(place));
    }
    let is_old = |stat: &Stat, age: i64| now.as_second() - i64::from(stat.modified) > age;
    let mut emptied = Emptied::default();
    let mut old = Vec::new();
    for (name, stat) in pending {
        if classify(&name) != IncrementalName::Increment || stat.is_folder {
            continue;
        }
        let here = folder.join("incremental").join(&name);
        let is_whole = here.metadata().is_ok_and(|meta| meta.len() == stat.bytes);
        if !is_old(&stat, options.older_than.as_secs()) {
            emptied.young += 1;
        } else if is_whole {
            old.push((name, stat.bytes));
        } else {
            emptied.needed += 1;
        }
    }
    let main = Main::of(store)?;
    let mailbox = mailbox::open(&url)?;
    let mut remove = |files: &[(String, u64)]| -> Result<()> {
        for (name, bytes) in files {
            control.check()?;
            if !options.dry_run {
                mailbox.remove(&format!("incremental/{name}"))?;
            }
            emptied.removed += 1;
            emptied.bytes += bytes;
        }
        Ok(())
    };
    let mut needed = 0;
    // Each comparison reads main's keys: where one file of many is needed, halves are tried.
    let mut left: Vec<&[(String, u64)]> = old.chunks(FILES).collect();
    while let Some(files) = left.pop() {
        let has = match &main {
            Some(main) => main.has(&folder, files, store, control)?,
            None => false,
        };
        if has {
            remove(files)?;
        } else if main.is_none() || files.len() == 1 {
            needed += files.len() as u64;
        } else {
            let (one, other) = files.split_at(files.len() / 2);
            left.extend([other, one]);
        }
    }
    emptied.needed += needed;
    if !options.dry_run {
        heartbeats(&*mailbox, &mut *there, &is_old)?;
    }
    Ok(emptied)
}

fn not_a_mailbox(place: &Place) -> Error {
    Error::Refused(format!(
        "{} is not a mailbox: only what writers put into one is removed",
        place.name()
    ))
}

/// Removes what writers said of themselves who are long gone.
fn heartbeats(
    mailbox: &dyn Mailbox,
    there: &mut dyn super::Files,
    is_old: &dyn Fn(&Stat, i64) -> bool,
) -> Result<()> {
    for (name, stat) in there.list("live")?.into_iter().flatten() {
        if is_live(&name) && is_old(&stat, live::LIFE_SECONDS) {
            mailbox.remove(&format!("live/{name}"))?;
        }
    }
    Ok(())
}

/// A store's main without what is pending there.
struct Main(TempDir);

impl Main {
    /// `None` where there is none.
    fn of(store: &Store) -> Result<Option<Self>> {
        let root = store.layout.root();
        if !store.layout.main().exists() {
            return Ok(None);
        }
        let alone = alone()?;
        let entries = std::fs::read_dir(root).map_err(Error::io("read", root))?;
        for entry in entries.flatten() {
            let name = entry.file_name();
            let text = name.to_string_lossy();
            // What main's record names: removed and summary rows, and the index of its keys.
            let is_wanted = name == MAIN
                || text.starts_with("removed_")
                || text.starts_with("summaries_")
                || test_keys_of(&text).is_some();
            if is_wanted && entry.path().is_file() {
                link(&entry.path(), &alone.path().join(&name))?;
            }
        }
        Ok(Some(Self(alone)))
    }

    /// Whether it has all that is in these files of a mailbox.
    fn has(
        &self,
        mailbox: &Path,
        files: &[(String, u64)],
        store: &Store,
        control: &Control,
    ) -> Result<bool> {
        let alone = alone()?;
        let incremental = alone.path().join("incremental");
        std::fs::create_dir(&incremental).map_err(Error::io("create", &incremental))?;
        for (name, _) in files {
            let own = mailbox.join("incremental").join(name);
            link(&own, &incremental.join(name))?;
        }
        let of = |folder: &TempDir| {
            let mut of = Store::new(folder.path());
            of.zone = store.zone.clone();
            of
        };
        let (main, files_alone) = (of(&self.0), of(&alone));
        // Every row must be accounted for as a test.
        let scanned = Scanner::new().scan(&files_alone, Timestamp::now(), control)?;
        let rows: u64 = scanned.waiting.iter().map(|file| file.rows).sum();
        let tests: u64 = scanned.cells.values().map(|tally| tally.tests).sum();
        let are_ready = scanned.waiting.len() == files.len()
            && scanned
                .waiting
                .iter()
                .all(|file| file.state == FileState::Ready);
        if !are_ready || rows != tests + scanned.superseded + scanned.repeated {
            return Ok(false);
        }
        let own = Control::default();
        let mut fresh = Fresh::new(
            &main,
            query::rows(&files_alone, &Selection::default(), &own)?,
            control,
        );
        let lacks = fresh.next().transpose()?.is_some();
        Ok(!lacks && own.left_out().is_empty() && fresh.read == tests)
    }
}

fn alone() -> Result<TempDir> {
    tempfile::tempdir().map_err(Error::io("create", &std::env::temp_dir()))
}

fn link(from: &Path, to: &Path) -> Result<()> {
    let whole: PathBuf = std::fs::canonicalize(from).map_err(Error::io("read", from))?;
    symlink(&whole, to).map_err(Error::io("create", to))
}
