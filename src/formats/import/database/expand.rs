//! The tests that the leaves of a database stand for, one record each, for those who
//! want records only. What a leaf has as a mean, each of its tests has; its errors go to
//! the tests that failed. The ids follow from cell and number, so a database that has
//! grown adds what is new.

use serde_json::{Map, Value, json};
use strum::IntoEnumIterator;

use crate::formats::export::{Leaf, SCORES, Tree, iso, rate_name};
use crate::formats::import::objects::{Object, Place, Reader, Remarks, Rows};
use crate::stats::{Cell, ErrorCategory};
use crate::store::Result;

/// The records of a database.
#[derive(Debug)]
pub(super) struct Expand {
    pub(super) tree: Tree,
    /// What the ids begin with, to keep apart databases whose cells are the same.
    pub(super) source: Option<String>,
    pub(super) notes: Vec<String>,
}

impl Reader for Expand {
    fn rows(&self) -> Result<Rows<'_>> {
        let source = self.source.as_deref();
        let records = self.tree.cells().flat_map(move |(cell, leaf)| records(source, cell, leaf));
        Ok(Box::new(records.zip(1..).map(|(fields, read)| {
            let place = Place::Named(format!("test {read}"));
            Ok(Object { place, fields: Some(fields), remark: None, read })
        })))
    }

    fn size(&self) -> u64 {
        self.tree.totals().tests
    }

    fn notes(&self, _remarks: &Remarks) -> Vec<String> {
        self.notes.clone()
    }
}

/// The records of one cell: full successes, partial ones, then failures.
fn records<'a>(
    source: Option<&'a str>,
    cell: &'a Cell,
    leaf: &'a Leaf,
) -> impl Iterator<Item = Map<String, Value>> + 'a {
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
    let kinds = [("success", tally.full), ("partial", tally.partial), ("failed", tally.failed())];
    // Failures take the errors first; what is left was met on the way to a partial success.
    let mut errors = ErrorCategory::iter().flat_map(move |category| {
        let count = tally.errors.get(category as usize).copied().unwrap_or(0);
        (0..count).map(move |_| category)
    });
    let for_failures: u64 = tally.failed();
    let mut later = errors.clone().skip(for_failures as usize);
    kinds.into_iter().flat_map(|(kind, count)| (0..count).map(move |i| (kind, i))).map(move |(kind, i)| {
        let mut fields = shared.clone();
        fields.insert("test_id".to_owned(), format!("{stem}_{kind}_{i}").into());
        fields.insert("success".to_owned(), (kind == "success").into());
        fields.insert("partial_success".to_owned(), (kind == "partial").into());
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
    let parts = [&*cell.model, &*cell.prompt_type, &*rate, &*cell.difficulty, &*cell.task_type];
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
        let mut tally =
            Tally { tests: 6, full: 2, partial: 2, turns: Sum::weighted(Some(2.5), 6), ..Tally::default() };
        tally.errors[ErrorCategory::Timeout as usize] = 1;
        tally.errors[ErrorCategory::Other as usize] = 2;
        let mut leaf = Leaf::default();
        leaf.tally = tally;
        let rows: Vec<_> = records(None, &cell, &leaf).collect();
        let ids: Vec<_> = rows.iter().map(|row| row["test_id"].as_str().unwrap()).collect();
        assert_eq!(ids[0], "a%5Fb_cot_0.8_easy_50%25_success_0");
        assert_eq!(ids[5], "a%5Fb_cot_0.8_easy_50%25_failed_1");
        let errors: Vec<_> = rows.iter().map(|row| row.get("error_type").and_then(Value::as_str)).collect();
        assert_eq!(errors, [None, None, Some("other"), None, Some("timeout"), Some("other")]);
        assert!(rows.iter().all(|row| row["turns"] == 2.5 && row.get("timestamp").is_none()));
        assert!(
            records(Some("s"), &cell, &leaf).next().unwrap()["test_id"]
                .as_str()
                .unwrap()
                .starts_with("s_a%5Fb")
        );
    }
}
