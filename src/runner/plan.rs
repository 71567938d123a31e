//! What is to be run: the product of some dimensions, or the rows of a plan file, each
//! so many times.
//!
//! The id of a test follows from what the test is (its row, its number, the session), so
//! that a second start of the same plan knows which tests are there already.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use serde_json::{Map, Value};
use xxhash_rust::xxh3::xxh3_64;

use crate::quotes::{self, OpenQuote};
use crate::stats::cell::UNKNOWN;
use crate::stats::{Cell, Rate};
use crate::store::format::record::object_mended;
use crate::store::{Error, Result, aggregate};

/// Tests that one run may have: they are kept in memory, by number.
const MOST: u64 = 50_000_000;
/// Columns of a plan that are texts of the test's cell.
const TEXTS: [&str; 4] = ["model", "prompt_type", "difficulty", "task_type"];
/// The column of a plan that says how many times its row is run.
const INSTANCES: &str = "instances";

/// The values of the dimensions; an empty list leaves its dimension out.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Dimensions {
    /// Models; at least one.
    pub models: Vec<String>,
    /// Prompt types.
    pub prompt_types: Vec<String>,
    /// Difficulties.
    pub difficulties: Vec<String>,
    /// Kinds of task.
    pub task_types: Vec<String>,
    /// Rates of successful tool calls.
    pub tool_success_rates: Vec<f64>,
}

/// One row of a plan: tests that differ in their number alone.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The columns, as the command gets them.
    pub fields: Map<String, Value>,
    /// Where its tests belong.
    pub cell: Cell,
    /// How many tests.
    pub instances: u64,
    /// What the ids of its tests begin with.
    id: String,
}

impl Row {
    fn new(
        fields: Map<String, Value>,
        instances: u64,
        session: Option<&str>,
    ) -> Result<Self, String> {
        let text = |name: &str| match fields.get(name) {
            None => Ok(None),
            Some(Value::String(text)) if !text.trim().is_empty() => Ok(Some(text.as_str())),
            Some(other) => Err(format!("'{name}' must be text, not {other}")),
        };
        let rate = match fields.get("tool_success_rate") {
            None => None,
            Some(value) => {
                let rate = value
                    .as_f64()
                    .filter(|rate| (0.0..=1.0).contains(rate))
                    .and_then(Rate::new);
                Some(rate.ok_or_else(|| {
                    format!("'tool_success_rate' must be a number from 0 to 1, not {value}")
                })?)
            }
        };
        let or_unknown = |name: &str| text(name).map(|text| text.unwrap_or(UNKNOWN).into());
        let cell = Cell {
            model: text("model")?.ok_or("'model' is missing")?.into(),
            prompt_type: or_unknown("prompt_type")?,
            tool_success_rate: rate,
            difficulty: or_unknown("difficulty")?,
            task_type: or_unknown("task_type")?,
        };
        // The cell is part of a test's key as it is; without it in the id, the same test of
        // two models has the same id, and they can be compared on it. Sorted, so that the
        // order of columns changes no id.
        let of_cell = |name: &str| TEXTS.contains(&name) || name == "tool_success_rate";
        let mut parts: Vec<_> = fields.iter().filter(|(name, _)| !of_cell(name)).collect();
        parts.sort_by_key(|(name, _)| name.as_str());
        let parts = serde_json::to_string(&(session, parts)).map_err(|error| error.to_string())?;
        let id = format!("run-{:016x}", xxh3_64(parts.as_bytes()));
        Ok(Self {
            fields,
            cell,
            instances,
            id,
        })
    }

    /// What distinguishes this row from every other, whatever its number of tests.
    pub(super) fn key(&self) -> Option<u128> {
        aggregate::key(Some(&self.id), &self.cell, None)
    }

    /// The session in which its tests are recorded: the run's, or what the plan says.
    pub(super) fn session(&self, of_run: Option<&str>) -> Option<String> {
        let of_plan = || match self.fields.get("session_id")? {
            Value::String(session) => Some(session.clone()),
            Value::Null => None,
            other => Some(other.to_string()),
        };
        of_run.map(str::to_owned).or_else(of_plan)
    }

