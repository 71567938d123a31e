//! The JSON database next to a store, for scripts that set `STORAGE_FORMAT=json`.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use evaltop::internals::formats::json_mirror::Beside;
use evaltop::internals::store::Store;
use pyo3::prelude::*;

use crate::errors;

/// Keeps the database of one store up to date.
#[pyclass(frozen, module = "evaltop._native")]
pub(crate) struct Mirror {
    inner: Mutex<Option<Beside>>,
}

#[pymethods]
impl Mirror {
    /// Begins to keep it.
    #[new]
    fn new(py: Python<'_>, dir: PathBuf) -> PyResult<Self> {
        let inner = py
            .detach(|| Beside::open(&Store::new(dir)))
            .map_err(|error| errors::store(py, &error))?;
        Ok(Self {
            inner: Mutex::new(Some(inner)),
        })
    }

    /// Records were added.
    fn changed(&self) {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(inner) = inner.as_ref() {
            inner.changed();
        }
    }

    /// Writes what is missing and ends. A second call does nothing.
    fn finish(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| {
            let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
            inner.take().map_or(Ok(()), Beside::finish)
        })
        .map_err(|error| errors::store(py, &error))
    }
}
