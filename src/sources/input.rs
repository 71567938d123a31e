//! What the paths of a command line name: files, folders, patterns, standard input, and what
//! is compressed. Each becomes files that can be read twice.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;
use zip::ZipArchive;

use super::detect::{self, Kind};
use super::{Options, counts, inspect};
use crate::config::show_size;
use crate::store::format::layout::{self, IncrementalName, Layout};
use crate::store::{Error, Result};

/// Bytes that are unpacked of one file: a small archive can hold any number of them.
const MOST_UNPACKED: u64 = 32 << 30;

/// A file to import.
#[derive(Debug, Clone)]
pub struct Input {
    /// Where it can be read.
    pub path: PathBuf,
    /// How people know it: its path, `-`, or `archive.zip/inside.jsonl`.
    pub name: PathBuf,
    /// It was named itself, rather than found in a folder.
    pub named: bool,
    /// What must stay until it is read.
    _unpacked: Option<Arc<TempDir>>,
}

impl Input {
    /// The options for this file: what is unpacked goes by the name that people know.
    pub fn options(&self, options: &Options) -> Options {
        let mut options = options.clone();
        if self.path != self.name {
            options.name = Some(self.name.clone());
            let source = std::path::absolute(&self.name).unwrap_or_else(|_| self.name.clone());
            options
                .source
                .get_or_insert_with(|| source.display().to_string());
        }
        options
    }
}

/// What some paths name.
#[derive(Debug, Default)]
pub struct Inputs {
    /// The files, in order.
    pub files: Vec<Input>,
    /// Files of folders that are nothing to import.
    pub others: Vec<PathBuf>,
    /// Stores inside folders: their rows are results already, and their backups older ones.
    pub stores: Vec<PathBuf>,
}

/// Files inside one folder, at most; folders inside each other.
const DEEPEST: usize = 32;

/// Finds the files.
///
/// # Errors
/// A path that names nothing, or can't be read.
pub fn find(paths: &[PathBuf]) -> Result<Inputs> {
    let mut inputs = Inputs::default();
    for path in paths {
        if path.as_os_str() == "-" {
            inputs.standard_input()?;
            continue;
        }
        match std::fs::metadata(path) {
            Ok(meta) if meta.is_dir() => inputs.folder(path, 0)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let found = matching(path)?;
                if found.is_empty() {
                    return Err(Error::io("read", path)(error));
                }
                for path in found {
                    if path.is_dir() {
                        inputs.folder(&path, 0)?;
                    } else {
                        inputs.file(&path, &path, None)?;
                    }
                }
            }
            _ => inputs.file(path, path, None)?,
        }
    }
    Ok(inputs)
}

/// What a file of a folder is, where it shows that; nothing otherwise.
pub fn inside(path: &Path) -> Inputs {
    let mut inputs = Inputs::default();
    inputs.found(path, path, None);
    inputs
}

/// The files below a folder that are not hidden, in order; what can't be read is passed over.
pub fn below(folder: &Path) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    let _ = all(folder, &mut paths, 0);
    paths
}

/// Whether there are results below a folder, or will be, among its first files.
pub fn holds_data(folder: &Path) -> bool {
    /// A folder of something else may have a million files.
    const SCANNED: usize = 200;
    // A log of Inspect that has just begun is not a whole archive yet, and known by its name alone.
    let begun = |path: &Path| path.extension().is_some_and(|ending| ending == "eval");
    let paths = below(folder);
    paths
        .iter()
        .take(SCANNED)
        .any(|path| begun(path) || !inside(path).files.is_empty())
}

/// The files that a pattern names.
pub(crate) fn matching(path: &Path) -> Result<Vec<PathBuf>> {
    let pattern = path.to_string_lossy();
    if !pattern.contains(['*', '?', '[']) {
        return Ok(Vec::new());
    }
    let wrong = |why: &dyn std::fmt::Display| Error::Refused(format!("'{pattern}': {why}"));
    let found = glob::glob(&pattern).map_err(|error| wrong(&error))?;
    found
        .map(|path| path.map_err(|error| wrong(&error)))
        .collect()
}

