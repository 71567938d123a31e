//! Lines that are no record: told on stderr, and kept as they came in
//! `incremental/rejected_*.jsonl`, so that they can be mended and recorded again.

use std::io::Write;
use std::path::PathBuf;

use crate::formats::text::sanitise;
use crate::store::disk::WriteFile;
use crate::store::{Error, Result, Store};

/// The lines of one run.
#[derive(Debug)]
pub(super) struct Rejected {
    store: Store,
    path: PathBuf,
    file: Option<Box<dyn WriteFile>>,
    count: u64,
}

impl Rejected {
    pub(super) fn new(store: &Store, base: &str) -> Self {
        let path = store.layout.incremental().join(format!("rejected_{base}.jsonl"));
        Self { store: store.clone(), path, file: None, count: 0 }
    }

    /// Keeps (the next part of) a line.
    pub(super) fn keep(&mut self, part: &[u8]) -> Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(self.store.disk.create(&self.path).map_err(Error::io("create", &self.path))?),
        };
        file.write_all(part).map_err(Error::io("write", &self.path))
    }

    /// The line is complete.
    pub(super) fn end(&mut self, number: u64, reason: &str) -> Result<()> {
        self.count += 1;
        eprintln!("evaltop: line {number} rejected: {}", sanitise(reason));
        self.keep(b"\n")
    }

    /// Makes the lines durable; says where they are. Returns how many there are.
    pub(super) fn finish(mut self) -> Result<u64> {
        if let Some(file) = &mut self.file {
            let folder = self.store.layout.incremental();
            file.sync()
                .and_then(|()| self.store.disk.sync_folder(&folder))
                .map_err(Error::io("write", &self.path))?;
            let lines = if self.count == 1 { "1 line is" } else { &format!("{} lines are", self.count) };
            let path = self.path.display().to_string();
            eprintln!("evaltop: {lines} kept in {}: mend and record them again", sanitise(&path));
        }
        Ok(self.count)
    }
}
