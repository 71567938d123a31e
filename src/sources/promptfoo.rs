//! The table that promptfoo writes as CSV: a line a test, and of each prompt and provider some
//! columns, which all have the same names.

use std::path::{Path, PathBuf};

use csv::{ReaderBuilder, StringRecord};
use serde_json::{Map, Value};

use super::detect;
use super::objects::{Object, Place, Reader, Rows};
use crate::store::{Error, Result};

/// A table.
pub(crate) struct PromptfooTable {
    path: PathBuf,
    size: u64,
    header: StringRecord,
    outputs: Vec<Output>,
}

/// The columns of one prompt and provider.
struct Output {
    model: String,
    prompt: String,
    /// Where they begin and end.
    from: usize,
    to: usize,
}

impl PromptfooTable {
    /// Whether a file that begins so is one.
    pub(crate) fn is(head: &[u8]) -> bool {
        let mut reader = ReaderBuilder::new().flexible(true).from_reader(head);
        let outputs = reader.headers().map(outputs);
        outputs.is_ok_and(|outputs| !outputs.is_empty())
    }

    /// Reads the header.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = detect::open(path)?;
        let size = file.metadata().map_err(Error::io("read", path))?.len();
        let header = ReaderBuilder::new().from_reader(file).headers().cloned();
        let header = header.map_err(|error| bad(path, &error))?;
        let outputs = outputs(&header);
        Ok(Self {
            path: path.to_path_buf(),
            size,
            header,
            outputs,
        })
    }

    fn fields(
        &self,
        test: usize,
        record: &StringRecord,
        output: &Output,
    ) -> Option<Map<String, Value>> {
        let mut fields = Map::new();
        let mut put = |name: &str, value: Value| fields.insert(name.to_owned(), value);
        let named = |name: &str| {
            let mut columns = (output.from..output.to).zip(self.header.iter().skip(output.from));
            let at = columns.find(|(_, column)| *column == name)?.0;
            record.get(at).filter(|text| !text.is_empty())
        };
        let text = record.get(output.from).unwrap_or_default();
        let old = ["PASS", "FAIL", "ERROR"].into_iter().find(|status| {
            let rest = text
                .strip_prefix('[')
                .and_then(|rest| rest.strip_prefix(status));
            rest.is_some_and(|rest| rest.starts_with(']'))
        });
        // A test that this prompt was not run for.
        let status = named("Status").or(old)?;
        put("model", output.model.clone().into());
        put("prompt_type", output.prompt.clone().into());
        put("task_id", test.into());
        put("success", (status == "PASS").into());
        let in_text = || text.split_once('(')?.1.split([',', ')']).next();
        let score = named("Score").or_else(|| in_text().filter(|_| old.is_some()));
        if let Some(score) = score.and_then(|score| score.trim().parse::<f64>().ok()) {
            put("score", score.into());
        }
        if status == "ERROR" {
            put("error_type", "infrastructure".into());
        }
        if status != "PASS"
            && let Some(why) = named("Grader Reason")
        {
            put("error_message", why.into());
        }
        Some(fields)
    }
}

impl Reader for PromptfooTable {
    fn rows(&self) -> Result<Rows<'_>> {
        let mut reader = ReaderBuilder::new().from_reader(detect::open(&self.path)?);
        let mut test = 0;
        Ok(Box::new(
            std::iter::from_fn(move || {
                let mut record = StringRecord::new();
                let rows = match reader.read_record(&mut record) {
                    Ok(false) => return None,
                    Err(error) => vec![Err(bad(&self.path, &error))],
                    Ok(true) => {
                        let read = reader.position().byte();
                        let row = |output: &Output| {
                            let fields = self.fields(test, &record, output)?;
                            Some(Ok(Object {
                                place: Place::Named(format!("test {}", test + 1)),
                                fields: Some(fields),
                                remark: None,
                                read,
                                rejected: None,
                            }))
                        };
                        self.outputs.iter().filter_map(row).collect()
                    }
                };
                test += 1;
                Some(rows)
            })
            .flatten(),
        ))
    }

    fn size(&self) -> u64 {
        self.size
    }
}

/// Names like `[openai:gpt-4o] a prompt`: alone, or followed by `Status`.
fn outputs(header: &StringRecord) -> Vec<Output> {
    let named = |name: &str| {
        let (model, prompt) = name.strip_prefix('[')?.split_once("] ")?;
        Some((model.to_owned(), prompt.to_owned()))
    };
    let starts: Vec<(usize, (String, String))> = header
        .iter()
        .enumerate()
        .filter_map(|(at, name)| Some((at, named(name)?)))
        .collect();
    let ends = starts
        .iter()
        .skip(1)
        .map(|(at, _)| *at)
        .chain([header.len()]);
    let ends: Vec<usize> = ends.collect();
    starts
        .into_iter()
        .zip(ends)
        .map(|((from, (model, prompt)), to)| Output {
            model,
            prompt,
            from,
            to,
        })
        .collect()
}

fn bad(path: &Path, error: &csv::Error) -> Error {
    Error::Refused(format!(
        "{}: {error}; nothing was imported from this file",
        path.display()
    ))
}
