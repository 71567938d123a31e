//! The way in: records of one process. Thread-safe; fork and plan are looked after in Python.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use evaltop::internals::sources::mailbox::url::is_url;
use evaltop::internals::sources::mailbox::{Sender, Spool, Url};
use evaltop::internals::store::format::heartbeat::{Ended, InFlight};
use evaltop::internals::store::format::record::Fields;
use evaltop::internals::store::format::session_note::SessionNote;
use evaltop::internals::store::write::live::Live;
use evaltop::internals::store::write::on_request;
use evaltop::internals::store::write::session_notes;
use evaltop::internals::store::write::test_id::test_id as make_id;
use evaltop::internals::store::write::writer::{Durability, Writer as Inner, WriterOptions};
use evaltop::internals::store::{Record, Store};
use jiff::Timestamp;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::{errors, values};

/// Appends records to a store.
#[pyclass(frozen, module = "evaltop._native")]
pub(crate) struct Writer {
    inner: Mutex<Option<Inner>>,
    store: Store,
    /// Of the records that bring none.
    session: Option<String>,
    /// Further fields of every record.
    defaults: Option<Py<PyDict>>,
    /// The ids that were made, so that one test is not recorded twice by mistake.
    made: Mutex<HashSet<String>>,
    /// Some record named neither its test nor its task.
    random: AtomicBool,
}

impl Writer {
    /// A dictionary as a record, with the writer's defaults and session.
    fn parse(
        &self,
        py: Python<'_>,
        record: &Bound<'_, PyDict>,
        json: &mut Vec<u8>,
    ) -> PyResult<Record> {
        let defaults = self.defaults.as_ref().map(|defaults| defaults.bind(py));
        let mut fields = Fields::default();
        let read = if defaults.is_none_or(|defaults| values::plain(defaults, &mut fields))
            && values::plain(record, &mut fields)
        {
            Record::from_fields(fields, &self.store.zone)
        } else {
            json.clear();
            let written = match defaults {
                None => values::object(record, json),
                Some(defaults) => {
                    let merged = defaults.copy()?;
                    merged.update(record.as_mapping())?;
                    values::object(&merged, json)
                }
            };
            written.and_then(|()| Record::parse_in(json, &self.store.zone))
        };
        let mut record = read.map_err(|sentence| errors::exception(py, "RecordError", sentence))?;
        if record.session_id.is_none() {
            record.session_id.clone_from(&self.session);
        }
        Ok(record)
    }

    /// Gives records that bring no id the one that their session, cell, task and trial make;
    /// returns those ids. Without a task the writer makes a random one.
    fn name(&self, py: Python<'_>, records: &mut [Record]) -> PyResult<HashSet<String>> {
        let mut new = HashSet::new();
        for record in records.iter_mut().filter(|record| record.test_id.is_none()) {
            let Some(task) = &record.task_id else {
                self.random.store(true, Ordering::Relaxed);
                continue;
            };
            // As Python writes a float.
            let rate = record.tool_success_rate.map(|rate| format!("{rate:?}"));
            let trial = record.trial.unwrap_or(0).to_string();
            let id = make_id(&[
                record.session_id.as_deref(),
                Some(&record.model),
                record.prompt_type.as_deref(),
                rate.as_deref(),
                record.difficulty.as_deref(),
                record.task_type.as_deref(),
                Some(task),
                Some(&trial),
            ]);
            // Not held while an exception is made, which may let other threads run.
            let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
            let again = made.contains(&id);
            drop(made);
            if again || !new.insert(id.clone()) {
                let sentence = format!(
                    "task_id '{task}' of '{}' was recorded before by this writer: pass trial=1 \
                     for a second try",
                    record.model
                );
                return Err(errors::exception(py, "DuplicateTest", sentence));
            }
            record.test_id = Some(id);
        }
        Ok(new)
    }
}

#[pymethods]
impl Writer {
    /// Opens a writer; makes the store's folders where they are missing.
    #[new]
    #[pyo3(signature = (dir, durability, session, defaults, worker=false))]
    fn new(
        py: Python<'_>,
        dir: PathBuf,
        durability: &str,
        session: Option<String>,
        defaults: Option<Py<PyDict>>,
        worker: bool,
    ) -> PyResult<Self> {
        let durability = match durability {
            "process" => Durability::Process,
            "disk" => Durability::Disk,
            "remote" if is_url(&dir) => Durability::Remote,
            "remote" => {
                let sentence = "durability 'remote' is for mailboxes: s3://, gs:// or az://bucket/prefix, file:///folder";
                return Err(errors::exception(py, "UsageError", sentence.to_owned()));
            }
            other => {
                let sentence =
                    format!("durability is '{other}': it must be 'process', 'disk' or 'remote'");
                return Err(errors::exception(py, "UsageError", sentence));
            }
        };
        let (store, inner) = py
            .detach(|| {
                let (store, options) = if is_url(&dir) {
                    let spool = Spool::open(&Url::parse(&dir.to_string_lossy())?)?;
                    let options = Sender::start(&spool)?.options();
                    (spool.store, options)
                } else {
                    (Store::new(dir), WriterOptions::default())
                };
                let options = WriterOptions {
                    durability,
                    ..options
                };
                Inner::open(&store, options).map(|inner| (store, inner))
            })
            .map_err(|error| errors::store(py, &error))?;
        on_request::say_last_word(inner.live(), worker);
        Ok(Self {
            inner: Mutex::new(Some(inner)),
            store,
            session,
            defaults,
            made: Mutex::default(),
            random: AtomicBool::new(false),
        })
    }

