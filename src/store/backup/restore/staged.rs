//! Rows that an undone commit had brought into main wait again, in a staged increment.
//!
//! Promises: its rows count from the rename on that takes them out of main, not before
//! and not later: until then main's record calls them consumed, where anything less
//! would count rows without an id twice.

use arrow::array::RecordBatch;
use jiff::Timestamp;

use super::Restore;
use crate::store::commit::Consumed;
use crate::store::disk;
use crate::store::error::{Error, Result};
use crate::store::increment::Stems;
use crate::store::layout::staged_name;
use crate::store::table::TableWriter;

/// A staged increment that is written and does not count yet.
pub(super) struct Staged {
    temporary: String,
    /// What a record calls it.
    pub(super) entry: Consumed,
    // Shows that the temporary file is in use.
    _file: Box<dyn disk::WriteFile>,
}

/// Writes rows under a temporary name; `None` where there are none.
pub(super) fn write(
    restore: &Restore<'_>,
    rows: impl Iterator<Item = Result<RecordBatch>>,
    now: Timestamp,
) -> Result<Option<Staged>> {
    let (store, disk) = (restore.store, &*restore.store.disk);
    let name = staged_name(&Stems::new(disk, now).next_stem());
    let folder = store.layout.incremental();
    store.create_part(&folder)?;
    let temporary = format!(".{name}.tmp");
    let path = folder.join(&temporary);
    let write = || -> Result<Option<Staged>> {
        let file = disk.create(&path).map_err(Error::io("create", &path))?;
        file.try_lock().map_err(Error::io("lock", &path))?;
        let mut table = TableWriter::new(file, &path, &restore.schema)?;
        let mut count = 0;
        for batch in rows {
            let batch = batch?;
            count += batch.num_rows() as u64;
            table.write(&batch)?;
        }
        let file = table.finish()?;
        if count == 0 {
            return Ok(None);
        }
        let bytes = disk.stat(&path).map_err(Error::io("read", &path))?.bytes;
        let xxh3 = disk::hash(disk, &path).map_err(Error::io("read", &path))?;
        let entry = Consumed {
            name,
            bytes,
            rows: count,
            xxh3,
            legacy: false,
            at: now,
            gone: None,
        };
        Ok(Some(Staged {
            temporary: temporary.clone(),
            entry,
            _file: file,
        }))
    };
    let staged = write();
    if !matches!(staged, Ok(Some(_))) {
        let _ = disk.remove(&folder, &[&temporary]);
    }
    staged
}

/// Gives it its name.
pub(super) fn publish(restore: &Restore<'_>, staged: &Staged) -> Result<()> {
    let folder = restore.store.layout.incremental();
    let path = folder.join(&staged.entry.name);
    restore
        .store
        .disk
        .publish(&folder.join(&staged.temporary), &path)
        .map_err(Error::io("publish", path))
}
