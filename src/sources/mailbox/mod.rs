//! Mailboxes: a folder or a bucket into which writers put finished, immutable files for somebody
//! else to take in.
//!
//! A writer of a mailbox writes into a spool, which is an ordinary store in the XDG state folder.
//! There a record is acknowledged. An outbox sends increments on, each as one object under its own
//! name, which never replaces another one, and removes them from the spool when they are there.
//! Whatever is killed when, a file is in the spool, in the mailbox, or in both; rows have
//! identities, so both is as good as one. What a mailbox holds has the layout of a store.

use std::path::Path;

use crate::formats::delta::Place;
use crate::sources::remote::Files;
use crate::store::Result;

#[cfg(feature = "cloud")]
mod bucket;
mod folder;
mod outbox;
pub mod spool;
pub mod url;
mod view;

pub use outbox::Sender;
pub use spool::Spool;
pub use url::Url;
pub use view::View;

/// Where files are put.
pub(crate) trait Mailbox: Send {
    /// Puts a file under a name below the place, such as `incremental/x.parquet`. An object of that
    /// name stays as it is: fine where it is the same, an error where it is not.
    fn put(&self, name: &str, from: &Path) -> Result<()>;

    /// Puts a small file that nothing depends on, in place of the one of that name.
    fn replace(&self, name: &str, bytes: &[u8]) -> Result<()>;

    /// Removes a file, if it is there.
    fn remove(&self, name: &str) -> Result<()>;
}

/// Opens a mailbox for writing. Nothing is sent yet.
pub(crate) fn open(url: &Url) -> Result<Box<dyn Mailbox>> {
    match url {
        Url::Folder(path) => Ok(Box::new(folder::Folder::new(path))),
        #[cfg(feature = "cloud")]
        Url::Bucket {
            cloud,
            bucket,
            prefix,
        } => Ok(Box::new(bucket::Bucket::open(*cloud, bucket, prefix)?)),
        #[cfg(not(feature = "cloud"))]
        Url::Bucket { .. } => Err(needs_cloud(url)),
    }
}

/// What lies in a mailbox: names, sizes, times.
pub(crate) fn entries(url: &Url) -> Result<Box<dyn Files>> {
    match url {
        Url::Folder(path) => Ok(Box::new(folder::Folder::new(path))),
        Url::Bucket { .. } => files(url),
    }
}

/// Opens a bucket for reading.
pub(crate) fn files(url: &Url) -> Result<Box<dyn Files>> {
    match url {
        #[cfg(feature = "cloud")]
        Url::Bucket {
            cloud,
            bucket,
            prefix,
        } => Ok(Box::new(bucket::Bucket::open(*cloud, bucket, prefix)?)),
        _ => Err(needs_cloud(url)),
    }
}

/// A bucket in which a Delta table may be.
pub(crate) fn table(url: &Url) -> Result<Box<dyn Place>> {
    match url {
        #[cfg(feature = "cloud")]
        Url::Bucket {
            cloud,
            bucket,
            prefix,
        } => {
            let bucket = bucket::Bucket::open(*cloud, bucket, prefix)?;
            Ok(Box::new(bucket::Table::open(bucket)?))
        }
        _ => Err(needs_cloud(url)),
    }
}

/// What is said of a bucket where this program can't open one.
pub(crate) fn needs_cloud(url: &Url) -> crate::store::Error {
    crate::store::Error::Refused(format!(
        "{} is a bucket, and this evaltop was built without the feature cloud: build it with \
         --features cloud, or install it with pip",
        url.name()
    ))
}
