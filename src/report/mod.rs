//! The report that is sent to others: what a store says, in one HTML or Markdown file.

mod data;
mod html;
mod markdown;
mod words;

use std::ffi::OsStr;
use std::io::Write;
use std::path::Path;

use jiff::Timestamp;

pub use data::{Report, Request};

use data::Model;

use crate::config::show_counted;
use crate::formats::Output;
use crate::observation::{Observation, WriterState};
use crate::store::read::query::Filter;
use crate::store::read::snapshot::{FileState, Scanner};
use crate::store::write::session_notes;
use crate::store::{Control, Error, Result, Store};

/// Writes what a store says to a file: Markdown where its name ends with .md, else HTML. `notes`
/// are further sentences about what does not count.
pub fn write(
    store: &Store,
    mut request: Request,
    notes: Vec<String>,
    (path, output): (&Path, &Output),
    control: &Control,
) -> Result<()> {
    let markdown = is_markdown(path)?;
    request.metadata = metadata(store, request.session.as_deref());
    let root = store.layout.name();
    let name = root.file_name().unwrap_or(root.as_os_str());
    let mut all = left_out(store, request.with_texts, control)?;
    all.extend(notes);
    let name = name.to_string_lossy().into_owned();
    let report = Report::new(store, request, name, all, Timestamp::now(), control)?;
    let text = if markdown {
        report.markdown()
    } else {
        report.html()
    };
    let written = output.handle().write_all(text.as_bytes());
    written.map_err(Error::io("write", path))
}

/// Whether the file is Markdown rather than HTML.
pub fn is_markdown(path: &Path) -> Result<bool> {
    let ending = path.extension().map(OsStr::to_ascii_lowercase);
    match ending.as_ref().and_then(|own| own.to_str()) {
        Some("md" | "markdown") => Ok(true),
        None | Some("html" | "htm") => Ok(false),
        Some(_) => Err(Error::Refused(format!(
            "a report is HTML, which a browser prints to PDF, or Markdown: name it report.html or \
             report.md rather than {}",
            path.display()
        ))),
    }
}

/// The tests that were planned, where the report is of all tests of one session: by what writers
/// say now, else by what is kept of the session.
pub fn planned(store: &Store, seen: &Observation, request: &Request) -> Option<u64> {
    if request.filter != Filter::default() {
        return None;
    }
    let view = seen.session.as_ref();
    let session = match &request.session {
        None => view
            .filter(|view| view.done >= seen.totals.tests)?
            .id
            .as_ref()?,
        Some(session) => session,
    };
    let said = view.filter(|view| view.id.as_ref() == Some(session));
    said.and_then(|view| view.planned).or_else(|| {
        let notes = session_notes::all(store).unwrap_or_default();
        let own = notes
            .iter()
            .filter(|note| note.session.as_ref() == Some(session));
        own.filter_map(|note| note.plan).max()
    })
}

/// What is known of a session beyond its rows.
fn metadata(store: &Store, session: Option<&str>) -> Vec<(String, String)> {
    // No figure depends on it.
    let mut said = session_notes::metadata(store).unwrap_or_default();
    let own = session.and_then(|session| said.remove(session));
    own.unwrap_or_default().into_iter().collect()
}

/// When writers were lost and models throttled, as far as that is known now.
pub fn marks(seen: &Observation, with_texts: bool) -> Vec<(i64, String)> {
    let lost = seen
        .writers
        .iter()
        .filter(|writer| matches!(writer.state, WriterState::Lost | WriterState::Failed));
    let mut marks: Vec<(i64, String)> = lost
        .filter_map(|writer| {
            let at = writer.since.or(writer.last_row)?;
            let state: &str = writer.state.into();
            // Names of machines are no business of whom the report is sent to.
            let who = if with_texts {
                writer.label()
            } else {
                "a writer".to_owned()
            };
            Some((at.as_microsecond(), format!("{who} {state}")))
        })
        .collect();
    marks.extend(seen.throttled.iter().map(|own| {
        let what = format!(
            "{} throttled, {:.0} retries a minute",
            own.model, own.per_minute
        );
        (seen.at.as_microsecond(), what)
    }));
    marks.sort();
    marks
}

/// What of the store does not count.
fn left_out(store: &Store, with_texts: bool, control: &Control) -> Result<Vec<String>> {
    let seen = Scanner::new().scan(store, Timestamp::now(), control)?;
    let mut notes: Vec<String> = if with_texts {
        seen.notes.clone()
    } else {
        Vec::new()
    };
    let mut hidden = if with_texts { 0 } else { seen.notes.len() };
    for file in &seen.waiting {
        let (FileState::Unreadable(why) | FileState::Conflict(why)) = &file.state else {
            continue;
        };
        if with_texts {
            notes.push(format!("{} is left out: {why}", file.name));
        } else {
            hidden += 1;
        }
    }
    if hidden > 0 {
        notes.push(format!(
            "{} about files of the store: evaltop status names them, and --with-texts includes them",
            show_counted(hidden as u64, "note")
        ));
    }
    Ok(notes)
}

impl Report {
    /// One HTML file that needs nothing else.
    pub fn html(&self) -> String {
        html::page(self)
    }

    /// The same for chats and pull requests: the sentences and the leaderboard.
    pub fn markdown(&self) -> String {
        markdown::page(self)
    }

    /// Models, the best first; those of which nothing is known stand last.
    fn order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.models.len()).collect();
        let rate = |at: &usize| {
            let rate = self.models.get(*at).and_then(|model| model.rate);
            rate.map_or(f64::NEG_INFINITY, |rate| self.request.metric.gain(rate))
        };
        order.sort_by(|one, other| rate(other).total_cmp(&rate(one)));
        order
    }

    fn ranked(&self) -> Vec<&Model> {
        self.order()
            .into_iter()
            .filter_map(|at| self.models.get(at))
            .collect()
    }

    fn model_name(&self, at: usize) -> &str {
        self.models
            .get(at)
            .map_or("", |model| &model.contender.value)
    }

    /// The difference of two models, and whether it is significant.
    fn pair(&self, row: usize, column: usize) -> Option<(f64, bool)> {
        let mut pairs = self.contrasts.iter().zip(&self.significant);
        let (contrast, (_, significant)) = pairs.find(|(own, _)| {
            (own.first, own.second) == (row, column) || (own.second, own.first) == (row, column)
        })?;
        let value = contrast.found.difference?.value;
        Some((
            if contrast.first == row { value } else { -value },
            *significant,
        ))
    }
}

#[cfg(test)]
mod tests;
