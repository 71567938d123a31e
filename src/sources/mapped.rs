//! Formats that a mapping file describes: where the rows are, which field is which column,
//! and what success means. `docs/sources.md` describes the files; those in `assets/mappings/`
//! come along and are found by content.

use std::path::Path;
use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::csv::Csv;
use super::detect::{self, Form};
use super::document::{Document, Survey, lookup};
use super::json_reader::{JsonReader, Shape};
use super::jsonl::Jsonl;
use super::objects::{Object, Place, Reader, Remarks, Rows};
use super::parquet::Parquet;
use super::source::{Column as Found, bad_document};
use super::spec::Spec;
use super::table::Table;
use crate::config::show_counted;
use crate::store::{Error, Result};

/// The mappings that come with the program.
const BUILT_IN: [&str; 16] = [
    include_str!("../../assets/mappings/every-eval-ever.toml"),
    include_str!("../../assets/mappings/promptfoo.toml"),
    include_str!("../../assets/mappings/terminal-bench.toml"),
    include_str!("../../assets/mappings/humaneval.toml"),
    include_str!("../../assets/mappings/tau2-bench.toml"),
    include_str!("../../assets/mappings/openai-evals.toml"),
    include_str!("../../assets/mappings/verifiers.toml"),
    include_str!("../../assets/mappings/verifiers-traces.toml"),
    include_str!("../../assets/mappings/mt-bench.toml"),
    include_str!("../../assets/mappings/alpaca-eval.toml"),
    include_str!("../../assets/mappings/evalplus.toml"),
    include_str!("../../assets/mappings/bigcodebench.toml"),
    include_str!("../../assets/mappings/harbor.toml"),
    include_str!("../../assets/mappings/evalscope.toml"),
    include_str!("../../assets/mappings/lighteval.toml"),
    include_str!("../../assets/mappings/alpaca-eval-leaderboard.toml"),
];

/// Lines that are looked at to detect a format.
const LOOK: usize = 5;
/// A row that stands for many tests and does not say how many.
const UNCOUNTED: &str = "that do not say how many tests they are, or how many successes";
/// A line that the mapping passes over.
const OTHER: &str = "other";

impl Spec {
    /// The mappings that come with the program.
    pub fn built_in() -> &'static [Spec] {
        static SPECS: LazyLock<Vec<Spec>> = LazyLock::new(|| {
            BUILT_IN
                .iter()
                .filter_map(|text| Spec::parse(text).ok())
                .collect()
        });
        &SPECS
    }

    /// The rows of a file.
    pub(crate) fn open(&'static self, path: &Path, name: &Path) -> Result<Mapped> {
        let form = match detect::form(path)? {
            Form::Json if self.is_lines(path)? => Look::Lines,
            Form::Json if self.whole => Look::Whole,
            Form::Json => Look::Document(Survey::of(path)?),
            Form::Csv => Look::Csv,
            Form::Parquet => Look::Parquet,
        };
        self.read(path, name, &form)
    }

    fn read(&'static self, path: &Path, name: &Path, look: &Look) -> Result<Mapped> {
        let mut shared = Map::new();
        let inner: Box<dyn Reader> = match look {
            Look::Lines => Box::new(Jsonl::open(path)?),
            Look::Whole => Box::new(Whole::open(path)?),
            Look::Csv => Box::new(Table(Box::new(Csv::with_index(path)?))),
            Look::Parquet => Box::new(Table(Box::new(Parquet::open(path)?))),
            Look::Document(survey) => {
                let rows = self.rows.as_deref().unwrap_or(".");
                let document = Document::with(path, survey, Some(rows))?;
                shared.clone_from(document.shared());
                Box::new(document)
            }
        };
        if self.header_line
            && let Some(first) = inner.rows()?.next().transpose()?.and_then(|row| row.fields)
        {
            shared.extend(first);
        }
        let mut put = |key: &str, value: Option<&std::ffi::OsStr>| {
            let value = value.map(|value| value.to_string_lossy().into_owned().into());
            shared.extend(value.map(|value| (key.to_owned(), value)));
        };
        let name = std::path::absolute(name).unwrap_or_else(|_| name.to_path_buf());
        put("@file", name.file_stem());
        put("@folder", name.parent().and_then(Path::file_name));
        Ok(Mapped {
            spec: self,
            inner,
            shared,
        })
    }

    /// Whether a file of JSON is read line by line.
    fn is_lines(&self, path: &Path) -> Result<bool> {
        if self.rows.is_some() || self.whole {
            return Ok(false);
        }
        // An array begins with a bracket, whatever comes before.
        let mut json = JsonReader::new(detect::open(path)?)
            .map_err(|fault| bad_document(path, None, fault))?;
        let shape = json
            .shape()
            .map_err(|fault| bad_document(path, None, fault))?;
        Ok(shape != Shape::Array)
    }

    /// Whether a file has what this mapping needs.
    fn fits(&'static self, path: &Path, look: &Look) -> bool {
        let meant = match look {
            Look::Lines => self.rows.is_none() && !self.whole && !self.table,
            Look::Document(_) => !self.whole && !self.table,
            Look::Whole => self.whole,
            Look::Csv | Look::Parquet => self.table,
        };
        let mapped = if meant {
            self.read(path, path, look).ok()
        } else {
            None
        };
        let Some(mapped) = mapped else {
            return false;
        };
        let shared = |name: &String| lookup(&mapped.shared, name).is_some();
        let Ok(rows) = mapped.inner.rows() else {
            return false;
        };
        let fits = |row: Object| {
            row.fields
                .is_some_and(|own| self.fields.iter().all(|name| lookup(&own, name).is_some()))
        };
        self.document.iter().all(shared) && rows.take(LOOK).flatten().any(fits)
    }
}

