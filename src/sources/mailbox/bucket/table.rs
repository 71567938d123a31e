//! A bucket in which a Delta table is.

use std::fs::File;
use std::io::{Read, Seek};
use std::time::Duration;

use object_store::{Error as Failure, ObjectStoreExt as _, PutMode, UpdateVersion};

use super::Bucket;
use crate::formats::delta::{Place, belongs_to_a_store};
use crate::sources::remote::Files;
use crate::store::format::layout::MAIN;
use crate::store::{Control, Error, Result};

/// An object that is there once a table was written, to see whether the server keeps conditions.
const CONDITIONS: &str = "_evaltop/conditions";
/// So often a request is made that fails without an answer.
const TRIES: u32 = 4;

/// A place for tables.
pub(in super::super) struct Table(Bucket);

impl Table {
    /// The bucket must make an object only where there is none: that is what keeps a table whole
    /// when several programs write it.
    pub(in super::super) fn open(mut bucket: Bucket) -> Result<Self> {
        let name = bucket.whole_name();
        if bucket.list("incremental")?.is_some() || bucket.stat(MAIN)?.is_some() {
            return Err(belongs_to_a_store(&name));
        }
        let table = Self(bucket);
        // Made by the first of these two, if it was not there.
        if table.make(CONDITIONS, b"evaltop")? && table.make(CONDITIONS, b"evaltop")? {
            return Err(Error::Refused(format!(
                "{name}: this server has no conditional writes, without which two programs could \
                 spoil a table: export into a folder, and copy that, _delta_log last"
            )));
        }
        Ok(table)
    }

    /// Makes an object; `false` where there is one, whatever is in it.
    fn make(&self, path: &str, bytes: &[u8]) -> Result<bool> {
        match self.put(path, bytes, &PutMode::Create) {
            Ok(()) => Ok(true),
            Err(Failure::AlreadyExists { .. }) => Ok(false),
            Err(error) => Err(self.0.said(&error)),
        }
    }

    fn put(&self, path: &str, bytes: &[u8], mode: &PutMode) -> object_store::Result<()> {
        let key = self.0.key(path).map_err(|error| Failure::Generic {
            store: "bucket",
            source: error.to_string().into(),
        })?;
        let bytes = bytes::Bytes::copy_from_slice(bytes);
        let mut tries = 0;
        loop {
            let put = self
                .0
                .store
                .put_opts(&key, bytes.clone().into(), mode.clone().into());
            match self.0.runtime.block_on(put) {
                // The answer was lost perhaps, and the object is there.
                Err(Failure::Generic { .. }) if tries < TRIES => {
                    std::thread::sleep(Duration::from_millis(100 << tries));
                    tries += 1;
                }
                put => return put.map(drop),
            }
        }
    }

    /// An object with its version.
    fn get(&self, path: &str) -> Result<Option<(Vec<u8>, UpdateVersion)>> {
        let key = self.0.key(path)?;
        let got = self.0.runtime.block_on(async {
            let got = self.0.store.get(&key).await?;
            let version = UpdateVersion {
                e_tag: got.meta.e_tag.clone(),
                version: got.meta.version.clone(),
            };
            Ok((got.bytes().await?.to_vec(), version))
        });
        match got {
            Ok(got) => Ok(Some(got)),
            Err(Failure::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.0.said(&error)),
        }
    }
}

impl Place for Table {
    fn name(&self) -> String {
        self.0.whole_name()
    }

    fn list(&self, folder: &str) -> Result<Vec<String>> {
        let entries = self.0.entries(folder)?;
        Ok(entries.into_iter().map(|(name, _)| name).collect())
    }

    fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.get(path)?.map(|(bytes, _)| bytes))
    }

    fn create(&self, path: &str, bytes: &[u8]) -> Result<bool> {
        if self.make(path, bytes)? {
            return Ok(true);
        }
        // Made by an earlier try whose answer was lost, or by another program.
        Ok(self.read(path)?.is_some_and(|there| there == bytes))
    }

    fn replace(
        &self,
        path: &str,
        bytes: &[u8],
        stays: &dyn Fn(&[u8]) -> bool,
        control: &Control,
    ) -> Result<()> {
        for _ in 0..TRIES {
            control.check()?;
            let mode = match self.get(path)? {
                Some((there, _)) if stays(&there) => return Ok(()),
                Some((_, version)) => PutMode::Update(version),
                None => PutMode::Create,
            };
            match self.put(path, bytes, &mode) {
                // Somebody else was quicker: look again.
                Err(Failure::Precondition { .. } | Failure::AlreadyExists { .. }) => {}
                put => return put.map_err(|error| self.0.said(&error)),
            }
        }
        // Others wrote it again and again, the last of them what is true now.
        Ok(())
    }

    // Without a name: of a process that is killed nothing stays.
    fn stage(&self, _name: &str) -> Result<File> {
        tempfile::tempfile().map_err(Error::io("create", &std::env::temp_dir()))
    }

    fn publish(&self, name: &str, mut staged: File) -> Result<()> {
        let mut bytes = Vec::new();
        staged
            .rewind()
            .and_then(|()| staged.read_to_end(&mut bytes))
            .map_err(Error::io("read", &std::env::temp_dir()))?;
        if self.create(name, &bytes)? {
            return Ok(());
        }
        Err(Error::Refused(format!(
            "{}/{name} is there already",
            self.name()
        )))
    }
}
