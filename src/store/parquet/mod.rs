//! One Parquet file, open for reading over the store's disk.
//!
//! Promises: only a file whose footer is whole and agrees with the file's size
//! opens; what a torn or hostile file holds becomes an error, never a panic and
//! never an absurd allocation; strings come out plain (no dictionaries, views or
//! large offsets), so that a dictionary's key type can't overflow.

pub(crate) mod filter;
pub(crate) mod prune;
pub(crate) mod row_group_copy;
pub mod table;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, RowSelection};
use parquet::errors::ParquetError;
use parquet::file::metadata::page_index::PageIndexProvider;
use parquet::file::metadata::{
    PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData,
};
use parquet::file::reader::ChunkReader;

use super::disk::{Disk, ReadFile, Stat};
use super::error::{Error, Result, is_exhaustion};

pub use batches::Batches;
use batches::Wanted;
use footer::Footer;
pub use ids::Ids;
use pages::{Meter, Pages};
use source::{Memory, Source};

/// Rows a batch.
pub const BATCH_ROWS: usize = 8_192;

/// The shortest valid file: magic, empty footer, length, magic.
const SHORTEST: u64 = 12;

/// Why a file did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The operating system refused (not found, permission, not a regular file).
    #[error("{0}")]
    Io(#[from] io::Error),
    /// No byte in it.
    #[error("the file is empty")]
    Empty,
    /// No valid footer: in progress while fresh, unreadable later. The reason.
    #[error("{0}")]
    NoFooter(String),
}

impl OpenError {
    /// As an error of the store about `path`.
    pub fn at(self, path: impl Into<PathBuf>) -> Error {
        let path = path.into();
        match self {
            Self::Io(source) => Error::Io {
                action: "read",
                path,
                source,
            },
            other => Error::unreadable(path, other.to_string()),
        }
    }
}

/// A Parquet file with a valid footer, open for reading.
#[derive(Debug, Clone)]
pub struct ParquetFile {
    path: PathBuf,
    source: Source,
    stat: Stat,
    rows: u64,
    /// Rows that a batch may have at the most.
    batch_rows: usize,
    footer: Arc<ParquetMetaData>,
    /// Columns as they are read.
    schema: SchemaRef,
    /// Columns as they are stored.
    stored: SchemaRef,
    /// Where rows may bring no id.
    ids: Option<Arc<dyn Ids>>,
}

impl ParquetFile {
    /// Opens the file and reads its footer.
    pub fn open(disk: &dyn Disk, path: &Path) -> Result<Self, OpenError> {
        let file = disk.open(path)?;
        let stat = file.stat()?;
        if stat.bytes == 0 {
            return Err(OpenError::Empty);
        }
        if stat.bytes < SHORTEST {
            return Err(OpenError::NoFooter("it is too short for a footer".into()));
        }
        let mut source = Source::of(file, stat.bytes);
        let footer = guarded(|| footer::load(&source)).map_err(|error| match error {
            ParquetError::External(inner) => match inner.downcast::<io::Error>() {
                Ok(error) if error.kind() != io::ErrorKind::UnexpectedEof => OpenError::Io(*error),
                Ok(error) => OpenError::NoFooter(error.to_string()),
                Err(other) => OpenError::NoFooter(other.to_string()),
            },
            other => OpenError::NoFooter(plain(&other)),
        })?;
        let Footer {
            metadata: footer,
            schema,
        } = footer;
        let rows = footer::check(&footer, stat.bytes).map_err(OpenError::NoFooter)?;
        let batch_rows = footer::check_widths(&schema).map_err(OpenError::NoFooter)?;
        source.opened();
        let mut file = Self {
            path: path.to_path_buf(),
            source,
            stat,
            rows,
            batch_rows,
            footer,
            stored: schema.clone(),
            schema,
            ids: None,
        };
        file.schema = ranges::known(&file);
        file.stored = Arc::clone(&file.schema);
        Ok(file)
    }

    /// The same file, whose rows all have ids when they are read.
    pub(crate) fn with_ids(&self, ids: Option<Arc<dyn Ids>>) -> Self {
        let schema = match &ids {
            Some(_) => ids::with_ids(&self.stored),
            None => self.stored.clone(),
        };
        Self {
            schema,
            ids,
            ..self.clone()
        }
    }

    /// What gives its rows ids.
    pub(crate) fn ids(&self) -> Option<&Arc<dyn Ids>> {
        self.ids.as_ref()
    }

    /// Whether some of its rows bring no id.
    pub(crate) fn lacks_ids(&self) -> Result<bool> {
        let lacking = |ids: &Arc<dyn Ids>| ids.lacking(&self.as_stored());
        self.ids.as_ref().map_or(Ok(false), lacking)
    }

    /// The same file as it is stored.
    pub(crate) fn as_stored(&self) -> Self {
        self.with_ids(None)
    }

    /// The path that it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file as it was when it was opened.
    pub fn stat(&self) -> Stat {
        self.stat
    }

    /// The file as it is now: the open inode, whatever its name is now.
    pub fn stat_now(&self) -> Result<Stat> {
        self.source
            .file
            .stat()
            .map_err(Error::io("read", &self.path))
    }