    /// Appends records, acknowledged together; returns their ids. With `ids`, records that
    /// bring none get the id of their task.
    fn append(
        &self,
        py: Python<'_>,
        records: &Bound<'_, PyList>,
        ids: bool,
    ) -> PyResult<Vec<String>> {
        let mut json = Vec::with_capacity(512);
        let mut parsed = Vec::with_capacity(records.len());
        for (at, record) in records.iter().enumerate() {
            let found = self.parse(py, record.cast::<PyDict>()?, &mut json);
            parsed.push(found.map_err(|error| match records.len() {
                1 => error,
                _ => errors::numbered(py, error, at),
            })?);
        }
        let made = if ids {
            self.name(py, &mut parsed)?
        } else {
            HashSet::new()
        };
        let appended = py.detach(|| {
            let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
            inner.as_mut().map(|inner| inner.append_all(parsed))
        });
        let ids = appended
            .ok_or_else(|| closed(py))?
            .map_err(|error| errors::store(py, &error))?;
        let mut all = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        all.extend(made);
        Ok(ids)
    }

    /// Whether some record named neither its test nor its task, so that its id is random.
    #[getter]
    fn random_ids(&self) -> bool {
        self.random.load(Ordering::Relaxed)
    }

    /// The name of the writer: `<pid>_<YYYYmmdd_HHMMSS>`.
    #[getter]
    fn process_id(&self, py: Python<'_>) -> PyResult<String> {
        let name = py.detach(|| {
            let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
            inner.as_ref().map(|inner| inner.process_id().to_owned())
        });
        name.ok_or_else(|| closed(py))
    }

    /// A test begins: it is in flight until its row comes, or `forget`.
    #[pyo3(signature = (model, test_id, task_id, trial))]
    fn begin(
        &self,
        py: Python<'_>,
        model: String,
        test_id: Option<String>,
        task_id: Option<String>,
        trial: Option<i64>,
    ) {
        let since = Timestamp::now().as_microsecond();
        let test = in_flight(model, test_id, task_id, trial, since);
        self.live(py, |live| live.begin(test));
    }

    /// A test in flight ends without a row.
    #[pyo3(signature = (model, test_id, task_id, trial))]
    fn forget(
        &self,
        py: Python<'_>,
        model: String,
        test_id: Option<String>,
        task_id: Option<String>,
        trial: Option<i64>,
    ) {
        let test = in_flight(model, test_id, task_id, trial, 0);
        self.live(py, |live| live.forget(&test));
    }

    /// A request of a test in flight is tried again after `wait` seconds.
    #[pyo3(signature = (model, test_id, task_id, trial, status, wait))]
    #[allow(clippy::too_many_arguments)] // A call from Python, by name there.
    fn retry(
        &self,
        py: Python<'_>,
        model: String,
        test_id: Option<String>,
        task_id: Option<String>,
        trial: Option<i64>,
        status: Option<i64>,
        wait: f64,
    ) {
        let test = in_flight(model, test_id, task_id, trial, 0);
        self.live(py, |live| live.retry(&test, status, wait, Timestamp::now()));
    }

    /// Keeps the plan and the metadata of the session in the store.
    #[pyo3(signature = (tests, meta))]
    fn describe(
        &self,
        py: Python<'_>,
        tests: Option<u64>,
        meta: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<()> {
        let mut json = Vec::new();
        let written = match meta {
            Some(meta) => values::object(meta, &mut json),
            None => Ok(()),
        };
        written.map_err(|why| errors::exception(py, "UsageError", format!("meta: {why}")))?;
        let meta = serde_json::from_slice(&json).unwrap_or_default();
        let Some(note) = SessionNote::new(self.session.clone(), tests, meta) else {
            return Ok(());
        };
        py.detach(|| session_notes::keep(&self.store, &note))
            .map_err(|error| errors::store(py, &error))
    }

    /// How many tests the session means to run.
    #[pyo3(signature = (tests, session))]
    fn plan(&self, py: Python<'_>, tests: u64, session: Option<String>) {
        self.live(py, |live| live.plan(tests, session));
    }

    /// The program fails, for this reason; what is said later about its end does not count.
    fn failed(&self, py: Python<'_>, reason: String) {
        self.live(py, |live| {
            live.end(Ended::Failed, Some(reason), Timestamp::now());
        });
    }

    /// The program was interrupted; what is said later about its end does not count.
    fn interrupted(&self, py: Python<'_>) {
        self.live(py, |live| {
            live.interrupted();
            live.end(
                Ended::Ended,
                Some("interrupted".to_owned()),
                Timestamp::now(),
            );
        });
    }

    /// The process ends, and said nothing about it. Records are taken all the same.
    fn last_word(&self, py: Python<'_>) {
        self.live(py, |live| {
            live.last_word(Ended::Ended, None, Timestamp::now());
        });
    }

    /// Publishes what was appended so far as an increment, and waits for it.
    fn publish(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| {
            let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
            inner.as_mut().map_or(Ok(()), Inner::publish)
        })
        .map_err(|error| errors::store(py, &error))
    }

    /// Publishes what is left and ends. A second call does nothing.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| {
            let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
            inner.take().map_or(Ok(()), Inner::close)
        })
        .map_err(|error| errors::store(py, &error))
    }
}

impl Writer {
    /// Says something about the writer; nothing when it is closed.
    fn live(&self, py: Python<'_>, say: impl FnOnce(&Live) + Send) {
        py.detach(|| {
            let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(inner) = inner.as_ref() {
                say(inner.live());
            }
        });
    }
}

fn in_flight(
    model: String,
    test_id: Option<String>,
    task_id: Option<String>,
    trial: Option<i64>,
    since: i64,
) -> InFlight {
    InFlight {
        model,
        test_id,
        task_id,
        trial,
        since,
        retries: 0,
    }
}

fn closed(py: Python<'_>) -> PyErr {
    errors::exception(py, "StoreError", "the writer is closed".to_owned())
}
