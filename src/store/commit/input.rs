//! The increments of a commit: what has to be known of each before any row is written.

use arrow::datatypes::SchemaRef;
use jiff::tz::TimeZone;

use super::merge::{Keys, records};
use super::pending_files::{because, columns_of_records};
use super::round::Trouble;
use super::splits::{Part, jobs};
use crate::store::aggregate::increment_digest::IncrementDigest;
use crate::store::aggregate::{CellKeys, Columns, check_models, short};
use crate::store::disk;
use crate::store::error::{Error, Result};
use crate::store::format::layout::folder_of;
use crate::store::format::row_kind::{Shape, shape};
use crate::store::format::schema::{Union, adapt, keyed, project};
use crate::store::parquet::ParquetFile;
use crate::store::read::snapshot::Increment;
use crate::store::resolve::{KEY_COLUMNS, KEYED, Rank};
use crate::store::{Control, Store, threads};

/// Files up to this size are read in one go.
const SMALL: u64 = 4 << 20;

/// An increment that goes in.
#[derive(Debug)]
pub(crate) struct Input<'a> {
    pub(crate) increment: &'a Increment,
    /// The columns of its records.
    pub(crate) columns: SchemaRef,
    /// What identifies what was read.
    pub(crate) xxh3: String,
    pub(crate) parts: Vec<Part>,
}

/// 64 bits of the key of a new record, and its number among them.
pub(crate) type NewKey = (u64, u32);

impl Input<'_> {
    /// Opens it; an error when it is no longer what was listed.
    pub(crate) fn open(&self, store: &Store) -> Result<ParquetFile> {
        open(store, self.increment)
    }

    /// Calls `take` with key and rank of the records of these numbers (ascending), of which
    /// this input's first is `first`.
    pub(crate) fn ranked(
        &self,
        store: &Store,
        wanted: &[u64],
        first: u64,
        target: &SchemaRef,
        zone: &TimeZone,
        mut take: impl FnMut(u64, u128, Rank),
    ) -> Result<()> {
        let file = self.open(store)?;
        let plain = shape(file.schema()) == Shape::Records && self.increment.skip == 0;
        let mut wanted_now = wanted.iter().copied().peekable();
        let current = folder_of(&self.increment.name).is_none();
        let mut at = first;
        // Where not all rows are records, all are read to find these.
        let positions: Vec<u64> = wanted.iter().map(|at| at - first).collect();
        let batches = if plain {
            file.rows_at(None, &positions)?
        } else {
            file.batches(None, self.increment.skip)?
        };
        for batch in batches {
            let batch = records(&batch?, target, zone)?;
            let mut keys = Keys::of(&batch, zone)?;
            for row in 0..batch.num_rows() {
                at += 1;
                let Some(number) = wanted_now.next_if(|number| plain || *number == at - 1) else {
                    continue;
                };
                if let Some(key) = keys.key(row) {
                    let rank = keys.rank(&batch, row)?;
                    take(number, key, Rank { current, ..rank });
                }
            }
        }
        match wanted_now.next() {
            None => Ok(()),
            Some(_) => Err(Error::unreadable(
                file.path(),
                "it has fewer rows than its footer says",
            )),
        }
    }

    /// An error while this input was read is a reason to leave it out.
    pub(crate) fn blame(&self, store: &Store, error: Error) -> Trouble {
        blame(store, self.increment, error)
    }
}

fn open(store: &Store, increment: &Increment) -> Result<ParquetFile> {
    let file = increment.open(store)?;
    if increment.stat.bytes <= SMALL {
        file.into_memory()
    } else {
        Ok(file)
    }
}

fn blame(store: &Store, increment: &Increment, error: Error) -> Trouble {
    let error = match (error, increment.check(store)) {
        (error @ Error::Cancelled, _) => return Trouble::Other(error),
        (error, Ok(())) => error,
        // Whatever was found was half written.
        (_, Err(changed)) => changed,
    };
    because(&increment.name, error).map_or_else(Trouble::Other, Trouble::Input)
}

