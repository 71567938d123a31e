//! Plans and metadata of sessions: see [`SessionNote`].

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::sync::PoisonError;

use serde_json::Value;

use crate::store::Store;
use crate::store::disk;
use crate::store::error::{Error, Result};
use crate::store::format::session_note::SessionNote;

/// Keeps a note. One that is there already stays as it is.
pub fn keep(store: &Store, note: &SessionNote) -> Result<()> {
    let folder = store.layout.sessions();
    let bytes = note.to_bytes();
    let path = folder.join(SessionNote::name(&bytes));
    if disk::read(&*store.disk, &path).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    // A torn one is written again by the next program that says the same; no row depends on it.
    let written = store.disk.write_hint(&path, &bytes);
    written.map_err(Error::io("write", &path))
}

/// All notes, in no order. What can't be read is left out: no row depends on it.
pub fn all(store: &Store) -> Result<Vec<SessionNote>> {
    with(store, <[_]>::to_vec)
}

/// The same, where they need not be copied.
pub fn with<T>(store: &Store, of: impl FnOnce(&[SessionNote]) -> T) -> Result<T> {
    let notes = store.session_notes.lock();
    let mut notes = notes.unwrap_or_else(PoisonError::into_inner);
    notes.update(store)?;
    Ok(of(&notes.all))
}

/// What the program itself notes of a session, next to what people say of it.
pub const PLAN_HASH: &str = "plan_hash";
/// The same: when the program that says it began.
pub const BEGAN: &str = "began";

/// What was said of each session, as text. Where several programs say something of one key, the
/// one that began last counts.
pub fn metadata(store: &Store) -> Result<BTreeMap<String, BTreeMap<String, String>>> {
    let mut notes = all(store)?;
    // Times in UTC sort as texts; the bytes make an order of those that say none.
    notes.sort_by_cached_key(|note| {
        let began = note.meta.get(BEGAN).and_then(Value::as_str);
        (began.map(str::to_owned), note.to_bytes())
    });
    let mut said: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for note in notes {
        let Some(session) = note.session else {
            continue;
        };
        let own = note.meta.into_iter();
        let own = own
            .filter(|(key, value)| ![PLAN_HASH, BEGAN].contains(&key.as_str()) && !value.is_null());
        let text = |value| match value {
            Value::String(text) => text,
            other => other.to_string(),
        };
        let own = own.map(|(key, value)| (key, text(value)));
        said.entry(session).or_default().extend(own);
    }
    Ok(said)
}

/// The notes that were read: such a file never changes.
#[derive(Debug, Default)]
pub struct Notes {
    read: BTreeSet<String>,
    all: Vec<SessionNote>,
}

impl Notes {
    fn update(&mut self, store: &Store) -> Result<()> {
        let folder = store.layout.sessions();
        let entries = match store.disk.list(&folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            entries => entries.map_err(Error::io("read", &folder))?,
        };
        let there: BTreeSet<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
        if self.read.iter().any(|name| !there.contains(name.as_str())) {
            *self = Self::default();
        }
        for name in there {
            if self.read.contains(name) {
                continue;
            }
            let bytes = disk::read(&*store.disk, &folder.join(name)).ok();
            if let Some(note) = bytes.as_deref().and_then(SessionNote::read) {
                self.all.push(note);
                self.read.insert(name.to_owned());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_note_is_kept_once_and_mended_where_it_is_torn() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path());
        assert_eq!(all(&store).unwrap(), []);
        let meta = json!({"prompt": "v12"}).as_object().cloned().unwrap();
        let note = SessionNote::new(Some("monday".into()), Some(600), meta).unwrap();
        keep(&store, &note).unwrap();
        keep(&store, &note).unwrap();
        assert_eq!(all(&store).unwrap(), std::slice::from_ref(&note));
        let other = SessionNote::new(Some("monday".into()), Some(601), serde_json::Map::new());
        keep(&store, &other.unwrap()).unwrap();
        assert_eq!(all(&store).unwrap().len(), 2);
        assert_eq!(all(&store.clone()).unwrap().len(), 2);
        let path = store
            .layout
            .sessions()
            .join(SessionNote::name(&note.to_bytes()));
        // What was read is not read again; who comes new finds it torn, until it is mended.
        std::fs::write(&path, "{\"format\":1,").unwrap();
        assert_eq!(all(&store).unwrap().len(), 2);
        let new = Store::new(folder.path());
        assert_eq!(all(&new).unwrap().len(), 1);
        keep(&store, &note).unwrap();
        assert_eq!(all(&new).unwrap().len(), 2);
        std::fs::remove_file(path).unwrap();
        assert_eq!(
            all(&store).unwrap().len(),
            1,
            "one that is gone is forgotten"
        );
        assert_eq!(SessionNote::new(None, None, serde_json::Map::new()), None);
    }
}
