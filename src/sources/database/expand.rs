//! The tests that the leaves of a database stand for, one record each, for those who
//! want records only. What a leaf has as a mean, each of its tests has; its errors go to
//! the tests that failed. The ids follow from cell and number, so a database that has
//! grown adds what is new.

use std::collections::{HashMap, HashSet};

use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};
use strum::IntoEnumIterator;

use super::leaves::Leaves;
use crate::config::show_count;
use crate::formats::export::{Leaf, SCORES, beside_counts, iso, rate_name};
use crate::sources::objects::{Object, Objects, Place, Reader, Remarks, Rows};
use crate::sources::source::Column;
use crate::sources::source::{Chunk, Source};
use crate::stats::{Cell, ErrorCategory};
use crate::store::aggregate::cell_key;
use crate::store::aggregate::summary::Meanings;
use crate::store::{Control, Error, Result};

/// More records than these are not made of counts.
const MOST_RECORDS: u64 = 1_000_000_000;

/// The records of a database, made leaf by leaf.
pub(crate) struct Expand {
    leaves: Objects<Leaves>,
    meanings: Meanings,
    /// Cells of more than one leaf, whose tests are numbered on.
    repeated: HashSet<u128>,
    tests: u64,
    /// What the ids begin with, to keep apart databases whose cells are the same.
    source: Option<String>,
    zone: TimeZone,
}

/// A leaf with its cell, and the numbers with which its tests of each kind begin.
struct Known {
    cell: Cell,
    leaf: Leaf,
    begin: [u64; 4],
}

impl Expand {
    /// Reads the leaves twice: for what their counts mean, then for how many there are.
    pub(crate) fn new(
        leaves: Objects<Leaves>,
        source: Option<String>,
        zone: &TimeZone,
        control: &Control,
    ) -> Result<Self> {
        let (repeated, zone) = (HashSet::new(), zone.clone());
        let meanings = Meanings::default();
        let mut expand = Self {
            leaves,
            meanings,
            repeated,
            tests: 0,
            source,
            zone,
        };
        for chunk in expand.leaves.chunks()? {
            control.check()?;
            expand.meanings.push(&chunk?.batch)?;
        }
        let (mut cells, mut tests) = (Vec::new(), 0_u64);
        for chunk in expand.leaves.chunks()? {
            control.check()?;
            expand.meanings.each(&chunk?.batch, |cell, tally| {
                cells.push(cell_key(&cell));
                tests = tests.saturating_add(tally.tests);
            })?;
        }
        if tests > MOST_RECORDS {
            return Err(Error::Refused(format!(
                "{} stands for {} tests, too many to make records of: import it without --expand",
                expand.leaves.reader().path.display(),
                show_count(tests)
            )));
        }
        cells.sort_unstable();
        expand.repeated = cells
            .windows(2)
            .filter(|two| two.first() == two.last())
            .flatten()
            .copied()
            .collect();
        expand.tests = tests;
        Ok(expand)
    }

    /// The leaves of a chunk; `counted` are the tests so far of those cells that repeat.
    fn known(&self, chunk: &Chunk, counted: &mut HashMap<u128, [u64; 4]>) -> Result<Vec<Known>> {
        let mut beside = beside_counts(&chunk.batch, &self.zone)?.into_iter();
        let mut known = Vec::with_capacity(chunk.batch.num_rows());
        self.meanings.each(&chunk.batch, |cell, tally| {
            let mut begin = [0; 4];
            let key = cell_key(&cell);
            if self.repeated.contains(&key) {
                let counted = counted.entry(key).or_default();
                begin = *counted;
                let counts = [tally.full, tally.partial, tally.failed(), tally.unscored];
                for (sum, count) in counted.iter_mut().zip(counts) {
                    *sum += count;
                }
            }
            let mut leaf = beside.next().unwrap_or_default();
            leaf.tally = tally;
            known.push(Known { cell, leaf, begin });
        })?;
        Ok(known)
    }

    /// The records; of each kind of each leaf `most` at most.
    fn records(&self, most: u64) -> Result<Rows<'_>> {
        let mut counted = HashMap::new();
        let leaves = self.leaves.chunks()?.flat_map(move |chunk| {
            let known = chunk.and_then(|chunk| self.known(&chunk, &mut counted));
            let (known, error) =
                known.map_or_else(|error| (Vec::new(), Some(error)), |known| (known, None));
            known.into_iter().map(Ok).chain(error.map(Err))
        });
        let source = self.source.as_deref();
        let mut read = 0;
        Ok(Box::new(
            leaves
                .flat_map(move |known| {
                    let (known, error) =
                        known.map_or_else(|error| (None, Some(error)), |known| (Some(known), None));
                    let records = known
                        .into_iter()
                        .flat_map(move |known| records(source, &known, most));
                    records.map(Ok).chain(error.map(Err))
                })
                .map(move |fields| {
                    read += 1;
                    let place = Place::Named(format!("test {read}"));
                    Ok(Object {
                        place,
                        fields: Some(fields?),
                        remark: None,
                        read,
                        rejected: None,
                    })
                }),
        ))
    }
}

impl Reader for Expand {
    fn rows(&self) -> Result<Rows<'_>> {
        self.records(u64::MAX)
    }

    /// The first of each kind has whatever field any of them has.
    fn examples(&self) -> Result<Rows<'_>> {
        self.records(1)
    }

    fn size(&self) -> u64 {
        self.tests
    }

    fn notes(&self, _remarks: &Remarks, _columns: &[Column]) -> Vec<String> {
        self.leaves.notes()
    }
}

