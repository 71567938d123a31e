//! A whole store is copied while other code rewrites one of its files.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use super::mutant::{Mutant, Mutated};
use super::scenarios::{legacy_bytes, main_and_increments, merge};
use super::{Ledger, World, loose, now, oracle, store_on};
use crate::store::disk::Disk;
use crate::store::disk::sim::SimDisk;
use crate::store::maintain::copy;
use crate::store::{Control, Error, Result, Store};

/// A store, and a file of other code that is pending in it.
fn store() -> Result<World> {
    let mut world = World::new(SimDisk::new(now().as_nanosecond()), None, Ledger::default());
    main_and_increments(&mut world)?;
    merge(&mut world)?;
    let path = world.store.layout.incremental();
    let path = path.join("increment_7_20260131_120000.parquet");
    let mut file = world
        .disk
        .rewrite(&path)
        .map_err(Error::io("write", &path))?;
    file.write_all(&legacy_bytes(&[loose("legacy-0", 0)]))
        .map_err(Error::io("write", &path))?;
    Ok(world)
}

#[test]
fn a_file_that_is_rewritten_each_time_is_named_and_all_others_are_whole() {
    let world = store().unwrap();
    let names = |torn: &[std::path::PathBuf]| -> Vec<String> {
        let names = torn.iter().map(|path| path.file_name().unwrap());
        names
            .map(|name| name.to_string_lossy().into_owned())
            .collect()
    };
    let control = Control::default();
    let quiet = copy::run(&world.store, Path::new("/quiet"), &control).unwrap();
    assert_eq!(names(&quiet.torn), [""; 0]);
    let disk = Mutated::new(Arc::new(world.disk.clone()), Mutant::RewrittenWhileCopied);
    let busy = copy::run(&store_on(Arc::new(disk)), Path::new("/busy"), &control).unwrap();
    assert_eq!(names(&busy.torn), ["increment_7_20260131_120000.parquet"]);
    assert_eq!((busy.files, busy.bytes), (quiet.files, quiet.bytes));
    let copied = |folder: &str| {
        let disk: Arc<dyn Disk> = Arc::new(world.disk.clone());
        oracle::read(&Store {
            layout: crate::store::format::layout::Layout::new(folder),
            ..store_on(disk)
        })
    };
    assert_eq!(copied("/busy"), oracle::read(&world.store));
}
