//! What was found out before. Many crashes leave the same files, and what holds of them
//! depends on nothing else but what is expected and the size of row groups; so it is found
//! out once, for all tests of this process together.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use crate::store::parquet::table::group_rows;

/// Attempts by test.
pub(crate) type Seen = BTreeMap<String, i64>;

static GOOD: LazyLock<Mutex<HashSet<u64>>> = LazyLock::new(Mutex::default);
static WHOLE: LazyLock<Mutex<HashMap<u64, u64>>> = LazyLock::new(Mutex::default);
static SEEN: LazyLock<Mutex<HashMap<u64, Seen>>> = LazyLock::new(Mutex::default);

fn lock<T>(known: &'static Mutex<T>) -> MutexGuard<'static, T> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

fn hash(of: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    (of, group_rows()).hash(&mut hasher);
    hasher.finish()
}

/// Judges unless the same, by all that `of` says, was good before.
pub(crate) fn once(
    of: impl Hash,
    judge: impl FnOnce() -> Result<(), String>,
) -> Result<(), String> {
    let of = hash(of);
    if lock(&GOOD).contains(&of) {
        return Ok(());
    }
    judge()?;
    lock(&GOOD).insert(of);
    Ok(())
}

/// The number of the commit that a file with these bytes names, which is whole.
pub(crate) fn whole(bytes: u64, read: impl FnOnce() -> Result<u64, String>) -> Result<u64, String> {
    if let Some(generation) = lock(&WHOLE).get(&bytes) {
        return Ok(*generation);
    }
    let generation = read()?;
    lock(&WHOLE).insert(bytes, generation);
    Ok(generation)
}

/// What is visible of files with this content.
pub(crate) fn seen(
    content: u64,
    look: impl FnOnce() -> Result<Seen, String>,
) -> Result<Seen, String> {
    if let Some(seen) = lock(&SEEN).get(&content) {
        return Ok(seen.clone());
    }
    let seen = look()?;
    lock(&SEEN).insert(content, seen.clone());
    Ok(seen)
}
