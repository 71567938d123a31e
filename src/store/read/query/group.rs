//! Tallies by any of the dimensions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use arrow::datatypes::SchemaRef;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::computed::Computed;
use super::{
    Control, Filter, Group, GroupValue, Result, Selection, Store, rows, rows_chosen, words,
};
use crate::expr::{Bound, Context};
use crate::stats::cell::UNKNOWN;
use crate::stats::clusters::Clusters;
use crate::stats::spread::Spread;
use crate::stats::{Cell, Cells, Rate, Tally};
use crate::store::Error;
use crate::store::aggregate::Columns;
use crate::store::format::schema::DIMENSIONS;
use crate::store::read::snapshot::{Depth, Scanner, retrying};

/// Tallies of the matching tests by the given dimensions, sorted by their values; a summary row
/// that stands for no test makes no group.
/// Unknown columns are refused in one sentence that lists those there are. Summary
/// rows count too, except within a range of time, since they have none. Grouped by model, the
/// interval of a group that is all of one heeds tasks that repeat, outside of a range of time.
pub fn grouped(
    store: &Store,
    filter: &Filter,
    by: &[String],
    control: &Control,
) -> Result<Vec<Group>> {
    if let Some(unknown) = by.iter().find(|name| !DIMENSIONS.contains(&name.as_str())) {
        let there_are = DIMENSIONS.join(", ");
        return Err(Error::Refused(format!(
            "cannot group by '{unknown}': the columns are {there_are}"
        )));
    }
    // What each model has in all, where it is known which tasks its tests are of.
    let mut models: BTreeMap<Arc<str>, u64> = BTreeMap::new();
    let mut clusters = Clusters::default();
    let mut kept = None;
    let mut cells = None;
    if filter.since.is_none() && filter.until.is_none() {
        let mut scanner = Scanner::new();
        let depth = if by.iter().any(|name| name == "model") {
            Depth::Tallies
        } else {
            Depth::Cells
        };
        let view = || scanner.view(store, Timestamp::now(), depth, control);
        let view = retrying(store, view)?;
        let context = Context {
            zone: view.files.zone.clone(),
            now: Timestamp::now(),
        };
        let condition = filter.condition.as_ref().map(|own| {
            let stored = view.union.finish();
            own.bind(&Computed::of(store, &stored).with(&stored), &context)
        });
        let condition = condition.transpose().map_err(in_words)?;
        let of_cells = |own: &Bound| own.columns().iter().all(|name| DIMENSIONS.contains(name));
        if condition.as_ref().is_none_or(of_cells) {
            if let Some(condition) = &condition {
                words::check_in(store, condition, &view.cells, control)?;
                kept = Some(matching(&view.cells, condition)?);
            }
            clusters = view.clusters;
            for (model, cells) in view.cells.models() {
                models.insert(Arc::clone(model), cells.sum().tests);
            }
            cells = Some(view.cells);
        }
    }
    let cells = match cells {
        Some(cells) => cells,
        None => within(store, filter, control)?,
    };
    let kept = |at: usize| kept.as_ref().is_none_or(|kept| kept.get(at) == Some(&true));
    let mut groups: BTreeMap<Vec<Key>, (Tally, BTreeSet<&str>)> = BTreeMap::new();
    for (_, (cell, tally)) in cells
        .iter()
        .enumerate()
        .filter(|(at, (cell, tally))| tally.tests > 0 && filter.matches_cell(cell) && kept(*at))
    {
        let (sum, of) = groups
            .entry(by.iter().map(|name| value(cell, name)).collect())
            .or_default();
        sum.add(tally);
        of.insert(&cell.model);
    }
    let group = |(keys, (tally, of)): (Vec<Key>, (Tally, BTreeSet<&str>))| {
        let mut of = of.into_iter();
        let model = of
            .next()
            .filter(|model| of.next().is_none() && models.get(*model) == Some(&tally.tests));
        let effective =
            model.and_then(|model| clusters.effective(model, tally.full, tally.judged()));
        Group {
            values: keys.into_iter().map(GroupValue::from).collect(),
            tally,
            effective,
        }
    };
    Ok(groups.into_iter().map(group).collect())
}