    /// The id of the test with a number, counted from 1.
    pub fn test_id(&self, instance: u64) -> String {
        format!("{}-{instance}", self.id)
    }
}

/// Every combination of the dimensions, `instances` times.
pub fn product(dimensions: &Dimensions, instances: u64, session: Option<&str>) -> Result<Vec<Row>> {
    let texts = |values: &[String]| {
        values
            .iter()
            .map(|v| Some(Value::from(v.as_str())))
            .collect()
    };
    let axes: [(&str, Vec<Option<Value>>); 5] = [
        ("model", texts(&dimensions.models)),
        ("prompt_type", texts(&dimensions.prompt_types)),
        ("difficulty", texts(&dimensions.difficulties)),
        ("task_type", texts(&dimensions.task_types)),
        (
            "tool_success_rate",
            dimensions
                .tool_success_rates
                .iter()
                .map(|r| Some((*r).into()))
                .collect(),
        ),
    ];
    let mut rows = vec![Map::new()];
    for (name, values) in axes {
        let mut values = if values.is_empty() {
            vec![None]
        } else {
            values
        };
        // The same test can't be run twice.
        let mut seen = Vec::new();
        values.retain(|value| {
            let new = !seen.contains(value);
            if new {
                seen.push(value.clone());
            }
            new
        });
        check(rows.len() as u64 * values.len() as u64)?;
        let extended = rows.iter().flat_map(|row: &Map<String, Value>| {
            values.iter().map(|value| {
                let mut row = row.clone();
                row.extend(value.clone().map(|value| (name.to_owned(), value)));
                row
            })
        });
        rows = extended.collect();
    }
    let rows = rows
        .into_iter()
        .map(|row| Row::new(row, instances, session).map_err(Error::Refused));
    checked(rows.collect::<Result<_>>()?)
}

/// The rows of a plan: JSON lines, or CSV where the name ends so. Columns next to the
/// dimensions reach the command; `instances` says how many times, else `instances`. `note` gets
/// what is to be said of it.
pub fn read(
    path: &Path,
    instances: u64,
    session: Option<&str>,
    note: &mut dyn FnMut(&str),
) -> Result<Vec<Row>> {
    let wrong = |line: u64, why: &str| {
        Error::Refused(format!(
            "{} line {line}: {why}: correct the plan and start again",
            path.display()
        ))
    };
    let is_csv = path
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("csv"));
    let mut rows = Vec::new();
    for (line, fields) in if is_csv {
        csv_rows(path, &wrong)?
    } else {
        json_rows(path, &wrong, note)?
    } {
        let mut fields = fields;
        fields.retain(|_, value| !value.is_null());
        let times = match fields.remove(INSTANCES) {
            None => instances,
            Some(value) => value.as_u64().ok_or_else(|| {
                wrong(
                    line,
                    &format!("'{INSTANCES}' must be a whole number, not {value}"),
                )
            })?,
        };
        rows.push(Row::new(fields, times, session).map_err(|why| wrong(line, &why))?);
    }
    if rows.is_empty() {
        return Err(Error::Refused(format!(
            "{} plans nothing: give one JSON object a line, or CSV with a header",
            path.display()
        )));
    }
    // The same row twice is the same test twice: the numbers go on.
    let mut seen = HashMap::<(String, Cell), usize>::new();
    let mut merged: Vec<Row> = Vec::new();
    for row in rows {
        if let Some(first) = seen
            .get(&(row.id.clone(), row.cell.clone()))
            .and_then(|at| merged.get_mut(*at))
        {
            first.instances += row.instances;
        } else {
            seen.insert((row.id.clone(), row.cell.clone()), merged.len());
            merged.push(row);
        }
    }
    checked(merged)
}

type Lines = Vec<(u64, Map<String, Value>)>;

