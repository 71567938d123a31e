//! A mailbox that is a folder: `file:///folder`.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use super::Mailbox;
use crate::store::{Error, Result, Store};

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
