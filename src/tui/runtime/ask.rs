//! Questions to the store that somebody asks with a key. All block: they run on threads of
//! their own.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::DataType;

use crate::config::Config;
use crate::expr::Expr;
use crate::formats;
use crate::observation::{Failure, SessionState};
use crate::sources::transcript;
use crate::stats::metric::Metric;
use crate::stats::paired::Comparison;
use crate::store::read::query::contrast::{contrasts, means};
use crate::store::read::query::sessions::{Session, sessions as all_sessions};
use crate::store::read::query::spending::spending;
use crate::store::read::query::{Filter, Selection, rows};
use crate::store::write::session_notes;
use crate::store::{Control, Error, Result, Store};
use crate::tui::state::model::{LogView, RowView, SessionList, SessionRow};

/// Sessions that are compared with the ones before them.
const COMPARED: usize = 30;

fn condition(text: &str) -> Result<Filter> {
    let condition = text
        .parse()
        .map_err(|error: crate::expr::Error| Error::Refused(error.to_string()))?;
    Ok(Filter {
        condition: Some(Box::new(condition)),
        ..Filter::default()
    })
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Two values of a column by a metric, within one session where one is shown, and on the tests
/// that the filter leaves.
pub(super) fn compare(
    store: &Store,
    (session, only): (Option<&str>, Option<&Expr>),
    both: &[String; 2],
    by: (&str, &Metric),
) -> Result<Comparison> {
    let session = session.map(|session| format!("session_id = {}", quoted(session)));
    let only = only.map(|only| format!("({})", only.text()));
    let filter = match (session, only) {
        (Some(session), Some(only)) => condition(&format!("{session} and {only}"))?,
        (Some(one), None) | (None, Some(one)) => condition(&one)?,
        (None, None) => Filter::default(),
    };
    let (_, found) = contrasts(store, &filter, by, both, 2, &Control::default())?;
    let first = found.into_iter().next().map(|contrast| contrast.found);
    Ok(first.unwrap_or_default())
}

/// The sessions, the newest first, with what they cost and what became better or worse.
pub(super) fn sessions(store: &Store, config: &Config, metric: Metric) -> Result<SessionList> {
    let control = Control::default();
    let all = Filter::default();
    let sessions = all_sessions(store, &all, &control)?;
    let by = ["session_id".to_owned()];
    let spent = spending(store, &all, &by, &config.price_table, &control)?;
    let newest: Vec<String> = sessions
        .iter()
        .take(COMPARED)
        .map(|session| session.id.clone())
        .collect();
    let levels = if metric.is_success() {
        BTreeMap::new()
    } else {
        means(store, &all, ("session_id", &metric), &control)?
    };
    let found = if newest.len() > 1 {
        contrasts(
            store,
            &all,
            ("session_id", &metric),
            &newest,
            COMPARED,
            &control,
        )?
        .1
    } else {
        Vec::new()
    };
    let notes = session_notes::all(store)?;
    let row = |(at, session): (usize, Session)| {
        let own = notes
            .iter()
            .filter(|note| note.session.as_deref() == Some(&session.id));
        let planned = own.filter_map(|note| note.plan).max();
        let against = found
            .iter()
            .find(|contrast| (contrast.first, contrast.second) == (at, at + 1))
            .map(|contrast| contrast.found);
        let cost = spent.get(&vec![session.id.clone()]);
        let level = if metric.is_success() {
            session.rate()
        } else {
            levels.get(&session.id).map(|own| own.mean)
        };
        SessionRow {
            level,
            cost: cost.and_then(crate::observation::spending::Spent::dollars),
            state: planned.map(|planned| {
                if session.tests < planned {
                    SessionState::Incomplete
                } else {
                    SessionState::Finished
                }
            }),
            against,
            session,
        }
    };
    let rows = sessions.into_iter().enumerate().map(row).collect();
    Ok(SessionList { metric, rows })
}

/// Columns of numbers and truth values, those that are mostly asked for first.
pub(super) fn metrics(store: &Store) -> Result<Vec<String>> {
    const FIRST: [&str; 7] = [
        "success",
        "score",
        "cost",
        "execution_time",
        "turns",
        "tool_calls",
        "output_tokens",
    ];
    let none = Selection {
        limit: Some(0),
        ..Selection::default()
    };
    let schema = rows(store, &none, &Control::default())?.schema().clone();
    let number = |of: &DataType| of.is_numeric() || *of == DataType::Boolean;
    let mut names: Vec<String> = schema
        .fields()
        .iter()
        .filter(|field| number(field.data_type()))
        .map(|field| field.name().clone())
        .collect();
    let place = |name: &String| {
        let first = FIRST.iter().position(|own| own == name);
        first.unwrap_or(FIRST.len())
    };
    names.sort_by_key(place);
    Ok(names)
}

/// The row of a failed test.
pub(super) fn row(
    store: &Store,
    model: &str,
    failure: &Failure,
) -> std::result::Result<Box<RowView>, String> {
    if failure.test_id.is_empty() {
        return Err("the test has no id by which its row could be found".to_owned());
    }
    let text = format!(
        "test_id = {} and model = {}",
        quoted(&failure.test_id),
        quoted(model)
    );
    let found = condition(&text).and_then(|filter| {
        let selection = Selection {
            filter,
            ..Selection::default()
        };
        rows(store, &selection, &Control::default())?.collect::<Result<Vec<_>>>()
    });
    let batches = found.map_err(|error| error.to_string())?;
    // The same id may stand in several cells and sessions: the one that failed then.
    let mut best: Option<(bool, RecordBatch)> = None;
    for batch in batches {
        for at in 0..batch.num_rows() {
            let own = batch.slice(at, 1);
            let same = failure.at.is_some_and(|time| {
                let column = own.column_by_name("timestamp").cloned();
                let micros = column.and_then(|column| {
                    use arrow::array::AsArray;
                    let times = column
                        .as_primitive_opt::<arrow::datatypes::TimestampMicrosecondType>()?
                        .clone();
                    times.is_valid(0).then(|| times.value(0))
                });
                micros == Some(time.as_microsecond())
            });
            if best.as_ref().is_none_or(|(is_same, _)| same && !is_same) {
                best = Some((same, own));
            }
        }
    }
    let (_, batch) = best.ok_or_else(|| "the row is not there any more".to_owned())?;
    view(&batch, &failure.test_id).map(Box::new)
}

fn view(batch: &RecordBatch, title: &str) -> std::result::Result<RowView, String> {
    let text = formats::json_text(std::slice::from_ref(batch)).map_err(|e| e.to_string())?;
    let rows: Vec<serde_json::Map<String, serde_json::Value>> =
        serde_json::from_str(&text).map_err(|error| error.to_string())?;
    let row = rows.into_iter().next().unwrap_or_default();
    let plain = |name: &str| {
        row.get(name)
            .and_then(|own| own.as_str())
            .map(str::to_owned)
    };
    let mut view = RowView {
        title: title.to_owned(),
        log: plain("log").filter(|log| !log.is_empty()),
        source: plain("import_source"),
        trial: row.get("trial").and_then(serde_json::Value::as_i64),
        fields: Vec::new(),
    };
    for (name, value) in row {
        let shown = match &value {
            serde_json::Value::Null => continue,
            serde_json::Value::String(text) if text.is_empty() => continue,
            serde_json::Value::String(text) => indented(text).unwrap_or_else(|| text.clone()),
            serde_json::Value::Object(_) | serde_json::Value::Array(_) => {
                serde_json::to_string_pretty(&value).unwrap_or_default()
            }
            other => other.to_string(),
        };
        view.fields.push((name, shown));
    }
    Ok(view)
}

/// JSON in a text, indented.
fn indented(text: &str) -> Option<String> {
    let text = text.trim();
    if !text.starts_with(['{', '[']) {
        return None;
    }
    let value: serde_json::Value = serde_json::from_str(text).ok()?;
    serde_json::to_string_pretty(&value).ok()
}

/// The text of a log.
pub(super) fn log(
    path: &Path,
    sample: Option<&str>,
    trial: Option<i64>,
) -> std::result::Result<LogView, String> {
    let text = transcript::text(path, sample, trial)?;
    let sample = sample.map_or_else(String::new, |sample| format!("#{sample}"));
    Ok(LogView {
        title: format!("{}{sample}", path.display()),
        text: text.into(),
    })
}

/// Starts the user's own program, which has nothing to do with our terminal.
pub(super) fn start(words: &[OsString]) -> std::result::Result<(), String> {
    let (program, arguments) = words.split_first().ok_or("log.open names no program")?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("log.open: cannot start {}: {error}", program.display()))?;
    // Its end is waited for, so that nothing of it is left in the table of processes.
    let waits = std::thread::Builder::new().name("log.open".to_owned());
    let _ = waits.spawn(move || child.wait());
    Ok(())
}
