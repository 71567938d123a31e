//! What lies in a mailbox, as a store to read: the folder itself, or a mirror of the bucket in the
//! XDG cache folder. Nothing is written into the mailbox.

use jiff::Timestamp;

use super::Url;
use crate::sources::remote;
use crate::store::write::source_notes;
use crate::store::{Control, Result, Store};

/// A mailbox to read.
#[derive(Debug, Clone)]
pub struct View {
    /// Where it is.
    pub url: Url,
    /// What of it is here.
    pub store: Store,
}

impl View {
    /// Reads nothing yet.
    pub fn open(url: &Url) -> Result<Self> {
        let folder = match url {
            Url::Folder(path) => path.clone(),
            Url::Bucket { .. } => {
                remote::mirror_of(&crate::sources::cache::mirrors()?, &url.name())
            }
        };
        let mut store = Store::new(folder);
        store.layout = store.layout.called(url.name());
        Ok(Self {
            url: url.clone(),
            store,
        })
    }

    /// Brings along what is new; returns the bytes that travelled. Where that is done again and
    /// again, `every` so many seconds, those who look at the store see how old it is.
    pub fn refresh(&self, every: Option<u64>, control: &Control) -> Result<u64> {
        match &self.url {
            Url::Folder(_) => Ok(0),
            Url::Bucket { .. } => {
                let taken = remote::mirror_bucket(&self.url, self.store.layout.root(), control);
                if every.is_some() && self.store.check().is_ok() {
                    let mut note = source_notes::of(&self.store, &self.url.name());
                    note.every = every;
                    match &taken {
                        Ok(_) => (note.at, note.error) = (Some(Timestamp::now()), None),
                        Err(error) => note.error = Some(error.to_string()),
                    }
                    source_notes::keep(&self.store, &note)?;
                }
                taken
            }
        }
    }
}
