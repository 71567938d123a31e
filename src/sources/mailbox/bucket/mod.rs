//! A mailbox that is a bucket.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Once;
use std::time::Duration;

use object_store::path::Path as Key;
use object_store::{
    ClientOptions, GetOptions, GetRange, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions,
    RetryConfig,
};
use tokio::runtime::{Builder, Runtime};

use super::Mailbox;
use super::url::{Cloud, stripped};
use crate::sources::remote::{Files, Stat};
use crate::store::{Control, Error, Result};

mod azure;
mod gcs;
mod profile;
mod s3;
mod table;

pub(super) use table::Table;

/// A variable of the environment.
type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

type Opened = Box<dyn ObjectStore>;

/// Bytes asked for at once.
const PIECE: u64 = 8 << 20;
/// Of what a server says, so much is shown.
const SAID: usize = 240;

const REFUSED: &str = "its credentials are refused";
const NOT_ALLOWED: &str = "its credentials are not allowed to do that";

/// An open bucket. Its calls block, and must not be made in an async runtime.
pub(super) struct Bucket {
    runtime: Runtime,
    store: Opened,
    name: String,
    prefix: String,
}

fn options() -> ClientOptions {
    ClientOptions::new()
        .with_connect_timeout(Duration::from_secs(10))
        .with_read_timeout(Duration::from_secs(30))
        // Of the whole transfer: one that is slow is not one that hangs.
        .with_timeout(Duration::from_secs(600))
}

fn retries() -> RetryConfig {
    RetryConfig {
        max_retries: 3,
        retry_timeout: Duration::from_secs(20),
        ..RetryConfig::default()
    }
}

impl Bucket {
    /// Asks the server nothing yet.
    pub(super) fn open(cloud: Cloud, bucket: &str, prefix: &str) -> Result<Self> {
        static PROVIDER: Once = Once::new();
        PROVIDER.call_once(|| {
            // A program that holds this one may have chosen its own.
            let _ = rustls::crypto::ring::default_provider().install_default();
        });
        let name = format!("{}://{bucket}", cloud.scheme());
        let environment = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
        let store = match cloud {
            Cloud::S3 => s3::open(bucket, &environment),
            Cloud::Gcs => gcs::open(bucket, &environment),
            Cloud::Azure => azure::open(bucket, &environment),
        };
        let store = store.map_err(|error| Error::Refused(format!("{name}: {error}")))?;
        let runtime = Builder::new_current_thread().enable_all().build();
        Ok(Self {
            runtime: runtime.map_err(|error| Error::no_thread(&error))?,
            store,
            name,
            prefix: prefix.to_owned(),
        })
    }

    fn key(&self, name: &str) -> Result<Key> {
        let whole = match (self.prefix.as_str(), name) {
            ("", name) => name.to_owned(),
            (prefix, "") => prefix.to_owned(),
            (prefix, name) => format!("{prefix}/{name}"),
        };
        Key::parse(&whole).map_err(|error| Error::Refused(format!("{}: {error}", self.name)))
    }

    /// Bucket and prefix, as people write them.
    fn whole_name(&self) -> String {
        match self.prefix.as_str() {
            "" => self.name.clone(),
            prefix => format!("{}/{prefix}", self.name),
        }
    }

    fn entries(&self, path: &str) -> Result<Vec<(String, Stat)>> {
        let folder = self.key(path)?;
        let listed = self.store.list_with_delimiter(Some(&folder));
        let listed = self.runtime.block_on(listed);
        let listed = listed.map_err(|error| self.said(&error))?;
        let entries = listed
            .objects
            .iter()
            .filter_map(|object| Some((object.location.filename()?.to_owned(), stat(object))));
        Ok(entries.collect())
    }

    fn said(&self, error: &object_store::Error) -> Error {
        said(&self.name, error)
    }

    async fn create(&self, key: &Key, bytes: &bytes::Bytes) -> object_store::Result<()> {
        let put = |mode| {
            let options = PutOptions {
                mode,
                ..PutOptions::default()
            };
            self.store.put_opts(key, bytes.clone().into(), options)
        };
        match put(PutMode::Create).await {
            Ok(_) => {}
            Err(object_store::Error::AlreadyExists { .. }) => {
                let there = self.store.get(key).await?.bytes().await?;
                if there != *bytes {
                    // A transfer that was cut: a name never means two contents.
                    if !bytes.starts_with(&there) {
                        return Err(object_store::Error::Generic {
                            store: "bucket",
                            source: format!("{key} is there with other content").into(),
                        });
                    }
                    put(PutMode::Overwrite).await?;
                }
            }
            // A server that knows no conditions. Names are unique, so nobody else makes this one.
            Err(error) if knows_no_conditions(&error) => match self.store.head(key).await {
                Ok(there) if there.size == bytes.len() as u64 => {}
                Ok(_) | Err(object_store::Error::NotFound { .. }) => {
                    put(PutMode::Overwrite).await?;
                }
                Err(error) => return Err(error),
            },
            Err(error) => return Err(error),
        }
        // What is removed here afterwards must be whole there.
        let there = self.store.head(key).await?;
        if there.size == bytes.len() as u64 {
            return Ok(());
        }
        Err(object_store::Error::Generic {
            store: "bucket",
            source: format!("{key} has {} of {} bytes", there.size, bytes.len()).into(),
        })
    }
}

