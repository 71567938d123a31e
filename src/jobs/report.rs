//! The report as a job.

use serde_json::json;

use super::export::{replaces, to_file};
use super::text::seconds;
use super::{Outcome, Plan, ReportOptions, Request};
use crate::config::show_size as size;
use crate::formats::Output;
use crate::health::Severity;
use crate::report;
use crate::store::{Control, Result, Store};

pub(super) fn plan(store: &Store, options: &ReportOptions) -> Result<Plan> {
    report::is_markdown(&options.output)?;
    let replaces = replaces(&options.output, store)?;
    let options = ReportOptions {
        overwrite: replaces,
        ..options.clone()
    };
    let output = options.output.clone();
    let summary = format!("write the report to {}", output.display());
    Ok(to_file(
        summary,
        &output,
        replaces,
        Request::Report(options),
    ))
}

pub(super) fn run(store: &Store, options: &ReportOptions, control: &Control) -> Result<Outcome> {
    let begun = std::time::Instant::now();
    let path = options.output.as_path();
    let output = Output::file(path, &store.layout, options.overwrite)?;
    let request = options.request.as_ref().clone();
    report::write(store, request, Vec::new(), (path, &output), control)?;
    output.commit()?;
    let bytes = std::fs::metadata(path).map_or(0, |meta| meta.len());
    Ok(Outcome {
        summary: format!(
            "wrote the report, {}, to {}, {}",
            size(bytes),
            path.display(),
            seconds(begun.elapsed())
        ),
        lines: Vec::new(),
        json: json!({
            "schema_version": 1, "output": path, "bytes": bytes, "left_out": control.left_out(),
        }),
        severity: Severity::Healthy,
        changed: false,
    })
}