/// The entries of a folder that are not hidden, in order.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let read = std::fs::read_dir(folder).map_err(Error::io("read", folder))?;
    let mut paths = Vec::new();
    for entry in read {
        let entry = entry.map_err(Error::io("read", folder))?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

impl Inputs {
    fn folder(&mut self, folder: &Path, depth: usize) -> Result<()> {
        for path in entries(folder)? {
            let Ok(meta) = std::fs::metadata(&path) else {
                continue;
            };
            if meta.is_dir() && is_store(&path) {
                self.stores.push(path);
            } else if meta.is_dir() && depth < DEEPEST {
                self.folder(&path, depth + 1)?;
            } else if meta.is_file() {
                self.found(&path, &path, None);
            }
        }
        Ok(())
    }

    /// A file that was found in a folder: taken only where it shows what it is.
    fn found(&mut self, path: &Path, name: &Path, unpacked: Option<&Arc<TempDir>>) {
        match packed(path) {
            Ok(Some(_)) if self.unpack(path, name, false).is_ok() => {}
            Ok(None) if is_data(path) => self.files.push(Input {
                path: path.to_path_buf(),
                name: name.to_path_buf(),
                named: false,
                _unpacked: unpacked.cloned(),
            }),
            _ => self.others.push(name.to_path_buf()),
        }
    }

    fn file(&mut self, path: &Path, name: &Path, unpacked: Option<&Arc<TempDir>>) -> Result<()> {
        let regular = std::fs::metadata(path).is_ok_and(|meta| meta.is_file());
        if regular && packed(path)?.is_some() {
            return self.unpack(path, name, true);
        }
        self.files.push(Input {
            path: path.to_path_buf(),
            name: name.to_path_buf(),
            named: true,
            _unpacked: unpacked.cloned(),
        });
        Ok(())
    }

    fn standard_input(&mut self) -> Result<()> {
        let (folder, path) = room("stdin")?;
        let name = Path::new("-");
        copy(&mut io::stdin().lock(), &path, name)?;
        self.file(&path, name, Some(&folder))
    }

    /// Unpacks a file, and what is packed in it.
    fn unpack(&mut self, path: &Path, name: &Path, named: bool) -> Result<()> {
        let open = || File::open(path).map_err(Error::io("read", path));
        let damaged = |error: &dyn std::fmt::Display| {
            Error::Refused(format!("{} can't be unpacked: {error}", name.display()))
        };
        let inner = name
            .file_stem()
            .map_or_else(|| "file".into(), |stem| stem.to_string_lossy().into_owned());
        let (folder, target) = room(&inner)?;
        match packed(path)? {
            Some(Packing::Gzip) => {
                let mut reader = flate2::read::MultiGzDecoder::new(BufReader::new(open()?));
                copy(&mut reader, &target, name).map_err(|error| damaged(&error))?;
            }
            Some(Packing::Zstandard) => {
                let mut reader =
                    zstd::stream::read::Decoder::new(open()?).map_err(|error| damaged(&error))?;
                copy(&mut reader, &target, name).map_err(|error| damaged(&error))?;
            }
            Some(Packing::Zip) => {
                let mut zip =
                    ZipArchive::new(BufReader::new(open()?)).map_err(|error| damaged(&error))?;
                let mut left = MOST_UNPACKED;
                for at in 0..zip.len() {
                    let mut part = zip.by_index(at).map_err(|error| damaged(&error))?;
                    let Some(inside) = part.enclosed_name().filter(|_| part.is_file()) else {
                        continue;
                    };
                    let target = folder.path().join("zip").join(&inside);
                    if let Some(parent) = target.parent() {
                        std::fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
                    }
                    let copied = copy_at_most(&mut part, &target, name, left);
                    left -= copied.map_err(|error| damaged(&error))?;
                }
                let root = folder.path().join("zip");
                let before = self.files.len();
                let mut paths = Vec::new();
                all(&root, &mut paths, 0)?;
                for path in paths {
                    let inside = path.strip_prefix(&root).unwrap_or(&path);
                    let name = name.join(inside);
                    let hidden = inside
                        .iter()
                        .any(|part| part.as_encoded_bytes().starts_with(b"."));
                    if !hidden {
                        self.found(&path, &name, Some(&folder));
                    }
                }
                if named && self.files.len() == before {
                    return Err(Error::Refused(format!(
                        "{} is a ZIP archive without results in it",
                        name.display()
                    )));
                }
                return Ok(());
            }
            None => return Ok(()),
        }
        // One layer is enough: what is packed twice is nobody's log.
        if named {
            self.files.push(Input {
                path: target,
                name: name.to_path_buf(),
                named,
                _unpacked: Some(folder),
            });
        } else {
            self.found_unpacked(&target, name, &folder);
        }
        Ok(())
    }

    fn found_unpacked(&mut self, path: &Path, name: &Path, folder: &Arc<TempDir>) {
        if is_data(path) {
            self.files.push(Input {
                path: path.to_path_buf(),
                name: name.to_path_buf(),
                named: false,
                _unpacked: Some(Arc::clone(folder)),
            });
        } else {
            self.others.push(name.to_path_buf());
        }
    }
}

/// Whether a folder is a store, by files that only a store has.
fn is_store(folder: &Path) -> bool {
    let layout = Layout::new(folder);
    let increments = std::fs::read_dir(layout.incremental());
    let mut names = increments.into_iter().flatten().flatten();
    folder.join(layout::MAIN).is_file()
        || names.any(|entry| {
            matches!(
                layout::classify(&entry.file_name().to_string_lossy()),
                IncrementalName::Increment
                    | IncrementalName::LegacyIncrement
                    | IncrementalName::Journal
            )
        })
}

/// All files below a folder outside of stores.
fn all(folder: &Path, paths: &mut Vec<PathBuf>, depth: usize) -> Result<()> {
    if depth > DEEPEST || !folder.is_dir() {
        return Ok(());
    }
    for path in entries(folder)? {
        if path.is_dir() {
            if !is_store(&path) {
                all(&path, paths, depth + 1)?;
            }
        } else {
            paths.push(path);
        }
    }
    Ok(())
}

/// How a file is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packing {
    Gzip,
    Zstandard,
    Zip,
}