    /// An error when the file is no longer what it was when it was opened: what was
    /// read of it since may be neither the old content nor the new.
    pub fn check_unchanged(&self) -> Result<()> {
        let now = self.stat_now()?;
        if (now.bytes, now.modified_ns) == (self.stat.bytes, self.stat.modified_ns) {
            return Ok(());
        }
        Err(Error::Changed {
            path: self.path.clone(),
        })
    }

    /// What reading it came to. An error says nothing when it was rewritten meanwhile.
    pub fn changed_or<T>(&self, read: Result<T>) -> Result<T> {
        read.or_else(|error| self.check_unchanged().and(Err(error)))
    }

    /// The same file with its bytes in memory, whole: whoever rewrites it in place
    /// from now on does not disturb its readers.
    pub fn into_memory(self) -> Result<Self> {
        let length = usize::try_from(self.stat.bytes).unwrap_or(usize::MAX);
        let bytes = self.source.get_bytes(0, length);
        self.check_unchanged()?;
        let bytes = bytes.map_err(|error| refused(&self.path, &error))?;
        let source = Source::in_memory(Memory {
            bytes,
            stat: self.stat,
        });
        Ok(Self { source, ..self })
    }

    /// Rows, by the footer.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Columns, strings as plain UTF-8; those of numbers and times say which types hold
    /// their values ([`crate::store::format::schema::Range`]).
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The footer.
    pub fn metadata(&self) -> &Arc<ParquetMetaData> {
        &self.footer
    }

    /// Where the pages of each column are and what they hold; `None` where the file
    /// does not say.
    pub fn page_index(&self) -> Result<Option<Arc<dyn PageIndexProvider>>> {
        let read = || {
            let footer = ParquetMetaData::clone(self.metadata());
            let mut reader = ParquetMetaDataReader::new_with_metadata(footer)
                .with_page_index_policy(PageIndexPolicy::Optional);
            reader.read_page_indexes(&self.source)?;
            reader.finish()
        };
        let footer = guarded(read).map_err(|error| refused(&self.path, &error))?;
        Ok(footer.page_index().cloned())
    }

    /// The same file with its page index, so that pages are skipped unread; as it is
    /// where there is none that can be read.
    pub(crate) fn with_page_index(&self) -> Self {
        let read = || {
            let footer = ParquetMetaData::clone(self.metadata());
            let mut reader = ParquetMetaDataReader::new_with_metadata(footer)
                .with_page_index_policy(PageIndexPolicy::Optional);
            reader.read_page_indexes(&self.source)?;
            self.as_schema(reader.finish()?.into(), self.stored.clone())
        };
        guarded(read).unwrap_or_else(|_| self.clone())
    }

    /// The same file with some text columns as dictionaries, which are cheap to search.
    pub(crate) fn with_dictionaries(&self, names: &[&str]) -> Self {
        let keyed = |field: &Arc<Field>| {
            if *field.data_type() == DataType::Utf8 && names.contains(&field.name().as_str()) {
                let keys =
                    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
                return Arc::new(field.as_ref().clone().with_data_type(keys));
            }
            Arc::clone(field)
        };
        let fields: Vec<_> = self.stored.fields().iter().map(keyed).collect();
        let schema = Schema::new_with_metadata(fields, self.stored.metadata().clone());
        let footer = || self.as_schema(self.metadata().clone(), schema.into());
        guarded(footer).unwrap_or_else(|_| self.clone())
    }

