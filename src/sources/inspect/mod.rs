//! Logs of the Inspect framework: `.eval` archives and JSON documents, finished or
//! not. A sample is a record; the first scorer decides about success.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::detect::{self, has_extension};
use super::json_reader::{JsonReader, Shape};
use super::objects::{JUDGED, Object, Place, Reader, Remarks, Rows};
use super::source::bad_document;
use crate::config::show_counted;
use crate::sources::source::Column;
use crate::store::format::record::{BOTH, REPEATED, SURROGATES};
use crate::store::{Error, Result};

mod header;
mod parts;
mod sample;

use header::Header;
use parts::Parts;

/// Names of the parts that speak of the whole evaluation: the second is all that an
/// unfinished log has.
const HEADERS: [&str; 2] = ["header.json", "_journal/start.json"];

/// Whether an archive is such a log.
pub(crate) fn is_log(path: &Path) -> Result<bool> {
    let found = Parts::open(path)?.next(|name| HEADERS.contains(&name), |_, _| Ok(()))?;
    Ok(found.is_some())
}

/// A sample as the record that an import of its log makes of it, for a program that has the
/// sample before there is a log. `header` and `sample` are JSON as the log will hold it: an object
/// with `eval`, and the sample (messages and events may be cut to what the importer reads); `log`
/// is where the log will be.
///
/// # Errors
/// The header does not name task and model, or the sample has no id.
pub fn record(header: &[u8], log: Option<&str>, sample: &[u8]) -> Result<Map<String, Value>> {
    let bad = |fault| bad_document(Path::new(log.unwrap_or("the evaluation")), None, fault);
    let mut header = JsonReader::new(header)
        .and_then(|mut json| Header::read(&mut json))
        .map_err(bad)?;
    if !header.complete() {
        return Err(Error::Refused(
            "the evaluation does not name its task and model".to_owned(),
        ));
    }
    header.log = log.map(str::to_owned);
    let row = JsonReader::new(sample).and_then(|mut json| sample::read(&mut json, &header));
    let (_, mut fields, _) = row.map_err(bad)?;
    let score = fields.get("score").and_then(Value::as_f64);
    if score.is_some_and(|score| !(0.0..=1.0).contains(&score)) {
        // No success follows from a score on another scale.
        for name in JUDGED {
            fields.remove(name);
        }
    }
    Ok(fields)
}

/// A log.
#[derive(Debug)]
pub(crate) struct Inspect {
    path: PathBuf,
    size: u64,
    archive: bool,
    torn: bool,
    header: Header,
}

impl Inspect {
    /// Reads what the log says of the whole evaluation.
    pub(crate) fn open(path: &Path, name: &Path) -> Result<Self> {
        let mut file = detect::open(path)?;
        let size = file.metadata().map_err(Error::io("read", path))?.len();
        let mut first = [0; 2];
        let archive = match file.read_exact(&mut first) {
            Ok(()) => &first == b"PK",
            Err(_) => false,
        };
        let mut log = Self {
            path: path.to_path_buf(),
            size,
            archive,
            torn: false,
            header: Header::default(),
        };
        if archive {
            let mut parts = Parts::open(path)?;
            log.torn = parts.torn();
            let bad = |part: &str, fault| bad_document(path, Some(part), fault);
            // The finished header is the last part and knows most.
            while let Some((finished, header)) = parts.next(
                |name| HEADERS.contains(&name),
                |name, part| {
                    let header = JsonReader::new(part).and_then(|mut json| Header::read(&mut json));
                    Ok((
                        Some(&name) == HEADERS.first(),
                        header.map_err(|fault| bad(name, fault))?,
                    ))
                },
            )? {
                if finished || !log.header.complete() {
                    log.header = header;
                }
            }
        } else {
            let header =
                JsonReader::new(detect::open(path)?).and_then(|mut json| Header::read(&mut json));
            log.header = header.map_err(|fault| bad_document(path, None, fault))?;
        }
        log.header.log = Some(name.display().to_string());
        if log.header.complete() {
            return Ok(log);
        }
        Err(Error::Refused(format!(
            "{} is not a log of the Inspect framework: it does not name the task and the model under 'eval'",
            path.display()
        )))
    }