fn knows_no_conditions(error: &object_store::Error) -> bool {
    let text = error.to_string();
    matches!(error, object_store::Error::NotImplemented { .. })
        || text.contains("NotImplemented")
        || text.contains("501 ")
}

impl Mailbox for Bucket {
    fn put(&self, name: &str, from: &Path) -> Result<()> {
        let key = self.key(name)?;
        let bytes = std::fs::read(from).map_err(Error::io("read", from))?;
        let bytes = bytes::Bytes::from(bytes);
        let put = self.runtime.block_on(self.create(&key, &bytes));
        put.map_err(|error| self.said(&error))
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let key = self.key(name)?;
        let put = self.store.put(&key, bytes.to_vec().into());
        let put = self.runtime.block_on(put);
        put.map(drop).map_err(|error| self.said(&error))
    }

    fn remove(&self, name: &str) -> Result<()> {
        let key = self.key(name)?;
        match self.runtime.block_on(self.store.delete(&key)) {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.said(&error)),
        }
    }
}

impl Files for Bucket {
    fn list(&mut self, path: &str) -> Result<Option<Vec<(String, Stat)>>> {
        let entries = self.entries(path)?;
        Ok((!entries.is_empty()).then_some(entries))
    }

    fn stat(&mut self, path: &str) -> Result<Option<Stat>> {
        let key = self.key(path)?;
        match self.runtime.block_on(self.store.head(&key)) {
            Ok(object) => Ok(Some(stat(&object))),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.said(&error)),
        }
    }

    fn copy(
        &mut self,
        path: &str,
        begin: u64,
        end: u64,
        file: &File,
        control: &Control,
    ) -> Result<u64> {
        let key = self.key(path)?;
        let (mut at, mut version) = (begin, None);
        while at < end {
            control.check()?;
            let options = GetOptions {
                range: Some(GetRange::Bounded(at..end.min(at + PIECE))),
                // All pieces are of one version.
                if_match: version.take(),
                ..GetOptions::default()
            };
            let got = self.runtime.block_on(async {
                let got = self.store.get_opts(&key, options).await?;
                let version = got.meta.e_tag.clone();
                Ok((got.bytes().await?, version))
            });
            let (piece, of) = match got {
                Ok(got) => got,
                Err(object_store::Error::NotFound { .. }) => {
                    return Err(Error::Refused(format!("{}/{key} is not there", self.name)));
                }
                // Replaced meanwhile: what is copied so far is not a file.
                Err(object_store::Error::Precondition { .. }) => break,
                Err(error) => return Err(self.said(&error)),
            };
            file.write_all_at(&piece, at)
                .map_err(|error| Error::Refused(format!("the cache is full: {error}")))?;
            if piece.is_empty() {
                break;
            }
            (at, version) = (at + piece.len() as u64, of);
        }
        Ok(at - begin)
    }
}

fn stat(object: &object_store::ObjectMeta) -> Stat {
    Stat {
        bytes: object.size,
        modified: u32::try_from(object.last_modified.timestamp()).unwrap_or_default(),
        is_folder: false,
    }
}

fn said(name: &str, error: &object_store::Error) -> Error {
    Error::Refused(format!("{name}: {}", reason(error)))
}

/// What went wrong, in one line. Requests are signed, so no text of theirs has a secret in it; what
/// follows a URL's question mark may be a signature.
fn reason(error: &object_store::Error) -> String {
    match error {
        object_store::Error::PermissionDenied { .. } => NOT_ALLOWED.to_owned(),
        object_store::Error::Unauthenticated { .. } => REFUSED.to_owned(),
        object_store::Error::NotFound { .. } => "there is no such bucket".to_owned(),
        other => {
            // The innermost reason says most.
            let mut inner: &dyn std::error::Error = other;
            while let Some(source) = inner.source() {
                inner = source;
            }
            let text = inner.to_string();
            let part = |name: &str| {
                let rest = text.split_once(&format!("<{name}>"))?.1;
                Some(rest.split_once("</")?.0.to_owned())
            };
            let code = part("Code");
            match code.as_deref() {
                Some(
                    "AuthenticationFailed"
                    | "AuthorizationFailure"
                    | "InvalidAccessKeyId"
                    | "InvalidAuthenticationInfo"
                    | "SignatureDoesNotMatch",
                ) => return REFUSED.to_owned(),
                Some("AccessDenied" | "AuthorizationPermissionMismatch") => {
                    return NOT_ALLOWED.to_owned();
                }
                _ => {}
            }
            let text = match (code, part("Message")) {
                (Some(code), Some(message)) => format!("{message} ({code})"),
                _ => text,
            };
            let words = text.split_whitespace().map(stripped);
            let line = words.collect::<Vec<_>>().join(" ");
            line.chars().take(SAID).collect()
        }
    }
}