    /// Of some text columns those that are dictionaries in the file, in every row group.
    pub(crate) fn keyed<'a>(&self, names: &[&'a str]) -> Vec<&'a str> {
        let roots = self
            .footer
            .file_metadata()
            .schema_descr()
            .root_schema()
            .get_fields();
        let keyed = |name: &&&str| {
            let Some(at) = roots.iter().position(|root| root.name() == **name) else {
                return false;
            };
            // Where a column has parts, it is not text.
            let flat = roots.iter().take(at + 1).all(|root| root.is_primitive());
            let chunk =
                |group: &RowGroupMetaData| group.columns().get(at)?.dictionary_page_offset();
            flat && self
                .footer
                .row_groups()
                .iter()
                .all(|group| chunk(group).is_some())
        };
        names.iter().filter(keyed).copied().collect()
    }

    /// The same file with columns as another one that has the same is read.
    pub(crate) fn read_as(&self, stored: &SchemaRef) -> Self {
        Self {
            stored: Arc::clone(stored),
            ..self.clone()
        }
        .with_ids(self.ids.clone())
    }

    /// The columns that it is stored with.
    pub(crate) fn stored(&self) -> &SchemaRef {
        &self.stored
    }

    fn as_schema(
        &self,
        footer: Arc<ParquetMetaData>,
        schema: SchemaRef,
    ) -> Result<Self, ParquetError> {
        let options = ArrowReaderOptions::new().with_schema(schema);
        let schema = ArrowReaderMetadata::try_new(footer.clone(), options)?
            .schema()
            .clone();
        let stored = Self {
            footer,
            stored: schema,
            ..self.clone()
        };
        Ok(stored.with_ids(self.ids.clone()))
    }

    /// The bytes.
    pub fn raw(&self) -> &dyn ReadFile {
        &*self.source.file
    }

    /// Whether evaltop wrote it. Others may have taken over its key-value metadata.
    pub fn is_ours(&self) -> bool {
        self.metadata()
            .file_metadata()
            .created_by()
            .is_some_and(|by| by.starts_with(self::row_group_copy::CREATED_BY))
    }

    /// A value of the footer's key-value metadata.
    pub fn key_value(&self, name: &str) -> Option<&str> {
        let pairs = self.metadata().file_metadata().key_value_metadata()?;
        pairs
            .iter()
            .rev()
            .find(|pair| pair.key == name)?
            .value
            .as_deref()
    }

    /// Whether the file has a column of that name.
    pub fn has_column(&self, name: &str) -> bool {
        self.schema().column_with_name(name).is_some()
    }

    /// All rows but the first `skip`, batch by batch, in the file's order. Of the
    /// named columns those that the file has, in the file's order; `None` for all.
    pub fn batches(&self, columns: Option<&[&str]>, skip: u64) -> Result<Batches> {
        Batches::new(self, columns, self.all_groups(), Wanted::After(skip))
    }

    /// The rows of some row groups only, in that order.
    pub fn row_groups(&self, columns: Option<&[&str]>, groups: Vec<usize>) -> Result<Batches> {
        Batches::new(self, columns, groups, Wanted::After(0))
    }

    /// Some rows of one row group.
    pub(crate) fn selected(
        &self,
        columns: Option<&[&str]>,
        group: usize,
        rows: RowSelection,
    ) -> Result<Batches> {
        Batches::new(self, columns, vec![group], Wanted::Selected(rows))
    }

    /// Only the rows at these positions (ascending, without repetition).
    pub fn rows_at(&self, columns: Option<&[&str]>, positions: &[u64]) -> Result<Batches> {
        Batches::new(
            self,
            columns,
            self.all_groups(),
            Wanted::At(positions.to_vec()),
        )
    }

    /// Unpacks every page, without decoding what it holds: wrong checksums and torn pages
    /// show themselves. Calls `each` for every row group.
    pub fn check_pages(&self, mut each: impl FnMut() -> Result<()>) -> Result<()> {
        for group in self.all_groups() {
            each()?;
            guarded(|| Pages::of(self, vec![group], Arc::new(Meter::of_pages())).unpack())
                .map_err(|error| refused(&self.path, &error))?;
        }
        Ok(())
    }

    fn all_groups(&self) -> Vec<usize> {
        (0..self.metadata().num_row_groups()).collect()
    }
}

/// Runs a decoder. It should return errors for bad bytes; where one asserts
/// instead, the panic ends here.
fn guarded<T>(decode: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, ParquetError> {
    let quiet = QUIET.replace(true);
    let result = catch_unwind(AssertUnwindSafe(decode));
    QUIET.set(quiet);
    result.unwrap_or_else(|panic| {
        Err(if is_want_of_memory(&*panic) {
            ParquetError::External(Box::new(io::Error::from(io::ErrorKind::OutOfMemory)))
        } else {
            ParquetError::General("its pages contradict its footer".into())
        })
    })
}

/// The codecs are C, and are given no memory without our hearing of it: zstd's wrapper asserts
/// that it got some.
fn is_want_of_memory(panic: &(dyn std::any::Any + Send)) -> bool {
    let said = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied());
    said.is_some_and(|said| said.contains("zstd returned null pointer"))
}

/// An error of reading as one of the store: damage, unless files or memory ran out, which
/// says nothing about the file.
fn refused(path: &Path, error: &ParquetError) -> Error {
    if let ParquetError::External(inner) = error
        && let Some(source) = inner.downcast_ref::<io::Error>()
        && is_exhaustion(source)
    {
        return match source.kind() {
            io::ErrorKind::OutOfMemory => Error::no_memory(),
            kind => Error::io("read", path)(
                source
                    .raw_os_error()
                    .map_or_else(|| io::Error::from(kind), io::Error::from_raw_os_error),
            ),
        };
    }
    let said = plain(error);
    // As zstd says it.
    if said.contains("not enough memory") {
        return Error::no_memory();
    }
    Error::unreadable(path, said)
}

thread_local! {
    static QUIET: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Whether this thread is inside a decoder whose panics are caught: a panic hook
/// should stay silent and leave the terminal alone then.
pub fn panics_are_caught() -> bool {
    QUIET.get()
}

/// Keeps panics that are caught here out of the program's output.
pub fn silence_caught_panics() {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !panics_are_caught() {
            hook(info);
        }
    }));
}

/// The message without the library's "Parquet error: " in front.
fn plain(error: &ParquetError) -> String {
    match error {
        ParquetError::General(text) | ParquetError::EOF(text) | ParquetError::ArrowError(text) => {
            text.clone()
        }
        other => other.to_string(),
    }
}

mod batches;
mod delta;
mod footer;
mod ids;
mod nesting;
mod pages;
mod ranges;
mod source;

#[cfg(test)]
mod tests;
