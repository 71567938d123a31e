//! Which tests of a plan a store does not have yet.
//!
//! A plan that is divided (`--shard 1/8`) is divided by the hash of the test first, and what is done
//! is left out then: whenever the parts start, no test runs twice and none is forgotten.

use std::collections::{BTreeSet, HashMap, HashSet};

use serde_json::Value;

use super::plan::{Row, Test, tests};
use crate::stats::ErrorCategory;
use crate::store::aggregate::Columns;
use crate::store::read::query;
use crate::store::read::query::{Filter, Selection};
use crate::store::write::shard::Shard;
use crate::store::write::test_id::test_id;
use crate::store::{Control, Error, Result, Store, aggregate};

/// Which tests that have a result are due again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Again {
    /// None.
    #[default]
    Nothing,
    /// Those whose newest attempt the infrastructure failed.
    Infrastructure,
    /// Those whose newest attempt is not a success, whatever the reason.
    Failed,
}

/// What is due of a plan, or of one part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// The tests to run.
    pub missing: Vec<Test>,
    /// Tests of the part that the store has.
    pub there: u64,
    /// Tests of the whole plan.
    pub planned_of_all: u64,
    /// Tests of the whole plan that the store has.
    pub there_of_all: u64,
}

/// The tests of a plan that neither the store nor one of the others has yet, and how many there
/// are. A test is there under
/// the id that `run` gives it, its own `test_id`, or the id that the Python writer makes of
/// `task_id` and `trial` (without `trial`: its number, from 0).
pub fn missing(
    store: &Store,
    others: &[Store],
    rows: &[Row],
    again: Again,
    shard: Option<Shard>,
    session: Option<&str>,
    control: &Control,
) -> Result<Due> {
    let keys = |test: &Test| {
        let row = rows.get(test.row as usize);
        row.map_or_else(Keys::default, |row| Keys::new(row, *test, session))
    };
    let mut there = HashMap::new();
    for store in std::iter::once(store).chain(others) {
        match store.check() {
            Ok(()) => {
                let all: HashSet<u128> = tests(rows).flat_map(|test| keys(&test).all()).collect();
                let mut own = query::existing(store, &all, control)?;
                if again != Again::Nothing && !own.is_empty() {
                    leave_out(store, rows, again, &mut own, control)?;
                }
                there.extend(own);
            }
            Err(Error::NoStore { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    let mut due = Due {
        missing: Vec::new(),
        there: 0,
        planned_of_all: 0,
        there_of_all: 0,
    };
    for test in tests(rows) {
        let keys = keys(&test);
        let found = keys.all().any(|key| there.contains_key(&key));
        let own = shard.is_none_or(|shard| keys.run.is_some_and(|key| shard.has(key)));
        due.planned_of_all += 1;
        due.there_of_all += u64::from(found);
        match (own, found) {
            (true, true) => due.there += 1,
            (true, false) => due.missing.push(test),
            (false, _) => {}
        }
    }
    Ok(due)
}

/// The keys under which a test of a plan may be in the store.
#[derive(Debug, Default)]
struct Keys {
    /// That of `run`; it also says to which part the test belongs.
    run: Option<u128>,
    own: Option<u128>,
    python: Option<u128>,
}

impl Keys {
    fn new(row: &Row, test: Test, session: Option<&str>) -> Self {
        let session = row.session(session);
        let key = |id: &str| aggregate::key(Some(id), &row.cell, session.as_deref());
        let text = |name: &str| match row.fields.get(name)? {
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        };
        let python = text("task_id").and_then(|task| {
            let trial = text("trial").unwrap_or_else(|| (test.instance.max(1) - 1).to_string());
            let rate = row.fields.get("tool_success_rate").and_then(Value::as_f64);
            // As Python writes a float.
            let rate = rate.map(|rate| format!("{rate:?}"));
            let texts = ["model", "prompt_type", "difficulty", "task_type"].map(text);
            let [model, prompt, difficulty, kind] = texts.each_ref().map(Option::as_deref);
            let parts = [
                session.as_deref(),
                model,
                prompt,
                rate.as_deref(),
                difficulty,
                kind,
                Some(&task),
                Some(&trial),
            ];
            key(&test_id(&parts))
        });
        Self {
            run: key(&row.test_id(test.instance.into())),
            // Several tests of one row can't all have the row's id.
            own: (row.instances == 1)
                .then(|| key(&text("test_id")?))
                .flatten(),
            python,
        }
    }

    fn all(&self) -> impl Iterator<Item = u128> + use<> {
        [self.run, self.own, self.python].into_iter().flatten()
    }
}

/// Takes out the tests that are due again.
fn leave_out<V>(
    store: &Store,
    rows: &[Row],
    again: Again,
    there: &mut HashMap<u128, V>,
    control: &Control,
) -> Result<()> {
    let models: BTreeSet<&str> = rows.iter().map(|row| &*row.cell.model).collect();
    let filter = Filter {
        models: models.into_iter().map(str::to_owned).collect(),
        ..Filter::default()
    };
    let columns = Columns::always().iter().map(|name| (*name).to_owned());
    let columns = Some(columns.collect());
    let selection = Selection {
        filter,
        columns,
        ..Selection::default()
    };
    for batch in query::rows(store, &selection, control)? {
        control.check()?;
        let batch = batch?;
        let columns = Columns::new(&batch)?;
        for row in 0..batch.num_rows() {
            let outcome = columns.outcome(row);
            let infrastructure = outcome.error == Some(ErrorCategory::Infrastructure);
            let due = match again {
                Again::Nothing => false,
                Again::Infrastructure => infrastructure,
                Again::Failed => infrastructure || !(outcome.full || outcome.unscored),
            };
            if due && let Some(key) = columns.key(row) {
                there.remove(&key);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests_of_parts {
    use std::collections::HashMap;

    use super::*;
    use crate::runner::plan::{Dimensions, product};
    use crate::store::Record;
    use crate::store::write::writer::{Writer, WriterOptions};

    /// Parts start in any order, do some of what is due, and die; some start again and again.
    #[test]
    fn every_test_runs_once_whatever_order_parts_start_and_die_in() {
        for seed in 1..=5_u64 {
            let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let mut chance = |below: usize| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                (state % below.max(1) as u64) as usize
            };
            let folder = tempfile::tempdir().unwrap();
            let store = Store::new(folder.path());
            let dimensions = Dimensions {
                models: vec!["a".into(), "b".into()],
                ..Dimensions::default()
            };
            let rows = product(&dimensions, 30, None).unwrap();
            let of = 1 + chance(6) as u32;
            let due = |index: Option<u32>| {
                let shard = index.map(|index| Shard::new(index, of).unwrap());
                let control = Control::default();
                missing(&store, &[], &rows, Again::Nothing, shard, None, &control).unwrap()
            };
            let mut ran: HashMap<Test, u32> = HashMap::new();
            while !due(None).missing.is_empty() {
                let part = due(Some(1 + chance(of as usize) as u32));
                assert_eq!(part.planned_of_all, 60);
                let mut writer = Writer::open(&store, WriterOptions::default()).unwrap();
                let some = 1 + chance(part.missing.len());
                for test in part.missing.iter().take(some) {
                    *ran.entry(*test).or_default() += 1;
                    let row = &rows[test.row as usize];
                    let record = Record {
                        model: row.cell.model.to_string(),
                        test_id: Some(row.test_id(test.instance.into())),
                        success: Some(true),
                        ..Record::default()
                    };
                    writer.append_all(vec![record]).unwrap();
                }
                writer.close().unwrap();
            }
            assert_eq!(ran.len(), 60);
            assert!(ran.values().all(|times| *times == 1), "of {of} parts");
        }
    }
}