/// Opens what goes in and reads the keys of its records, on all cores.
pub(crate) fn read<'a>(
    store: &Store,
    increments: &'a [Increment],
    zone: &TimeZone,
    control: &Control,
) -> Result<(Vec<Input<'a>>, Vec<NewKey>), Trouble> {
    let rows = |increment: &Increment| increment.rows.saturating_sub(increment.skip);
    let cores = threads::for_rows(increments.iter().map(rows).sum());
    let opening = jobs(increments.iter(), |increment| rows(increment));
    let opened = threads::each(cores, opening, |job| {
        let mut cells = CellKeys::default();
        let open = |increment: &'a Increment| {
            control.check()?;
            let opened = Input::new(store, increment, |input, file| {
                match input.parts.as_mut_slice() {
                    // What is large is read part by part, later.
                    [part] => Ok(vec![match reported(file, increment, part) {
                        Some(reported) => reported,
                        None => keys(file, increment, part, zone, &mut cells, control)?,
                    }]),
                    _ => Ok(Vec::new()),
                }
            });
            opened.map_err(|error| blame(store, increment, error))
        };
        job.into_iter()
            .map(open)
            .collect::<Result<Vec<_>, Trouble>>()
    });
    let mut inputs = Vec::with_capacity(increments.len());
    for job in opened {
        inputs.extend(job?);
    }
    let unread = inputs.iter_mut().filter(|(_, found)| found.is_empty());
    let parts = unread.flat_map(|(input, found)| {
        found.resize_with(input.parts.len(), Vec::new);
        let increment = input.increment;
        input
            .parts
            .iter_mut()
            .zip(found)
            .map(move |(part, found)| (increment, part, found))
    });
    let reading = jobs(parts, |(_, part, _)| part.rows);
    let read = threads::each(cores, reading, |job| {
        let mut cells = CellKeys::default();
        for (increment, part, found) in job {
            let read = open(store, increment)
                .and_then(|file| keys(&file, increment, part, zone, &mut cells, control));
            *found = read.map_err(|error| blame(store, increment, error))?;
        }
        Ok::<_, Trouble>(())
    });
    read.into_iter().collect::<Result<(), Trouble>>()?;
    Ok(numbered(inputs))
}

/// Numbers the records of all inputs, one after the other.
fn numbered(inputs: Vec<(Input<'_>, Vec<Vec<NewKey>>)>) -> (Vec<Input<'_>>, Vec<NewKey>) {
    let (mut all, mut keys, mut first) = (Vec::with_capacity(inputs.len()), Vec::new(), 0);
    for (input, found) in inputs {
        for (part, found) in input.parts.iter().zip(found) {
            keys.extend(found.into_iter().map(|(short, at)| (short, first + at)));
            first += part.records as u32;
        }
        all.push(input);
    }
    (all, keys)
}

impl<'a> Input<'a> {
    /// Opens an increment; `keys` reads those of its records.
    fn new(
        store: &Store,
        increment: &'a Increment,
        keys: impl FnOnce(&mut Self, &ParquetFile) -> Result<Vec<Vec<NewKey>>>,
    ) -> Result<(Self, Vec<Vec<NewKey>>)> {
        let file = open(store, increment)?;
        let columns = columns_of_records(&file, increment.skip)?;
        let parts = if increment.skip > 0 || file.metadata().num_row_groups() == 0 {
            vec![Part::whole(&file, increment.skip)]
        } else {
            Part::of(&file, 0..file.metadata().num_row_groups())
        };
        let xxh3 = disk::hash_of(file.raw()).map_err(Error::io("read", file.path()))?;
        let mut input = Self {
            increment,
            columns,
            xxh3,
            parts,
        };
        let keys = keys(&mut input, &file)?;
        Ok((input, keys))
    }
}

/// The same where the file's digest says the keys of all rows: then no page is read for them.
/// One that can't be read is left out when its rows are.
fn reported(file: &ParquetFile, increment: &Increment, part: &Part) -> Option<Vec<NewKey>> {
    let keys = IncrementDigest::keys(file, &increment.name).filter(|_| increment.skip == 0)?;
    let all = keys.len() as u64 == part.rows && part.records == part.rows;
    all.then(|| keys.into_iter().zip(0..).collect())
}

/// The keys of a part's records, numbered from the first on; counts these.
fn keys(
    file: &ParquetFile,
    increment: &Increment,
    part: &mut Part,
    zone: &TimeZone,
    cells: &mut CellKeys,
    control: &Control,
) -> Result<Vec<NewKey>> {
    let names = KEY_COLUMNS;
    let mut union = Union::new();
    union.add(&increment.name, file.schema())?;
    let target = keyed(&project(&union.finish(), &names));
    // Where summary rows lie between the records, more columns say which is which.
    let plain = shape(file.schema()) == Shape::Records;
    let keyed = file.with_dictionaries(&KEYED);
    let (mut keys, mut at, mut read) = (Vec::new(), 0_u32, 0);
    for batch in part.batches(&keyed, plain.then_some(&names[..]), increment.skip)? {
        control.check()?;
        let batch = batch?;
        read += batch.num_rows() as u64;
        let batch = if plain {
            adapt(&batch, &target, zone)?
        } else {
            records(&batch, &target, zone)?
        };
        let columns = Columns::new(&batch)?;
        check_models(&columns, batch.num_rows())?;
        for (row, key) in cells.keys(&columns, batch.num_rows()).enumerate() {
            keys.extend(key.map(|key| (short(key), at + row as u32)));
        }
        at = u32::try_from(u64::from(at) + batch.num_rows() as u64).map_err(|_| too_many())?;
    }
    if read != part.rows {
        return Err(Error::unreadable(
            file.path(),
            "it has fewer rows than its footer says",
        ));
    }
    part.records = u64::from(at);
    Ok(keys)
}

fn too_many() -> Error {
    Error::Refused("a file has more than four billion rows: split it".to_owned())
}