/// The records of one leaf: full successes, partial ones, then failures.
fn records(
    source: Option<&str>,
    known: &Known,
    most: u64,
) -> impl Iterator<Item = Map<String, Value>> + use<> {
    let Known { cell, leaf, begin } = known;
    let tally = &leaf.tally;
    let mut shared = Map::new();
    let mut share = |name: &str, value: Value| {
        if !value.is_null() {
            shared.insert(name.to_owned(), value);
        }
    };
    share("model", json!(*cell.model));
    share("prompt_type", json!(*cell.prompt_type));
    share("tool_success_rate", json!(cell.tool_success_rate));
    share("difficulty", json!(*cell.difficulty));
    share("task_type", json!(*cell.task_type));
    share("execution_time", json!(tally.execution_time.mean()));
    share("turns", json!(tally.turns.mean()));
    share("tool_calls", json!(tally.tool_calls.mean()));
    share("tool_coverage_rate", json!(tally.tool_coverage_rate.mean()));
    for (name, sum) in SCORES.iter().zip(&leaf.scores) {
        share(name, json!(sum.mean()));
    }
    share("timestamp", leaf.last.map_or(Value::Null, iso));
    let stem = stem(source, cell);
    let [success, partial, failed, unscored] = *begin;
    let kinds = [
        ("success", success, tally.full),
        ("partial", partial, tally.partial),
        ("failed", failed, tally.failed()),
        ("unscored", unscored, tally.unscored),
    ];
    // Failures take the errors first; what is left was met on the way to a partial success.
    let counts = tally.errors;
    let mut errors = ErrorCategory::iter().flat_map(move |category| {
        let count = counts.get(category as usize).copied().unwrap_or(0);
        (0..count).map(move |_| category)
    });
    let for_failures: u64 = tally.failed();
    let mut later = errors.clone().skip(for_failures as usize);
    let numbers = move |(kind, begin, count): (_, u64, u64)| {
        (begin..begin + count.min(most)).map(move |i| (kind, i))
    };
    kinds.into_iter().flat_map(numbers).map(move |(kind, i)| {
        let mut fields = shared.clone();
        fields.insert("test_id".to_owned(), format!("{stem}_{kind}_{i}").into());
        if kind != "unscored" {
            fields.insert("success".to_owned(), (kind == "success").into());
            fields.insert("partial_success".to_owned(), (kind == "partial").into());
        }
        let error = match kind {
            "failed" => errors.next(),
            "partial" => later.next(),
            _ => None,
        };
        if let Some(category) = error {
            fields.insert("error_type".to_owned(), <&str>::from(category).into());
        }
        fields
    })
}

/// What the ids of a cell's tests begin with.
fn stem(source: Option<&str>, cell: &Cell) -> String {
    let rate = rate_name(cell.tool_success_rate);
    let parts = [
        &*cell.model,
        &*cell.prompt_type,
        &*rate,
        &*cell.difficulty,
        &*cell.task_type,
    ];
    let parts: Vec<_> = source.into_iter().chain(parts).map(escaped).collect();
    parts.join("_")
}

/// A part without what separates parts, and without what ends lines.
fn escaped(part: &str) -> String {
    let mut out = String::with_capacity(part.len());
    for c in part.chars() {
        match c {
            '_' => out.push_str("%5F"),
            '%' => out.push_str("%25"),
            c if c.is_control() => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::stats::{Rate, Sum, Tally};

    #[test]
    fn a_leaf_becomes_its_tests() {
        let cell = Cell {
            model: "a_b".into(),
            prompt_type: "cot".into(),
            tool_success_rate: Rate::new(0.800_000_01),
            difficulty: "easy".into(),
            task_type: "50%".into(),
        };
        let mut tally = Tally {
            tests: 6,
            full: 2,
            partial: 2,
            turns: Sum::weighted(Some(2.5), 6),
            ..Tally::default()
        };
        tally.errors[ErrorCategory::Timeout as usize] = 1;
        tally.errors[ErrorCategory::Other as usize] = 2;
        let mut known = Known {
            cell,
            leaf: Leaf::default(),
            begin: [0; 4],
        };
        known.leaf.tally = tally;
        let rows: Vec<_> = records(None, &known, u64::MAX).collect();
        let ids: Vec<_> = rows
            .iter()
            .map(|row| row["test_id"].as_str().unwrap())
            .collect();
        assert_eq!(ids[0], "a%5Fb_cot_0.8_easy_50%25_success_0");
        assert_eq!(ids[5], "a%5Fb_cot_0.8_easy_50%25_failed_1");
        let errors: Vec<_> = rows
            .iter()
            .map(|row| row.get("error_type").and_then(Value::as_str))
            .collect();
        assert_eq!(
            errors,
            [
                None,
                None,
                Some("other"),
                None,
                Some("timeout"),
                Some("other")
            ]
        );
        assert!(
            rows.iter()
                .all(|row| row["turns"] == 2.5 && row.get("timestamp").is_none())
        );
        assert!(
            records(Some("s"), &known, u64::MAX).next().unwrap()["test_id"]
                .as_str()
                .unwrap()
                .starts_with("s_a%5Fb")
        );
        let fields = |most| -> BTreeSet<String> {
            records(None, &known, most)
                .flat_map(|row| row.into_iter().map(|(name, _)| name))
                .collect()
        };
        assert_eq!(fields(1), fields(u64::MAX));
    }
}
