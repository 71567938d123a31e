//! The native half of the Python module: the same store and the same commands, as values.
//! What is comfortable in Python stands in `python/evaltop/`.

// Arguments come from Python by value.
#![allow(clippy::needless_pass_by_value)]

mod errors;
mod mirror;
mod store;
mod table;
mod values;
mod writer;

use std::ffi::OsString;

use pyo3::prelude::*;

/// The allocator of the program: a job that runs out of memory ends with a sentence.
#[global_allocator]
static ALLOCATOR: evaltop::internals::memory::Allocator = evaltop::internals::memory::Allocator;

/// Runs the command line; `program` is how this very program is started again.
#[pyfunction]
fn main(py: Python<'_>, args: Vec<OsString>, program: Vec<OsString>) -> u8 {
    py.detach(|| evaltop::internals::cli::main_as(args, program))
}

/// A sample of Inspect as the fields of its record, as JSON: see `evaltop.inspect`.
#[pyfunction]
#[pyo3(signature = (header, log, sample))]
fn inspect_record(
    py: Python<'_>,
    header: Vec<u8>,
    log: Option<String>,
    sample: Vec<u8>,
) -> PyResult<String> {
    let fields = py
        .detach(|| evaltop::internals::sources::inspect::record(&header, log.as_deref(), &sample))
        .map_err(|error| errors::store(py, &error))?;
    Ok(serde_json::Value::Object(fields).to_string())
}

/// The native module `evaltop._native`.
#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<writer::Writer>()?;
    module.add_class::<table::Table>()?;
    module.add_class::<mirror::Mirror>()?;
    module.add_function(wrap_pyfunction!(main, module)?)?;
    module.add_function(wrap_pyfunction!(inspect_record, module)?)?;
    store::add(module)
}
