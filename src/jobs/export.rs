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
    // What is there already may be replaced after a yes, and nothing that comes
    // up between the plan and the run.
    let replaces = options
        .output
        .symlink_metadata()
        .is_ok_and(|meta| meta.is_file() || meta.is_symlink());
    output::check(&options.output, &store.layout, replaces)?;
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
    let mut lines = vec![format!("to {}", absolute(&options.output))];
    if replaces {
        lines.push(format!("replaces the {path} that is there"));
    }
    let format: &str = options.format.into();
    Ok(Plan {
        summary: format!(
            "export {what}, about {}, as {format} to {path}",
            size(bytes)
        ),
        lines,
        removes: if replaces {
            vec![options.output.clone()]
        } else {
            Vec::new()
        },
        needs_yes: replaces,
        is_empty: false,
        json: json!({
            "schema_version": 1, "format": format, "output": options.output, "rows": rows,
            "bytes_estimate": bytes, "replaces": replaces,
        }),
        detail: Detail::Export { rows },
        request: Request::Export(options),
    })
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
