//! Lines that are no record: reported on stderr, and kept as they came in
//! `incremental/rejected_*.jsonl`, so that they can be mended and recorded again.

use std::io::Write;
use std::path::PathBuf;

use crate::cli::verbosity::complain;
use crate::config::show_counted;
use crate::store::disk::WriteFile;
use crate::store::{Error, Result, Store};

/// Lines that are reported one by one where they are not answered: a wrong file has many.
const SHOWN: u64 = 20;

/// The lines of one run.
#[derive(Debug)]
pub(super) struct Rejected {
    store: Store,
    path: PathBuf,
    file: Option<Box<dyn WriteFile>>,
    count: u64,
    /// How many are reported one by one.
    shown: u64,
}

impl Rejected {
    /// `answered` says that somebody waits for an answer to each line.
    pub(super) fn new(store: &Store, base: &str, answered: bool) -> Self {
        let path = store
            .layout
            .incremental()
            .join(format!("rejected_{base}.jsonl"));
        let shown = if answered { u64::MAX } else { SHOWN };
        Self {
            store: store.clone(),
            path,
            file: None,
            count: 0,
            shown,
        }
    }

    /// Keeps (the next part of) a line.
    pub(super) fn keep(&mut self, part: &[u8]) -> Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(
                self.store
                    .disk
                    .create(&self.path)
                    .map_err(Error::io("create", &self.path))?,
            ),
        };
        file.write_all(part).map_err(Error::io("write", &self.path))
    }

    /// The line is complete.
    pub(super) fn end(&mut self, number: u64, reason: &str) -> Result<()> {
        self.count += 1;
        if self.count <= self.shown {
            complain(&format!("line {number} rejected: {reason}"));
        }
        self.keep(b"\n")
    }

    /// Makes the lines durable; says where they are. Returns how many there are.
    pub(super) fn finish(mut self) -> Result<u64> {
        if let Some(file) = &mut self.file {
            let folder = self.store.layout.incremental();
            file.sync()
                .and_then(|()| self.store.disk.sync_folder(&folder))
                .map_err(Error::io("write", &self.path))?;
            let lines = show_counted(self.count, "line");
            let are = if self.count == 1 { "is" } else { "are" };
            complain(&format!(
                "{lines} {are} kept in {}: mend and record them again",
                self.path.display()
            ));
        }
        Ok(self.count)
    }
}
