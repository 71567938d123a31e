//! Open files of the simulated disk.

use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::SimDisk;
use super::state::missing;
use crate::store::disk::{LockFile, ReadFile, Stat, WriteFile, copy_range};

#[derive(Debug)]
pub(crate) struct SimRead {
    pub(crate) disk: SimDisk,
    pub(crate) inode: u64,
}

impl ReadFile for SimRead {
    fn stat(&self) -> io::Result<Stat> {
        let state = self.disk.lock();
        state.alive()?;
        Ok(state.stat(self.inode))
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let state = self.disk.lock();
        state.alive()?;
        let bytes = &state.inodes[&self.inode].now;
        let from = (offset as usize).min(bytes.len());
        let n = buf.len().min(bytes.len() - from);
        buf[..n].copy_from_slice(&bytes[from..from + n]);
        Ok(n)
    }
}

/// A handle that writes, and holds its lock for as long as it and its process live.
#[derive(Debug)]
pub(crate) struct SimWrite {
    pub(crate) disk: SimDisk,
    pub(crate) path: PathBuf,
    pub(crate) inode: u64,
    pub(crate) at: u64,
    pub(crate) locked: Mutex<bool>,
}

impl Drop for SimWrite {
    fn drop(&mut self) {
        if *self.locked.lock().unwrap_or_else(PoisonError::into_inner) {
            let side = self.disk.side;
            self.disk.lock().locks.remove(&(side, self.inode));
        }
    }
}

impl Write for SimWrite {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.disk
            .lock()
            .write(self.inode, &self.path, self.at, buf)?;
        self.at += buf.len() as u64;
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl WriteFile for SimWrite {
    fn sync(&mut self) -> io::Result<()> {
        self.disk.lock().sync_file(self.inode, &self.path)
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.disk.lock().truncate(self.inode, &self.path, len)?;
        self.at = len;
        Ok(())
    }

    fn try_lock(&self) -> io::Result<bool> {
        let mut state = self.disk.lock();
        state.alive()?;
        let mut locked = self.locked.lock().unwrap_or_else(PoisonError::into_inner);
        *locked = *locked || state.locks.insert((self.disk.side, self.inode));
        Ok(*locked)
    }

    fn read_back(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let inode = self.inode;
        let disk = self.disk.clone();
        SimRead { disk, inode }.read_at(offset, buf)
    }

    fn bytes_at(&self, path: &Path) -> io::Result<Option<u64>> {
        let state = self.disk.lock();
        state.alive()?;
        let same = state.lookup(path).is_ok_and(|inode| inode == self.inode);
        Ok(same.then(|| state.stat(self.inode).bytes))
    }

    fn copy_from(&mut self, source: &dyn ReadFile, range: Range<u64>) -> io::Result<()> {
        copy_range(source, range, self)
    }
}

impl LockFile for SimWrite {
    fn describe(&mut self, holder: &str) -> io::Result<()> {
        let mut state = self.disk.lock();
        state.alive()?;
        let node = state.inodes.get_mut(&self.inode).ok_or_else(missing)?;
        node.describe(holder.as_bytes());
        Ok(())
    }
}