/// Which cells fulfil a condition on their dimensions. What is missing is null, as in rows.
fn matching(cells: &Cells, condition: &Bound) -> Result<Vec<bool>> {
    let texts = |of: fn(&Cell) -> &str| -> ArrayRef {
        let own = cells
            .iter()
            .map(|(cell, _)| Some(of(cell)).filter(|text| *text != UNKNOWN));
        Arc::new(own.collect::<StringArray>())
    };
    let rates = cells
        .iter()
        .map(|(cell, _)| cell.tool_success_rate.map(Rate::get));
    let columns: [(&str, ArrayRef); 5] = [
        ("model", texts(|cell| &cell.model)),
        ("prompt_type", texts(|cell| &cell.prompt_type)),
        ("difficulty", texts(|cell| &cell.difficulty)),
        ("task_type", texts(|cell| &cell.task_type)),
        (
            "tool_success_rate",
            Arc::new(rates.collect::<Float64Array>()),
        ),
    ];
    let columns = columns.map(|(name, column)| (name, column, true));
    let batch = RecordBatch::try_from_iter_with_nullable(columns).map_err(super::rows::refused)?;
    let matches = condition.matches(&batch).map_err(in_words)?;
    Ok(matches
        .iter()
        .map(|matches| matches == Some(true))
        .collect())
}

#[allow(clippy::needless_pass_by_value)] // as map_err wants it
fn in_words(error: crate::expr::Error) -> Error {
    Error::Refused(error.to_string())
}

/// How the execution times of the matching records are spread, by the given dimensions,
/// in the order of [`grouped`]. Summary rows have no single times.
pub fn spreads(
    store: &Store,
    filter: &Filter,
    by: &[String],
    control: &Control,
) -> Result<Vec<(Vec<GroupValue>, Spread)>> {
    let columns = ["execution_time"]
        .into_iter()
        .chain(DIMENSIONS)
        .map(str::to_owned)
        .collect();
    let selection = Selection {
        filter: filter.clone(),
        columns: Some(columns),
        ..Selection::default()
    };
    let mut groups: BTreeMap<Vec<Key>, Spread> = BTreeMap::new();
    for batch in rows(store, &selection, control)? {
        let batch = batch?;
        let columns = Columns::new(&batch)?;
        for row in 0..batch.num_rows() {
            let cell = columns.cell(row);
            let key = by.iter().map(|name| value(&cell, name)).collect();
            groups
                .entry(key)
                .or_default()
                .add(columns.number("execution_time", row).unwrap_or(f64::NAN));
        }
    }
    let values = |keys: Vec<Key>| keys.into_iter().map(GroupValue::from).collect();
    Ok(groups
        .into_iter()
        .map(|(keys, spread)| (values(keys), spread))
        .collect())
}

/// Tallies of the records within a range of time.
fn within(store: &Store, filter: &Filter, control: &Control) -> Result<Cells> {
    let choose = |schema: &SchemaRef, _: &TimeZone| {
        let there = |name: &&str| schema.field_with_name(name).is_ok();
        let columns = Columns::NAMES.into_iter().filter(there);
        Ok(Selection {
            filter: filter.clone(),
            columns: Some(columns.map(str::to_owned).collect()),
            ..Selection::default()
        })
    };
    let mut cells = Cells::default();
    for batch in rows_chosen(store, filter, false, &choose, control)? {
        let batch = batch?;
        let columns = Columns::new(&batch)?;
        for row in 0..batch.num_rows() {
            cells.add(&columns.cell(row), &columns.outcome(row).tally());
        }
    }
    Ok(cells)
}

/// A group's value, in the order in which groups are sorted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Text(String),
    Rate(Option<Rate>),
}

impl From<Key> for GroupValue {
    fn from(key: Key) -> Self {
        match key {
            Key::Text(text) => Self::Text(text),
            Key::Rate(rate) => Self::Rate(rate.map(Rate::get)),
        }
    }
}

fn value(cell: &Cell, name: &str) -> Key {
    let text = match name {
        "model" => &cell.model,
        "prompt_type" => &cell.prompt_type,
        "difficulty" => &cell.difficulty,
        "task_type" => &cell.task_type,
        _ => return Key::Rate(cell.tool_success_rate),
    };
    Key::Text(text.to_string())
}