    fn samples_of_archive(&self) -> Result<Rows<'_>> {
        let mut parts = Parts::open(&self.path)?;
        Ok(Box::new(std::iter::from_fn(move || {
            let row = parts.next(
                |name| name.starts_with("samples/") && has_extension(name, "json"),
                |name, part| {
                    let row = JsonReader::new(part)
                        .and_then(|mut json| sample::read(&mut json, &self.header));
                    row.map_err(|fault| bad_document(&self.path, Some(name), fault))
                },
            );
            let object = |row: Option<sample::Row>| row.map(|row| object(row, parts.read));
            row.map(object).transpose()
        })))
    }

    fn samples_of_document(&self) -> Result<Rows<'_>> {
        let mut document =
            Document::open(&self.path).map_err(|fault| bad_document(&self.path, None, fault))?;
        let mut done = false;
        Ok(Box::new(std::iter::from_fn(move || {
            if done {
                return None;
            }
            let row = document.next(&self.header);
            done = !matches!(row, Ok(Some(_)));
            row.map_err(|fault| bad_document(&self.path, None, fault))
                .transpose()
        })))
    }
}

fn object((name, fields, remark): sample::Row, read: u64) -> Object {
    Object {
        place: Place::Named(name),
        fields: Some(fields),
        remark,
        read,
        rejected: None,
    }
}

impl Reader for Inspect {
    fn rows(&self) -> Result<Rows<'_>> {
        if self.archive {
            self.samples_of_archive()
        } else {
            self.samples_of_document()
        }
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn scores(&self) -> bool {
        true
    }

    fn label(&self) -> Option<String> {
        let evaluation = self.header.evaluation_id()?;
        Some(format!("inspect {evaluation}"))
    }

    fn notes(&self, remarks: &Remarks, columns: &[Column]) -> Vec<String> {
        let mut notes = Vec::new();
        if self.torn {
            notes.push("the archive has no end: the parts that are complete were read".to_owned());
        }
        match self.header.status.as_deref() {
            Some("success") => {}
            Some("started") | None => notes.push("the evaluation is not finished".to_owned()),
            Some(other) => {
                let why = self
                    .header
                    .error
                    .as_ref()
                    .map(|why| format!(": {why}"))
                    .unwrap_or_default();
                notes.push(format!("the evaluation ended with status '{other}'{why}"));
            }
        }
        let there = |name: &&String| columns.iter().any(|column| column.name == **name);
        let scores: Vec<&str> = self
            .header
            .columns
            .iter()
            .filter(there)
            .map(String::as_str)
            .collect();
        if let [first, _, ..] = scores.as_slice() {
            notes.push(format!(
                "success is {first} >= 1, of {}: --success-from 'NAME>=1' takes another",
                scores.join(", ")
            ));
        }
        if let Some(worded) = remarks.get(sample::WORDED) {
            let own = |column: &&Column| column.name.starts_with("score_");
            let any = columns.iter().find(own).map(|column| column.name.as_str());
            let name = scores.first().copied().or(any).unwrap_or("score_NAME");
            notes.push(format!(
                "{} with a word as a score, which is not a success by itself: --success-from '{name}==WORD'",
                show_counted(*worded, "sample")
            ));
        }
        if let Some(unscored) = remarks.get(sample::UNSCORED) {
            notes.push(format!(
                "{} without a score, counted as infrastructure errors",
                show_counted(*unscored, "sample")
            ));
        }
        for what in [SURROGATES, REPEATED, BOTH] {
            if let Some(samples) = remarks.get(what) {
                notes.push(format!("{} with {what}", show_counted(*samples, "sample")));
            }
        }
        notes
    }
}

/// A JSON log whose samples are being read.
struct Document {
    json: JsonReader<File>,
    inside: bool,
}

impl Document {
    fn open(path: &Path) -> std::result::Result<Self, super::json_reader::Fault> {
        let mut json = JsonReader::new(File::open(path)?)?;
        json.enter_object()?;
        Ok(Self {
            json,
            inside: false,
        })
    }

    fn next(
        &mut self,
        header: &Header,
    ) -> std::result::Result<Option<Object>, super::json_reader::Fault> {
        loop {
            if self.inside {
                if self.json.element()? {
                    let row = sample::read(&mut self.json, header)?;
                    return Ok(Some(object(row, self.json.offset())));
                }
                self.inside = false;
            }
            match self.json.key()? {
                None => return Ok(None),
                Some(name) if name == "samples" && self.json.shape()? == Shape::Array => {
                    self.json.enter_array()?;
                    self.inside = true;
                }
                Some(_) => self.json.skip()?,
            }
        }
    }
}