fn json_rows(
    path: &Path,
    wrong: &dyn Fn(u64, &str) -> Error,
    note: &mut dyn FnMut(&str),
) -> Result<Lines> {
    let text = std::fs::read(path).map_err(Error::io("read the plan", path))?;
    let lines = text.split(|byte| *byte == b'\n').zip(1..);
    let rows = lines.filter(|(line, _)| !line.iter().all(u8::is_ascii_whitespace));
    let read = |(line, at)| {
        let (fields, mended) = object_mended(line).map_err(|why| wrong(at, &why))?;
        if let Some(remark) = mended.remark() {
            note(&format!("{} line {at} has {remark}", path.display()));
        }
        Ok((at, fields))
    };
    rows.map(read).collect()
}

fn csv_rows(path: &Path, wrong: &dyn Fn(u64, &str) -> Error) -> Result<Lines> {
    let text = std::fs::read(path).map_err(Error::io("read the plan", path))?;
    let open = OpenQuote::find(text.as_slice(), b',');
    if let Some(quote) = open.map_err(Error::io("read the plan", path))? {
        return Err(wrong(quote.lines + 1, quotes::NEVER_CLOSED));
    }
    let misled = OpenQuote::misled(text.as_slice(), b',');
    if let Some(quote) = misled.map_err(Error::io("read the plan", path))? {
        return Err(wrong(quote.lines + 1, quotes::MISLED));
    }
    let mut reader = csv::Reader::from_reader(text.as_slice());
    let line = |error: &csv::Error| error.position().map_or(1, csv::Position::line);
    let header = reader
        .headers()
        .map_err(|error| wrong(line(&error), &error.to_string()))?
        .clone();
    let mut names = HashSet::new();
    let own = header.iter().filter(|name| !name.trim().is_empty());
    for name in own {
        if !names.insert(name.trim()) {
            return Err(wrong(
                1,
                &format!("two columns are named '{}'", name.trim()),
            ));
        }
    }
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| wrong(line(&error), &error.to_string()))?;
        let at = record.position().map_or(0, csv::Position::line);
        let fields = header
            .iter()
            .zip(&record)
            .filter(|(_, value)| !value.trim().is_empty());
        let value = |(name, value): (&str, &str)| {
            let value = value.trim();
            // Text stays text, whatever it looks like, but for what is a number by its name.
            let number = if matches!(name, "tool_success_rate" | INSTANCES) {
                serde_json::from_str(value).ok().filter(Value::is_number)
            } else {
                None
            };
            (
                name.to_owned(),
                number.unwrap_or_else(|| Value::from(value)),
            )
        };
        rows.push((at, fields.map(value).collect()));
    }
    Ok(rows)
}

fn check(tests: u64) -> Result<()> {
    if tests <= MOST {
        return Ok(());
    }
    Err(Error::Refused(format!(
        "the plan has {tests} tests or more: plan at most {MOST} in one run"
    )))
}

fn checked(rows: Vec<Row>) -> Result<Vec<Row>> {
    check(
        rows.iter()
            .fold(0, |sum: u64, row| sum.saturating_add(row.instances)),
    )?;
    Ok(rows)
}

/// One test of a plan, by the numbers of its row and of the test within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Test {
    /// Which row, counted from 0.
    pub row: u32,
    /// Which test of that row, counted from 1.
    pub instance: u32,
}

/// The tests of a plan: the first of every row, then the second of every row, and so on,
/// so that all cells fill evenly.
pub fn tests(rows: &[Row]) -> impl Iterator<Item = Test> + '_ {
    let most = rows.iter().map(|row| row.instances).max().unwrap_or(0);
    (1..=most).flat_map(move |instance| {
        let due = rows
            .iter()
            .zip(0_u32..)
            .filter(move |(row, _)| instance <= row.instances);
        due.map(move |(_, row)| Test {
            row,
            instance: instance as u32,
        })
    })
}

/// The value of a text dimension of a row.
pub(super) fn dimension<'a>(row: &'a Row, name: &str) -> Option<&'a str> {
    TEXTS
        .contains(&name)
        .then(|| row.fields.get(name))?
        .and_then(Value::as_str)
}

#[cfg(test)]
mod tests_of_plans {
    use serde_json::json;

    use super::*;

