//! Increments read into digests: each file is opened once, for its footer and its rows.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use jiff::Timestamp;

use super::footer_cache::{Footer, Opened, open};
use crate::store::aggregate::increment_digest::IncrementDigest;
use crate::store::aggregate::{Columns, Digest, Keep, Naive, Place, Reading};
use crate::store::disk::Stat;
use crate::store::error::{Error, Result};
use crate::store::format::layout::process_id;
use crate::store::format::row_kind::{Shape, shape};
use crate::store::format::schema::{TIMESTAMP_TEXT, project};
use crate::store::identity::Namer;
use crate::store::parquet::ParquetFile;
use crate::store::write::increment::JournalPart;
use crate::store::{Control, Store, threads};

/// From so many files on they are read by threads, and digested together.
pub(crate) const MANY: usize = 64;
/// Rows that are digested together before others look at them.
const ROWS: u64 = 131_072;

/// A scan of a store, as far as reading needs to know of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look<'a> {
    pub(crate) store: &'a Store,
    pub(crate) namer: &'a Namer,
    pub(crate) now: Timestamp,
    pub(crate) control: &'a Control,
}

/// A file to read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unread<'a> {
    pub(crate) name: &'a str,
    pub(crate) stat: &'a Stat,
    /// Rows at its beginning that main has.
    pub(crate) skip: u64,
}

/// What reading one file reported next to its digest.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) source: u32,
    pub(crate) rows: u64,
    /// The oldest row, microseconds since the epoch.
    pub(crate) oldest: Option<i64>,
    /// Those whose time names no zone.
    pub(crate) naive: Naive,
}

/// Files that were digested together; a file is reported by its place among those to read.
#[derive(Debug, Default)]
pub(crate) struct Part {
    pub(crate) files: Vec<(usize, Read)>,
    /// What the footers say, also of files whose rows were not read.
    pub(crate) footers: Vec<(usize, Footer)>,
    pub(crate) places: Vec<Place>,
    pub(crate) digest: Digest,
    /// Whether the digest is of many files.
    pub(crate) together: bool,
}

impl Part {
    /// The numbers of its files.
    pub(crate) fn sources(&self) -> HashSet<u32> {
        self.files.iter().map(|(_, read)| read.source).collect()
    }

    /// Takes in a file. One that can't be read is left out: whoever asks for it by itself is
    /// reported why.
    fn take(
        &mut self,
        look: Look<'_>,
        unread: &[Unread<'_>],
        at: usize,
        source: u32,
        plan: &mut Plan,
    ) {
        let Some(file) = unread.get(at) else { return };
        let opened = match open(look.store, file.name, file.stat, look.namer) {
            Ok(Opened::File(opened)) => opened,
            Ok(Opened::Footer(footer)) => return self.footers.push((at, footer)),
            Err(_) => return,
        };
        let schema = Arc::clone(opened.schema());
        let readable = opened.rows() > 0 && shape(&schema) == Shape::Records;
        self.footers.push((
            at,
            Footer::Good {
                rows: opened.rows(),
                skip: file.skip,
                schema,
                ids: opened.ids().cloned(),
                journal: JournalPart::of(&opened),
            },
        ));
        if !readable {
            return;
        }
        let before = self.digest.rows();
        match rows(look, file, &opened, source, plan, &mut self.digest) {
            Ok(read) => self.files.push((at, read)),
            // None of its rows is in the digest.
            Err(_) if self.digest.rows() == before => {}
            Err(_) => self.begin_again(look, unread, plan),
        }
    }

    /// Some rows of a file that can't be read are in the digest: reads the others once more.
    fn begin_again(&mut self, look: Look<'_>, unread: &[Unread<'_>], plan: &mut Plan) {
        let mut good: Vec<(usize, u32)> = self
            .files
            .drain(..)
            .map(|(at, read)| (at, read.source))
            .collect();
        'again: loop {
            (self.files, self.digest) = (Vec::new(), Digest::default());
            for (position, (at, source)) in good.iter().enumerate() {
                let Some(file) = unread.get(*at) else {
                    continue;
                };
                let Ok(read) = read(look, file, *source, plan, &mut self.digest) else {
                    good.remove(position);
                    continue 'again;
                };
                self.files.push((*at, read));
            }
            return;
        }
    }

    fn settle(mut self) -> Self {
        self.places = std::mem::take(&mut self.digest.places);
        self.places.sort_unstable();
        self
    }
}

/// Reads files, numbered from `first` on: where there are many, on all cores and many into
/// one digest, else each into one of its own.
pub(crate) fn read_all(look: Look<'_>, files: &[Unread<'_>], first: u32) -> Vec<Part> {
    let together = files.len() >= MANY;
    let next = AtomicUsize::new(0);
    let parts = Mutex::new(Vec::new());
    let work = || {
        let mut plan = Plan::default();
        while look.control.check().is_ok() {
            let mut part = Part {
                together,
                ..Part::default()
            };
            while part.digest.rows() < ROWS && (together || part.footers.is_empty()) {
                let at = next.fetch_add(1, Ordering::Relaxed);
                if at >= files.len() {
                    break;
                }
                part.take(look, files, at, first + at as u32, &mut plan);
                look.control
                    .progress("reading increments", at as u64 + 1, files.len() as u64);
            }
            if part.footers.is_empty() && next.load(Ordering::Relaxed) >= files.len() {
                return;
            }
            parts
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(part.settle());
        }
    };
    let threads = if together { threads::cores() } else { 1 };
    threads::together(threads, work);
    parts.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// How the files of one kind are read: most files of a store have the same columns.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    last: Option<Known>,
}

