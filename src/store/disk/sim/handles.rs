//! Open files of the simulated disk.

use std::io::{self, Write};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use super::super::{LockFile, ReadFile, Stat, WriteFile, copy_range};
use super::SimDisk;
use super::state::missing;

#[derive(Debug)]
pub(super) struct SimRead {
    pub(super) disk: SimDisk,
    pub(super) inode: u64,
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
pub(super) struct SimWrite {
    pub(super) disk: SimDisk,
    pub(super) path: PathBuf,
    pub(super) inode: u64,
    pub(super) at: u64,
    pub(super) locked: Mutex<bool>,
}

impl Drop for SimWrite {
    fn drop(&mut self) {
        if *self.locked.lock().unwrap_or_else(PoisonError::into_inner) {
            self.disk.lock().locks.remove(&self.inode);
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
        *locked = *locked || state.locks.insert(self.inode);
        Ok(*locked)
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
        node.now = Arc::new(holder.as_bytes().to_vec());
        node.durable.clone_from(&node.now);
        Ok(())
    }
}
