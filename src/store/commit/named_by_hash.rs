//! Files next to main whose names carry the hash of their bytes: summary rows, removed rows.
//!
//! Promises: such a file is whole under its name, and never changes. A commit record that names it
//! means these bytes.

use std::io::ErrorKind;

use crate::store::error::{Error, Result};
use crate::store::{Store, disk};

/// Gives a temporary file of the store's folder the name that `name` makes of its hash; the
/// temporary one is gone afterwards, also where that fails.
///
/// # Errors
/// The file can't be read or renamed.
pub(crate) fn publish(
    store: &Store,
    temporary: &str,
    name: impl Fn(&str) -> String,
) -> Result<String> {
    let root = store.layout.root();
    let path = root.join(temporary);
    let named = || -> Result<String> {
        let hash = disk::hash(&*store.disk, &path).map_err(Error::io("read", &path))?;
        let name = name(&hash);
        let target = root.join(&name);
        let published = match store.disk.publish(&path, &target) {
            // A damaged file of that name has other bytes by now; a whole one has these.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                store.disk.replace(&path, &target)
            }
            other => other,
        };
        published.map_err(Error::io("publish", &target))?;
        Ok(name)
    };
    named().inspect_err(|_| drop(store.disk.remove(root, &[temporary])))
}
