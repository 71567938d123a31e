//! The library's errors as the module's exceptions: the same sentences, one hierarchy.

use evaltop::internals::store::Error;
use pyo3::prelude::*;

/// An exception of `evaltop._errors` by its name.
pub(crate) fn exception(py: Python<'_>, class: &str, sentence: String) -> PyErr {
    let made = py
        .import("evaltop._errors")
        .and_then(|errors| errors.getattr(class))
        .and_then(|class| class.call1((sentence,)));
    made.map_or_else(|error| error, PyErr::from_value)
}

/// What is wrong with one of several records, with its place among them.
pub(crate) fn numbered(py: Python<'_>, error: PyErr, at: usize) -> PyErr {
    let sentence = format!("records[{at}]: {}", error.value(py));
    let made = error.get_type(py).call1((sentence,));
    made.map_or(error, PyErr::from_value)
}

/// What the store refused, as the exception that fits.
pub(crate) fn store(py: Python<'_>, error: &Error) -> PyErr {
    if matches!(error, Error::Cancelled) {
        return pyo3::exceptions::PyKeyboardInterrupt::new_err(());
    }
    let class = match error {
        Error::NoStore { .. } => "NoStoreError",
        Error::Locked { .. } | Error::Claimed { .. } => "LockedError",
        _ => "StoreError",
    };
    exception(py, class, error.to_string())
}

/// What a command refused, as the exception that fits.
pub(crate) fn command(py: Python<'_>, error: &evaltop::internals::cli::Failure) -> PyErr {
    match error.downcast_ref::<Error>() {
        Some(error) => store(py, error),
        None if error.is::<evaltop::internals::cli::Usage>() => {
            exception(py, "UsageError", error.to_string())
        }
        None => exception(py, "StoreError", error.to_string()),
    }
}
