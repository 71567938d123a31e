//! A store as values: status, queries, jobs. The arguments are those of the commands, so that
//! both mean the same.

use std::ffi::OsString;
use std::path::PathBuf;

use evaltop::internals::cli::embed;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::errors;
use crate::table::Table;

/// What a command prints with `--format json`, as text.
#[pyfunction]
fn status(py: Python<'_>, dir: PathBuf) -> PyResult<String> {
    py.detach(|| embed::status(&dir))
        .map_err(|error| errors::command(py, &error))
}

/// `evaltop query ARGS…` as Arrow batches.
#[pyfunction]
fn query(py: Python<'_>, args: Vec<OsString>) -> PyResult<Table> {
    let (schema, batches) = interruptible(py, move |control| embed::query(args, control))?;
    Ok(Table::new(schema, batches))
}

/// `evaltop compare ARGS…` as JSON, and its exit code.
#[pyfunction]
fn compare(py: Python<'_>, args: Vec<OsString>) -> PyResult<(String, u8)> {
    interruptible(py, move |control| embed::compare(args, control))
}

/// A job (`consolidate`, `backup`, `cleanup`, `export` …) with its arguments; its outcome as JSON.
#[pyfunction]
fn job(py: Python<'_>, args: Vec<OsString>) -> PyResult<String> {
    interruptible(py, move |control| embed::job(args, control))
}

/// `evaltop missing ARGS…` as JSON: a list of the missing tests.
#[pyfunction]
fn missing(py: Python<'_>, args: Vec<OsString>) -> PyResult<String> {
    interruptible(py, move |control| embed::missing(args, control))
}

/// `evaltop report ARGS…`.
#[pyfunction]
fn report(py: Python<'_>, args: Vec<OsString>) -> PyResult<()> {
    interruptible(py, move |control| embed::report(args, control))
}

/// `evaltop import FILE --into DIR`; returns the number of new rows.
#[pyfunction]
fn import_file(py: Python<'_>, dir: PathBuf, file: PathBuf) -> PyResult<u64> {
    interruptible(py, move |control| embed::import(&dir, &file, control))
}

/// A dictionary as one line of JSON, with the values that a record may have.
#[pyfunction]
fn json_line(py: Python<'_>, record: &Bound<'_, PyDict>) -> PyResult<String> {
    let mut line = Vec::new();
    crate::values::object(record, &mut line)
        .map_err(|sentence| errors::exception(py, "RecordError", sentence))?;
    Ok(String::from_utf8_lossy(&line).into_owned())
}

/// Plans and metadata of sessions, as a JSON list.
#[pyfunction]
fn sessions(py: Python<'_>, dir: PathBuf) -> PyResult<String> {
    let store = evaltop::internals::store::Store::new(dir);
    let notes = py
        .detach(|| evaltop::internals::store::write::session_notes::all(&store))
        .map_err(|error| errors::store(py, &error))?;
    serde_json::to_string(&notes)
        .map_err(|error| errors::exception(py, "StoreError", error.to_string()))
}

/// Runs `work` without the GIL, and cancels it when a signal's handler raises (Ctrl-C).
fn interruptible<T: Send + 'static>(
    py: Python<'_>,
    work: impl FnOnce(
        &evaltop::internals::store::Control,
    ) -> Result<T, evaltop::internals::cli::Failure>
    + Send
    + 'static,
) -> PyResult<T> {
    let control = evaltop::internals::store::Control::default();
    let cancel = control.clone();
    let worker = std::thread::spawn(move || work(&control));
    let mut raised = None;
    while !worker.is_finished() {
        py.detach(|| std::thread::sleep(std::time::Duration::from_millis(1)));
        if let Err(error) = py.check_signals() {
            cancel.cancel();
            raised = Some(error);
        }
    }
    let ended = worker.join();
    if let Some(error) = raised {
        return Err(error);
    }
    match ended {
        Ok(result) => result.map_err(|error| errors::command(py, &error)),
        Err(_) => Err(errors::exception(
            py,
            "StoreError",
            "the work ended early: this is a fault of evaltop".to_owned(),
        )),
    }
}

pub(crate) fn add(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(status, module)?)?;
    module.add_function(wrap_pyfunction!(query, module)?)?;
    module.add_function(wrap_pyfunction!(compare, module)?)?;
    module.add_function(wrap_pyfunction!(missing, module)?)?;
    module.add_function(wrap_pyfunction!(report, module)?)?;
    module.add_function(wrap_pyfunction!(sessions, module)?)?;
    module.add_function(wrap_pyfunction!(import_file, module)?)?;
    module.add_function(wrap_pyfunction!(json_line, module)?)?;
    module.add_function(wrap_pyfunction!(job, module)?)
}