/// How a file is read.
enum Look {
    Lines,
    Document(Survey),
    Whole,
    Csv,
    Parquet,
}

/// The mapping among those that come along that a file fits; `lines` says that it is JSON
/// lines.
pub(crate) fn find(path: &Path, lines: bool) -> Option<&'static Spec> {
    let fits = |look: &Look| Spec::built_in().iter().find(|spec| spec.fits(path, look));
    if lines {
        return fits(&Look::Lines);
    }
    // A document is read once for all mappings; one that can't be read fits none.
    fits(&Look::Document(Survey::of(path).ok()?)).or_else(|| fits(&Look::Whole))
}

/// The same of a table.
pub(crate) fn find_table(path: &Path, form: Form) -> Option<&'static Spec> {
    let look = match form {
        Form::Csv => Look::Csv,
        Form::Parquet => Look::Parquet,
        Form::Json => return None,
    };
    Spec::built_in().iter().find(|spec| spec.fits(path, &look))
}

/// A document that is one row.
struct Whole {
    fields: Map<String, Value>,
    size: u64,
}

impl Whole {
    /// Bytes of the largest that is read.
    const MOST: u64 = 64 << 20;

    fn open(path: &Path) -> Result<Self> {
        let file = detect::open(path)?;
        let size = file.metadata().map_err(Error::io("read", path))?.len();
        let refused = |why: String| Error::Refused(format!("{} {why}", path.display()));
        if size > Self::MOST {
            return Err(refused("is too large for one row".to_owned()));
        }
        let fields = serde_json::from_reader(std::io::BufReader::new(file));
        let fields = fields.map_err(|error| refused(format!("is not one JSON object: {error}")))?;
        Ok(Self { fields, size })
    }
}

impl Reader for Whole {
    fn rows(&self) -> Result<Rows<'_>> {
        let row = Object {
            place: Place::Named("the document".to_owned()),
            fields: Some(self.fields.clone()),
            remark: None,
            read: self.size,
            rejected: None,
        };
        Ok(Box::new(std::iter::once(Ok(row))))
    }

    fn size(&self) -> u64 {
        self.size
    }
}

/// A file by a mapping.
pub(crate) struct Mapped {
    spec: &'static Spec,
    inner: Box<dyn Reader>,
    shared: Map<String, Value>,
}

impl Reader for Mapped {
    fn rows(&self) -> Result<Rows<'_>> {
        let rows = self.inner.rows()?.map(|row| {
            let mut row = row?;
            let Some(own) = row.fields.take() else {
                return Ok(row);
            };
            let test = self
                .spec
                .only
                .iter()
                .all(|(name, value)| lookup(&own, name).is_some_and(|found| found == value));
            if test {
                let fields = self.spec.apply(&own, &self.shared);
                if self.spec.counts.is_some() && !fields.contains_key("total") {
                    row.remark = Some(UNCOUNTED);
                } else {
                    row.fields = Some(fields);
                }
            } else {
                row.remark = Some(OTHER);
            }
            Ok(row)
        });
        Ok(Box::new(rows))
    }

    fn size(&self) -> u64 {
        self.inner.size()
    }

    fn notes(&self, remarks: &Remarks, columns: &[Found]) -> Vec<String> {
        let mut notes = self.inner.notes(remarks, columns);
        if let Some(other) = remarks.get(OTHER) {
            notes.push(format!(
                "{} that are not tests",
                show_counted(*other, "line")
            ));
        }
        if let Some(rows) = remarks.get(UNCOUNTED) {
            notes.push(format!(
                "{} left out {UNCOUNTED}",
                show_counted(*rows, "row")
            ));
        }
        notes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mappings_that_come_along_are_right() {
        for text in BUILT_IN {
            let spec = Spec::parse(text).unwrap();
            assert!(!spec.fields.is_empty(), "{}", spec.name);
            let own = [
                "judge",
                "prompt",
                "output",
                "turn",
                "failure_mode",
                "end_reason",
                "evaluation_id",
                "exception",
                "agent",
                "status",
            ];
            let unknown: Vec<_> = spec
                .names()
                .filter(|name| {
                    crate::store::format::schema::kind_of(name).is_none() && !own.contains(name)
                })
                .collect();
            assert!(unknown.is_empty(), "{}: {unknown:?}", spec.name);
        }
        assert!(
            Spec::parse("name = 'x'\ncolums = {}")
                .unwrap_err()
                .contains("colums")
        );
    }
}