    fn dimensions(models: &[&str], prompts: &[&str]) -> Dimensions {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Dimensions {
            models: owned(models),
            prompt_types: owned(prompts),
            tool_success_rates: vec![0.8],
            ..Dimensions::default()
        }
    }

    fn plan(name: &str, text: &str) -> Result<Vec<Row>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        read(&path, 2, None, &mut |_| {})
    }

    #[test]
    fn a_product_fills_every_cell_evenly() {
        let rows = product(&dimensions(&["a", "b"], &["cot", "plain"]), 3, None).unwrap();
        let cells: Vec<_> = rows
            .iter()
            .map(|row| format!("{} {}", row.cell.model, row.cell.prompt_type))
            .collect();
        assert_eq!(cells, ["a cot", "a plain", "b cot", "b plain"]);
        assert_eq!(&*rows[0].cell.difficulty, "unknown");
        let order: Vec<_> = tests(&rows).map(|test| (test.row, test.instance)).collect();
        assert_eq!(order.len(), 12);
        assert_eq!(order[..5], [(0, 1), (1, 1), (2, 1), (3, 1), (0, 2)]);
    }

    #[test]
    fn a_value_that_is_named_twice_counts_once() {
        let rows = product(&dimensions(&["a", "b", "a"], &["cot", "cot"]), 2, None).unwrap();
        assert_eq!(rows.len(), 2);
    }

    #[test]
    fn an_id_says_what_the_test_is() {
        let id =
            |session| product(&dimensions(&["a"], &["cot"]), 1, session).unwrap()[0].test_id(1);
        assert_eq!(id(None), id(None));
        assert_ne!(id(None), id(Some("again")));
        let both = product(&dimensions(&["a", "b"], &[]), 1, None).unwrap();
        assert_eq!(both[0].test_id(1), both[1].test_id(1), "comparable");
        let line = r#"{"tool_success_rate": 0.8, "prompt_type": "cot", "model": "a"}"#;
        assert_eq!(
            plan("plan.jsonl", line).unwrap()[0].test_id(1),
            id(None),
            "whatever the order of columns"
        );
        let other =
            r#"{"tool_success_rate": 0.8, "prompt_type": "cot", "model": "a", "task_id": "7"}"#;
        assert_ne!(plan("plan.jsonl", other).unwrap()[0].test_id(1), id(None));
    }

    #[test]
    fn plans_are_read_in_both_forms() {
        let csv = plan(
            "plan.csv",
            "model,tool_success_rate,instances,task_id\na,0.8,3,007\nb,,,\n",
        )
        .unwrap();
        assert_eq!(
            csv[0].fields,
            json!({"model": "a", "tool_success_rate": 0.8, "task_id": "007"})
                .as_object()
                .unwrap()
                .clone()
        );
        assert_eq!(
            csv.iter().map(|row| row.instances).collect::<Vec<_>>(),
            [3, 2]
        );
        let jsonl = plan(
            "plan.jsonl",
            "{\"model\":\"a\",\"instances\":1}\n\n{\"model\":\"a\"}\n",
        )
        .unwrap();
        assert_eq!(jsonl.len(), 1, "the same row twice");
        assert_eq!(jsonl[0].instances, 3);
    }

    #[test]
    fn a_wrong_plan_names_its_line() {
        for (text, said) in [
            (
                "{\"model\":\"a\"}\n{\"task_id\":\"1\"}",
                "plan.jsonl line 2: 'model' is missing",
            ),
            ("nonsense", "plan.jsonl line 1: not JSON"),
            (
                "{\"model\":\"a\",\"tool_success_rate\":80}",
                "line 1: 'tool_success_rate' must be a number from 0 to 1, not 80",
            ),
            (
                "{\"model\":\"a\",\"instances\":-1}",
                "line 1: 'instances' must be a whole number, not -1",
            ),
            ("{\"model\":7}", "line 1: 'model' must be text, not 7"),
            (
                "{\"model\":\"a\",\"instances\":90000000000}",
                "the plan has 90000000000 tests",
            ),
            ("", "plans nothing"),
        ] {
            let error = plan("plan.jsonl", text).unwrap_err().to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
