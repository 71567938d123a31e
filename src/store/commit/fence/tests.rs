use super::*;
use crate::store::commit::base::Base;
use crate::store::commit::consolidate;
use crate::store::commit::transaction::Transaction;
use crate::store::disk::sim::SimDisk;
use crate::store::format::record::to_batch;
use crate::store::testing::crash::{now, store_on};
use crate::store::testing::fixture::record;
use crate::store::write::increment::{Stems, publish};

/// One folder through two mounts that don't show each other's locks.
fn mounts() -> (SimDisk, Store, Store) {
    let disk = SimDisk::new(now().as_nanosecond());
    let side = |side| store_on(Arc::new(disk.on_side(side)));
    let (one, other) = (side(1), side(2));
    one.create().unwrap();
    (disk, one, other)
}

fn write(store: &Store) {
    let batch = to_batch(&[record("a", true, 1)]).unwrap();
    let stem = Stems::new(&*store.disk, now()).next_stem();
    publish(store, &stem, &batch.schema(), [Ok(batch)]).unwrap();
}

#[test]
fn a_commit_that_was_silent_for_a_minute_never_renames_however_late_it_comes() {
    let (_, one, other) = mounts();
    write(&one);
    let control = Control::default();
    let silent = Fence::ahead(&one, &control).unwrap().unwrap();
    let base = Base::open(&one, false).unwrap();
    let mut silent = Transaction::begin(&one, &base, silent, now());
    drop(Fence::take(&other, &control).unwrap());
    let late = silent.commit(true, &control);
    assert!(matches!(late, Err(Error::Revoked { .. })), "{late:?}");
    drop(silent);
    // And nothing of it is left.
    assert!(one.disk.stat(&one.layout.main()).is_err());
    let options = consolidate::Options::default();
    let done = consolidate::run(&one, &options, now(), &control).unwrap();
    assert_eq!((done.commits, done.rows_total), (1, 1));
    let names = one.disk.list(one.layout.root()).unwrap();
    assert!(
        names.iter().all(|entry| !is_commit(&entry.name)),
        "{names:?}"
    );
}

#[test]
fn a_commit_that_lives_is_left_alone() {
    let (disk, one, other) = mounts();
    write(&one);
    let alive = Fence::take(&one, &Control::default()).unwrap();
    let path = alive.path();
    // Whenever somebody waits for it, it does something.
    let control = Control::new(move |_| disk.touch(&path).unwrap());
    let options = consolidate::Options::default();
    let refused = consolidate::run(&other, &options, now(), &control);
    assert!(matches!(refused, Err(Error::Locked { .. })), "{refused:?}");
    let base = Base::open(&one, false).unwrap();
    let mut alive = Transaction::begin(&one, &base, alive, now());
    alive.commit(true, &Control::default()).unwrap();
    // It is over, and its file is main.
    Fence::take(&other, &Control::default()).unwrap();
}

#[test]
fn where_locks_are_believed_whatever_is_left_is_a_dead_process() {
    let disk = SimDisk::new(now().as_nanosecond());
    let store = store_on(Arc::new(disk.clone()));
    store.create().unwrap();
    let dead = store.layout.root().join(".test_results.0a.tmp");
    drop(disk.create(&dead).unwrap());
    let control = Control::default();
    assert!(Fence::ahead(&store, &control).unwrap().is_none());
    let fence = Fence::take(&store, &control).unwrap();
    assert!(disk.stat(&dead).is_err() && disk.stat(&fence.path()).is_ok());
    drop(fence);
    let names = disk.list(store.layout.root()).unwrap();
    assert!(
        names.iter().all(|entry| !is_commit(&entry.name)),
        "{names:?}"
    );
}
