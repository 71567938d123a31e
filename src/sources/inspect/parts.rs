//! The parts of an `.eval` log, a ZIP archive, in their order. Of a log that was torn
//! off, and so lacks the archive's table of contents, the parts that are complete.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use zip::ZipArchive;
use zip::read::read_zipfile_from_stream;

use crate::sources::detect;
use crate::store::{Error, Result};

/// The parts of an archive, one after the other.
pub(crate) struct Parts {
    path: PathBuf,
    archive: Archive,
    /// Compressed bytes of the parts that were given.
    pub(crate) read: u64,
}

enum Archive {
    Whole {
        zip: Box<ZipArchive<BufReader<File>>>,
        next: usize,
    },
    Torn(BufReader<File>),
}

impl Parts {
    /// Opens the archive.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let open = || detect::open(path).map(BufReader::new);
        let archive = match ZipArchive::new(open()?) {
            Ok(zip) => Archive::Whole {
                zip: Box::new(zip),
                next: 0,
            },
            Err(_) => Archive::Torn(open()?),
        };
        Ok(Self {
            path: path.to_path_buf(),
            archive,
            read: 0,
        })
    }

    /// Whether the table of contents is missing.
    pub(crate) fn torn(&self) -> bool {
        matches!(self.archive, Archive::Torn(_))
    }

    /// The next part whose name is `wanted`, as `read` makes it of the part; `None`
    /// after the last.
    pub(crate) fn next<T>(
        &mut self,
        wanted: impl Fn(&str) -> bool,
        read: impl Fn(&str, &mut dyn Read) -> Result<T>,
    ) -> Result<Option<T>> {
        let refused = |error: zip::result::ZipError| {
            Error::Refused(format!(
                "{} is a damaged archive ({error}); nothing was imported from this file",
                self.path.display()
            ))
        };
        match &mut self.archive {
            Archive::Whole { zip, next } => {
                while *next < zip.len() {
                    let mut part = zip.by_index(*next).map_err(refused)?;
                    *next += 1;
                    self.read += part.compressed_size();
                    let name = part.name().map_err(refused)?.into_owned();
                    if wanted(&name) {
                        return read(&name, &mut part).map(Some);
                    }
                }
                Ok(None)
            }
            Archive::Torn(reader) => {
                // The part in which the file ends can't be read: that is the end.
                while let Ok(Some(mut part)) = read_zipfile_from_stream(reader) {
                    self.read += part.compressed_size();
                    let name = part.name().map_err(refused)?.into_owned();
                    let mut bytes = Vec::new();
                    if part.read_to_end(&mut bytes).is_err() {
                        break;
                    }
                    if wanted(&name) {
                        return read(&name, &mut bytes.as_slice()).map(Some);
                    }
                }
                Ok(None)
            }
        }
    }
}
