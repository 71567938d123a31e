//! Spools: the local stores of writers whose mailbox is elsewhere.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use xxhash_rust::xxh3::xxh3_128;

use super::{Mailbox, Url};
use crate::store::commit::{folders, recover};
use crate::store::disk::Lock;
use crate::store::disk::lock::StoreLock;
use crate::store::format::session_note::SessionNote;
use crate::store::read::listing::Files;
use crate::store::read::snapshot::Lister;
use crate::store::write::journal;
use crate::store::{Control, Error, Result, Store};

/// The file that says which mailbox a spool is for.
const URL: &str = "mailbox";

/// A store whose increments are sent on.
#[derive(Debug, Clone)]
pub struct Spool {
    /// Where they go.
    pub url: Url,
    /// Where they are until then.
    pub store: Store,
}

/// What is in a spool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Left {
    /// Files with rows.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Journals of living writers, which send them themselves.
    pub live: u64,
}

/// The folder of all spools of this user.
fn root() -> Result<PathBuf> {
    let named = |name: &str| {
        let path = std::env::var_os(name).map(PathBuf::from);
        path.filter(|path| path.is_absolute())
    };
    let state = named("XDG_STATE_HOME").or_else(|| Some(named("HOME")?.join(".local/state")));
    state
        .map(|state| state.join("evaltop/spool"))
        .ok_or_else(|| {
            Error::Refused(
                "there is no place for what a mailbox does not have yet: set XDG_STATE_HOME"
                    .to_owned(),
            )
        })
}

impl Spool {
    /// The spool of a mailbox, made where it is missing, for this user alone.
    pub fn open(url: &Url) -> Result<Self> {
        let root = root()?;
        let folder = root.join(format!("{:032x}", xxh3_128(url.name().as_bytes())));
        let spool = Self::at(url.clone(), &folder);
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .map_err(Error::io("create", &folder))?;
        // One that was there already may be open to others.
        for own in [&root, &folder] {
            fs::set_permissions(own, fs::Permissions::from_mode(0o700))
                .map_err(Error::io("protect", own))?;
        }
        let named = folder.join(URL);
        if fs::read_to_string(&named).is_ok_and(|text| text == url.name()) {
            return Ok(spool);
        }
        let temporary = folder.join(format!("{URL}.{}", std::process::id()));
        fs::write(&temporary, url.name())
            .and_then(|()| fs::rename(&temporary, &named))
            .map_err(Error::io("write", &named))?;
        Ok(spool)
    }

    fn at(url: Url, folder: &Path) -> Self {
        let store = Store::new(folder.join("store"));
        Self { url, store }
    }

    /// All spools of this user, by the names of their mailboxes.
    pub fn all() -> Result<Vec<Self>> {
        let root = root()?;
        let entries = match fs::read_dir(&root) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(Error::io("read", &root))?,
        };
        let mut found = Vec::new();
        for entry in entries.flatten() {
            let folder = entry.path();
            let url = fs::read_to_string(folder.join(URL)).ok();
            if let Some(url) = url.and_then(|text| Url::parse(&text).ok()) {
                found.push(Self::at(url, &folder));
            }
        }
        found.sort_by_key(|spool| spool.url.name());
        Ok(found)
    }

    /// What was not sent yet.
    pub fn left(&self) -> Result<Left> {
        let mut left = Left::default();
        if self.store.check().is_err() {
            return Ok(left);
        }
        let files = Lister::default().files(&self.store, Timestamp::now())?;
        let increments = files.increments.iter().map(|file| file.stat.bytes);
        let set_aside = files.set_aside.iter().map(|file| file.stat.bytes);
        let journals = files
            .journals
            .iter()
            .map(|file| file.stat.bytes - file.from);
        for bytes in increments.chain(set_aside).chain(journals) {
            left.files += 1;
            left.bytes += bytes;
        }
        let journals = files.journals.iter();
        left.live = journals.filter(|file| file.lock != Lock::Free).count() as u64;
        Ok(left)
    }

    /// Publishes what dead writers left in journals.
    pub(super) fn recover(&self) -> Result<()> {
        if self.store.check().is_err() {
            return Ok(());
        }
        let _lock = self.lock()?;
        let mut skipped = BTreeMap::new();
        let now = Timestamp::now();
        recover::journals(&self.store, now, &mut Lister::default(), &mut skipped)?;
        Ok(())
    }

    /// One process sends at a time: what others publish it sends too.
    fn lock(&self) -> Result<StoreLock> {
        StoreLock::take(&self.store, "send", &Control::default())
    }

    /// Sends what is published, and removes it here. `noted` are the notes of sessions that were
    /// sent before by this process; `begin` is called before each file.
    pub(super) fn send(
        &self,
        mailbox: &dyn Mailbox,
        noted: &mut HashSet<String>,
        begin: &dyn Fn(),
        stop: &dyn Fn() -> bool,
    ) -> Result<u64> {
        if self.store.check().is_err() {
            return Ok(0);
        }
        let _lock = self.lock()?;
        let sessions = self.store.layout.sessions();
        for entry in self.store.disk.list(&sessions).unwrap_or_default() {
            let path = sessions.join(&entry.name);
            // Half a note does not have its name.
            let whole = || fs::read(&path).is_ok_and(|text| SessionNote::name(&text) == entry.name);
            if !noted.contains(&entry.name) && whole() {
                mailbox.put(&format!("sessions/{}", entry.name), &path)?;
                noted.insert(entry.name);
            }
        }
        let now = Timestamp::now();
        let files = Lister::default().files(&self.store, now)?;
        let mut sent = 0;
        for increment in &files.increments {
            begin();
            if stop() {
                return Err(Error::Cancelled);
            }
            let path = self.store.layout.incremental().join(&increment.name);
            mailbox.put(&format!("incremental/{}", increment.name), &path)?;
            self.forget(&files, &increment.name, now)?;
            sent += 1;
        }
        Ok(sent)
    }

    /// Removes an increment that is in the mailbox, and first the journal that it stands for, so
    /// that a journal's rows never come back as another increment.
    fn forget(&self, files: &Files, name: &str, now: Timestamp) -> Result<()> {
        let incremental = self.store.layout.incremental();
        let disk = &*self.store.disk;
        let part = files.increments.iter().find(|file| file.name == name);
        let part = part.and_then(|file| file.journal.as_ref());
        if let Some(part) = part {
            let journal = crate::store::format::layout::journal_name(&part.stem);
            let path = incremental.join(&journal);
            let is_over = disk.open(&path).and_then(|file| {
                let bytes = file.stat()?.bytes;
                let covered = !journal::has_line(&*file, bytes, part.journal_bytes)?;
                Ok(covered
                    && (journal::is_sealed(&*file, bytes)?
                        || folders::is_finished(&self.store, &path, part.journal_bytes, now)?))
            });
            match is_over {
                // Its writer goes on: the increment says here how far it was sent.
                Ok(false) => return Ok(()),
                Ok(true) => disk
                    .remove(&incremental, &[&journal])
                    .map_err(Error::io("clean up", &incremental))?,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(Error::io("read", &path)(error)),
            }
        }
        disk.remove(&incremental, &[name])
            .map_err(Error::io("clean up", &incremental))
    }
}