#[derive(Debug)]
struct Known {
    /// The columns of the file.
    schema: SchemaRef,
    /// Of these, the texts that are dictionaries in it.
    keyed: Vec<&'static str>,
    /// The columns as they are read: dictionaries stay what they are.
    read: SchemaRef,
    reading: Reading,
}

impl Plan {
    /// A file as it is best read, and how.
    fn of(
        &mut self,
        look: Look<'_>,
        name: &str,
        file: &ParquetFile,
        source: u32,
    ) -> Result<(ParquetFile, &Reading)> {
        let records = shape(file.schema()) == Shape::Records;
        let keyed = if records {
            file.keyed(&TEXTS)
        } else {
            Vec::new()
        };
        let same = |known: &Known| known.schema == *file.schema() && known.keyed == keyed;
        let known = if let Some(mut known) = self.last.take().filter(same) {
            if known.reading.process.as_deref() != process_id(name) {
                known.reading.process = process_id(name).map(Arc::from);
            }
            known
        } else {
            let mut reading = Reading::of(name, file.schema(), &look.namer.zone, look.now)?;
            reading.needs_model = true;
            let read = Arc::clone(file.with_dictionaries(&keyed).stored());
            if records {
                reading.target = as_read(&project(&reading.target, &columns()), &read);
            }
            Known {
                schema: Arc::clone(file.schema()),
                keyed,
                read,
                reading,
            }
        };
        let known = self.last.insert(known);
        known.reading.keep = Keep::Places(source);
        Ok((file.read_as(&known.read), &known.reading))
    }
}

/// The columns with those that are read as dictionaries.
pub(crate) fn as_read(target: &SchemaRef, read: &SchemaRef) -> SchemaRef {
    let field = |field: &FieldRef| match read.field_with_name(field.name()) {
        Ok(own) if matches!(own.data_type(), DataType::Dictionary(..)) => Arc::new(
            field
                .as_ref()
                .clone()
                .with_data_type(own.data_type().clone()),
        ),
        _ => Arc::clone(field),
    };
    Arc::new(Schema::new(
        target.fields().iter().map(field).collect::<Vec<_>>(),
    ))
}

/// Texts that repeat.
pub(crate) const TEXTS: [&str; 9] = [
    "model",
    "prompt_type",
    "difficulty",
    "task_type",
    "error_type",
    "error_message",
    "process_id",
    "task_id",
    "session_id",
];

/// What is read of records. The hash of a whole row is only needed where there are several
/// attempts.
fn columns() -> Vec<&'static str> {
    [&Columns::NAMES[..], &[TIMESTAMP_TEXT]].concat()
}

/// Adds the rows of a file to a digest. After an error some of them may be in it.
pub(crate) fn read(
    look: Look<'_>,
    file: &Unread<'_>,
    source: u32,
    plan: &mut Plan,
    digest: &mut Digest,
) -> Result<Read> {
    let path = look.store.layout.incremental().join(file.name);
    match open(look.store, file.name, file.stat, look.namer)? {
        Opened::File(opened) => rows(look, file, &opened, source, plan, digest),
        Opened::Footer(Footer::Refused(reason)) => Err(Error::Io {
            action: "read",
            path,
            source: std::io::Error::other(reason),
        }),
        Opened::Footer(_) => Err(Error::Changed { path }),
    }
}

/// What a file says of its rows, where all of them count and it is what it was.
fn in_footer(look: Look<'_>, file: &Unread<'_>, opened: &ParquetFile) -> Option<IncrementDigest> {
    let found =
        (file.skip == 0).then(|| IncrementDigest::of(opened, file.name, look.now.as_microsecond()));
    found.flatten().filter(|_| opened.check_unchanged().is_ok())
}

fn rows(
    look: Look<'_>,
    file: &Unread<'_>,
    opened: &ParquetFile,
    source: u32,
    plan: &mut Plan,
    digest: &mut Digest,
) -> Result<Read> {
    if let Some(found) = in_footer(look, file, opened) {
        let (rows, oldest) = (opened.rows(), found.oldest());
        found.add_to(source, digest);
        return Ok(Read {
            source,
            rows,
            oldest,
            naive: Naive::default(),
        });
    }
    let columns = (shape(opened.schema()) == Shape::Records).then(columns);
    let (opened, reading) = plan.of(look, file.name, opened, source)?;
    let (before, oldest) = (digest.rows(), digest.activity.oldest.take());
    let naive = std::mem::take(&mut digest.naive);
    digest.position = file.skip;
    let mut push = || {
        for batch in opened.batches(columns.as_deref(), file.skip)? {
            look.control.check()?;
            digest.push(&batch?, reading)?;
        }
        if digest.position != opened.rows() {
            let reason = "it holds fewer rows than its footer says";
            return Err(Error::unreadable(opened.path(), reason));
        }
        // Pages of a newer version may have been read by an older footer.
        opened.check_unchanged()
    };
    let pushed = push();
    let own = digest.activity.oldest;
    digest.activity.oldest = [oldest, own].into_iter().flatten().min();
    let own_naive = digest.naive;
    digest.naive.add(naive);
    pushed.map(|()| Read {
        source,
        rows: digest.rows() - before,
        oldest: own,
        naive: own_naive,
    })
}
