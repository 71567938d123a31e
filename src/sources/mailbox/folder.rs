//! A mailbox that is a folder: `file:///folder`.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::Mailbox;
use crate::sources::remote::{Files, Stat};
use crate::store::{Control, Error, Result, Store};

/// Bytes that are copied at once.
const PIECE: usize = 1 << 20;

pub(super) struct Folder {
    store: Store,
    root: PathBuf,
}

impl Folder {
    pub(super) fn new(root: &Path) -> Self {
        Self {
            store: Store::new(root),
            root: root.to_path_buf(),
        }
    }
}

impl Mailbox for Folder {
    fn put(&self, name: &str, from: &Path) -> Result<()> {
        let disk = &*self.store.disk;
        let path = self.root.join(name);
        let folder = path.parent().unwrap_or(&self.root);
        self.store.create()?;
        disk.create_folder(folder)
            .map_err(Error::io("create", folder))?;
        let last = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        let hidden = format!(".{}.{:08x}.tmp", last.unwrap_or_default(), disk.id() as u32);
        let temporary = folder.join(hidden);
        let copied = || -> io::Result<()> {
            let mut file = disk.create(&temporary)?;
            file.try_lock()?;
            let mut source = File::open(from)?;
            let mut piece = vec![0; PIECE];
            loop {
                let read = source.read(&mut piece)?;
                if read == 0 {
                    break;
                }
                file.write_all(piece.get(..read).unwrap_or_default())?;
            }
            file.sync()?;
            // Locked until it has its name, so that nobody takes it for a dead process's.
            disk.publish(&temporary, &path)
        };
        match copied() {
            Ok(()) => Ok(()),
            Err(error) => {
                if let Some(name) = temporary.file_name().and_then(|name| name.to_str()) {
                    let _ = disk.remove(folder, &[name]);
                }
                match error.kind() {
                    ErrorKind::AlreadyExists if same(from, &path) => Ok(()),
                    _ => Err(Error::io("write", &path)(error)),
                }
            }
        }
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> Result<()> {
        self.store.create()?;
        let path = self.root.join(name);
        let written = self.store.disk.write_hint(&path, bytes);
        written.map_err(Error::io("write", &path))
    }

    fn remove(&self, name: &str) -> Result<()> {
        let path = self.root.join(name);
        let folder = path.parent().unwrap_or(&self.root);
        let last = path.file_name().and_then(|name| name.to_str());
        let names: Vec<&str> = last.into_iter().collect();
        let removed = self.store.disk.remove(folder, &names);
        removed.map_err(Error::io("remove", &path))
    }
}

impl Files for Folder {
    fn list(&mut self, path: &str) -> Result<Option<Vec<(String, Stat)>>> {
        let folder = self.root.join(path);
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            entries => entries.map_err(Error::io("read", &folder))?,
        };
        let entry = |entry: fs::DirEntry| {
            let name = entry.file_name().into_string().ok()?;
            Some((name, stat(&entry.metadata().ok()?)))
        };
        Ok(Some(entries.flatten().filter_map(entry).collect()))
    }

    fn stat(&mut self, path: &str) -> Result<Option<Stat>> {
        let path = self.root.join(path);
        match fs::metadata(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            found => Ok(Some(stat(&found.map_err(Error::io("read", &path))?))),
        }
    }

    fn copy(
        &mut self,
        path: &str,
        begin: u64,
        end: u64,
        mut file: &File,
        _control: &Control,
    ) -> Result<u64> {
        let path = self.root.join(path);
        let mut copied = || {
            let mut source = File::open(&path)?;
            source.seek(SeekFrom::Start(begin))?;
            file.seek(SeekFrom::Start(begin))?;
            io::copy(&mut source.take(end - begin), &mut file)
        };
        copied().map_err(Error::io("copy", &path))
    }
}

fn stat(meta: &fs::Metadata) -> Stat {
    Stat {
        bytes: meta.len(),
        modified: u32::try_from(meta.mtime()).unwrap_or_default(),
        is_folder: meta.is_dir(),
    }
}

/// Whether two files have the same bytes.
fn same(one: &Path, other: &Path) -> bool {
    let open = |path: &Path| File::open(path).map(|file| io::BufReader::with_capacity(PIECE, file));
    let (Ok(one), Ok(other)) = (open(one), open(other)) else {
        return false;
    };
    let (mut one, mut other) = (one.bytes(), other.bytes());
    loop {
        match (one.next(), other.next()) {
            (None, None) => return true,
            (Some(Ok(one)), Some(Ok(other))) if one == other => {}
            _ => return false,
        }
    }
}
