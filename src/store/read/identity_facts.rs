//! What rows without ids of their own give to say: those that nothing distinguishes, those that two
//! files share, and those that other code changed after a commit took them in.

use std::collections::HashMap;

use arrow::array::RecordBatch;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::store::Control;
use crate::store::aggregate::Columns;
use crate::store::commit::merge::records;
use crate::store::error::Result;
use crate::store::format::row_hashes;
use crate::store::format::schema::Union;
use crate::store::parquet::ParquetFile;
use crate::store::parquet::filter::Filter;
use crate::store::parquet::prune::Search;

/// So many changed rows of a file are compared with main's.
const SAMPLE: usize = 16;
/// More rows of main than this, at the same times, are not looked through.
const CANDIDATES: usize = 65_536;
/// Two rows that differ in more columns are two tests.
const CHANGED: usize = 2;
const SECOND: i64 = 1_000_000;

/// What is known of rows that bring no id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IdentityFacts {
    /// Rows that bring no time either.
    pub bare: u64,
    /// A file that has such rows.
    pub bare_in: Option<String>,
    /// Two files and how many rows both have.
    pub identical: Vec<(String, String, u64)>,
    /// What other code changed.
    pub rewritten: Vec<Rewritten>,
}

/// A file whose rows other code changed after a commit took them in: they count once more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewritten {
    /// Its name.
    pub file: String,
    /// A column in which they differ.
    pub column: String,
    /// How many rows.
    pub rows: u64,
}

/// The column in which rows of a file differ from those that main has of the same cells and
/// seconds; `None` where main has not such rows: then the file has other tests.
pub(crate) fn changed_column(
    main: &ParquetFile,
    file: &ParquetFile,
    losers: &[u64],
    zone: &TimeZone,
    control: &Control,
) -> Result<Option<String>> {
    let mut union = Union::new();
    union.add("main", main.schema())?;
    union.add("file", file.schema())?;
    let schema = union.finish();
    let new = (0..file.rows()).filter(|at| losers.binary_search(at).is_err());
    let sample: Vec<u64> = new.take(SAMPLE).collect();
    let mut changed = Vec::new();
    for batch in file.rows_at(None, &sample)? {
        changed.push(Compared::of(&records(&batch?, &schema, zone)?, zone)?);
    }
    let times = || {
        changed
            .iter()
            .flat_map(|part| part.places.iter().filter_map(|place| place.1))
    };
    let (Some(first), Some(last)) = (times().min(), times().max()) else {
        return Ok(None);
    };
    let at = |second: i64| Timestamp::from_microsecond(second.saturating_mul(SECOND)).ok();
    let filter = Filter {
        since: at(first),
        until: at(last + 1),
        ..Filter::default()
    };
    let candidates = Search::new(main, &filter).keys(&schema, zone, control, |at, _| Some(at))?;
    if candidates.len() > CANDIDATES {
        return Ok(None);
    }
    let mut found: HashMap<String, usize> = HashMap::new();
    for batch in main.rows_at(None, &candidates)? {
        control.check()?;
        let own = Compared::of(&records(&batch?, &schema, zone)?, zone)?;
        for part in &changed {
            for (row, place) in part.places.iter().enumerate() {
                let same = own
                    .places
                    .iter()
                    .enumerate()
                    .filter(|(_, other)| *other == place);
                let different = same.map(|(other, _)| part.different(row, &own, other));
                let fewest = different
                    .filter(|names| !names.is_empty())
                    .min_by_key(Vec::len);
                for name in fewest
                    .into_iter()
                    .filter(|names| names.len() <= CHANGED)
                    .flatten()
                {
                    *found.entry(name).or_default() += 1;
                }
            }
        }
    }
    let most = found
        .into_iter()
        .max_by(|a, b| (a.1, &b.0).cmp(&(b.1, &a.0)));
    Ok(most.map(|(name, _)| name))
}

/// Rows with the hash of each of their values.
struct Compared {
    names: Vec<String>,
    /// Cell and second of each row.
    places: Vec<(u128, Option<i64>)>,
    /// By column.
    hashes: Vec<Vec<u128>>,
}

impl Compared {
    fn of(batch: &RecordBatch, zone: &TimeZone) -> Result<Self> {
        let columns = Columns::new(batch)?;
        let place = |row| {
            let second = columns.timestamp(row).map(|time| time.div_euclid(SECOND));
            (columns.cell_key(row), second)
        };
        let mut compared = Self {
            names: Vec::new(),
            places: (0..batch.num_rows()).map(place).collect(),
            hashes: Vec::new(),
        };
        for (at, field) in batch.schema().fields().iter().enumerate() {
            let Ok(one) = batch.project(&[at]) else {
                continue;
            };
            let hashes = row_hashes(&one, zone)?;
            compared.names.push(field.name().clone());
            compared
                .hashes
                .push(hashes.into_iter().map(|hash| hash.hash).collect());
        }
        Ok(compared)
    }

    /// The columns in which two rows of one schema differ.
    fn different(&self, row: usize, other: &Self, at: usize) -> Vec<String> {
        let columns = self.names.iter().zip(&self.hashes).zip(&other.hashes);
        columns
            .filter(|((_, own), other)| own.get(row) != other.get(at))
            .map(|((name, _), _)| name.clone())
            .collect()
    }
}