fn packed(path: &Path) -> Result<Option<Packing>> {
    let mut head = [0; 4];
    let mut file = File::open(path).map_err(Error::io("read", path))?;
    let read = file.read(&mut head).map_err(Error::io("read", path))?;
    Ok(match head.get(..read).unwrap_or_default() {
        [0x1f, 0x8b, ..] => Some(Packing::Gzip),
        [0x28, 0xb5, 0x2f, 0xfd] => Some(Packing::Zstandard),
        b"PK\x03\x04" if !inspect::is_log(path)? => Some(Packing::Zip),
        _ => None,
    })
}

/// Whether a file of a folder shows by its content that it is results. Any text might be
/// CSV: there the name has to say so.
fn is_data(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    match detect::detect(path) {
        Ok(Kind::Csv) => ["csv", "tsv"]
            .iter()
            .any(|end| detect::has_extension(&name, end)),
        Ok(Kind::Jsonl) => ["jsonl", "ndjson", "json"]
            .iter()
            .any(|end| detect::has_extension(&name, end)),
        // Its samples are there, and say more.
        Ok(Kind::Counts(of)) => counts::samples(path, of).is_empty(),
        // A document that no format claims is as often settings as results.
        Ok(Kind::Document) | Err(_) => false,
        Ok(_) => true,
    }
}

fn room(name: &str) -> Result<(Arc<TempDir>, PathBuf)> {
    let folder = tempfile::Builder::new().prefix("evaltop-").tempdir();
    let folder = folder.map_err(Error::io("create", std::env::temp_dir()))?;
    let path = folder.path().join(name);
    Ok((Arc::new(folder), path))
}

fn copy(reader: &mut dyn Read, target: &Path, name: &Path) -> Result<()> {
    copy_at_most(reader, target, name, MOST_UNPACKED).map(drop)
}

/// Copies at most so many bytes, and says how many there were.
fn copy_at_most(reader: &mut dyn Read, target: &Path, name: &Path, most: u64) -> Result<u64> {
    let mut file = File::create(target).map_err(Error::io("create", target))?;
    let mut buffer = vec![0; 1 << 16];
    let mut copied = 0_u64;
    loop {
        let read = match reader.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read.map_err(Error::io("read", name))?,
        };
        if read == 0 {
            return Ok(copied);
        }
        copied += read as u64;
        if copied > most {
            return Err(Error::Refused(format!(
                "more than {} are packed in it: unpack it yourself, and import the folder",
                show_size(MOST_UNPACKED)
            )));
        }
        let part = buffer.get(..read).unwrap_or_default();
        file.write_all(part).map_err(Error::io("write", target))?;
    }
}
