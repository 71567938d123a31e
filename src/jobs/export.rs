//! Export as a job.

use std::path::Path;

use serde_json::json;

use super::text::{count, seconds};
use super::{Detail, ExportFormat, ExportOptions, Outcome, Plan, Request};
use crate::config::show_size as size;
use crate::formats::export::{self, Estimate, Extent};
use crate::formats::{Form, Output, output};
use crate::health::Severity;
use crate::store::{Control, Result, Store};

/// About the bytes that a leaf of the tree takes.
const LEAF: u64 = 1_500;

pub(super) fn plan(store: &Store, options: &ExportOptions, control: &Control) -> Result<Plan> {
    let replaces = replaces(&options.output, store)?;
    let options = ExportOptions {
        overwrite: replaces,
        ..options.clone()
    };
    let path = options.output.display();
    let (rows, what, bytes) = if let Some(form) = form(options.format) {
        let Estimate { rows, bytes } = export::estimate(store, &options.filter, form, control)?;
        (rows, count(rows, "row"), bytes)
    } else {
        let Extent { leaves, tests } = export::tree(store, &options.filter, control)?.extent()?;
        let what = format!("{} in {}", count(tests, "test"), count(leaves, "cell"));
        (tests, what, leaves * LEAF)
    };
    let format: &str = options.format.into();
    let summary = format!(
        "export {what}, about {}, as {format} to {path}",
        size(bytes)
    );
    let json = json!({
        "schema_version": 1, "format": format, "output": options.output, "rows": rows,
        "bytes_estimate": bytes, "replaces": replaces,
    });
    Ok(Plan {
        json,
        detail: Detail::Export { rows },
        ..to_file(
            summary,
            &options.output,
            replaces,
            Request::Export(options.clone()),
        )
    })
}

/// Whether a file would be replaced. What is there already may be after a yes, and nothing that
/// comes up between the plan and the run.
pub(super) fn replaces(path: &Path, store: &Store) -> Result<bool> {
    let there = path.symlink_metadata();
    let replaces = there.is_ok_and(|meta| meta.is_file() || meta.is_symlink());
    output::check(path, &store.layout, replaces)?;
    Ok(replaces)
}

/// The plan of a job that writes a file and changes nothing else.
pub(super) fn to_file(summary: String, path: &Path, replaces: bool, request: Request) -> Plan {
    let mut lines = vec![format!("to {}", absolute(path))];
    if replaces {
        lines.push(format!("replaces the {} that is there", path.display()));
    }
    Plan {
        summary,
        lines,
        removes: replaces.then(|| path.to_path_buf()).into_iter().collect(),
        needs_yes: replaces,
        is_empty: false,
        json: json!({ "schema_version": 1, "output": path, "replaces": replaces }),
        detail: Detail::None,
        request,
    }
}

pub(super) fn run(
    store: &Store,
    options: &ExportOptions,
    rows: u64,
    control: &Control,
) -> Result<Outcome> {
    let begun = std::time::Instant::now();
    let output = Output::file(&options.output, &store.layout, options.overwrite)?;
    let written = match form(options.format) {
        Some(form) => export::rows(store, &options.filter, form, &output, rows, control),
        None => export::tree(store, &options.filter, control).and_then(|tree| {
            let tests = tree.write(jiff::Timestamp::now(), &output)?.tests;
            control.check()?;
            Ok(tests)
        }),
    };
    let done = written.map_err(|error| output.explain(error))?;
    output.commit()?;
    let bytes = std::fs::metadata(&options.output).map_or(0, |meta| meta.len());
    let noun = if form(options.format).is_some() {
        "row"
    } else {
        "test"
    };
    let path = options.output.display();
    let format: &str = options.format.into();
    let left_out = control.left_out();
    Ok(Outcome {
        summary: format!(
            "exported {}, {}, to {path}, {}",
            count(done, noun),
            size(bytes),
            seconds(begun.elapsed())
        ),
        lines: Vec::new(),
        json: json!({
            "schema_version": 1, "format": format, "output": options.output, "rows": done, "bytes": bytes,
            "left_out": left_out,
        }),
        severity: Severity::Healthy,
        changed: false,
    })
}

/// The form of rows; `None` for the tree.
fn form(format: ExportFormat) -> Option<Form> {
    match format {
        ExportFormat::Json => None,
        ExportFormat::Jsonl => Some(Form::Jsonl),
        ExportFormat::Csv => Some(Form::Csv),
        ExportFormat::Parquet => Some(Form::Parquet),
    }
}

fn absolute(path: &Path) -> String {
    std::path::absolute(path)
        .unwrap_or_else(|_| path.to_path_buf())
        .display()
        .to_string()
}
