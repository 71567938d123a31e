//! Cleanup as a job.

use serde_json::json;

use super::text::count;
use super::{Detail, Outcome, Plan, Request};
use crate::config::show_size as size;
use crate::health::Severity;
use crate::store::maintain::cleanup;
use crate::store::maintain::cleanup::{Options, Reason};
use crate::store::{Control, Result, Store};

/// Lines of a plan that name files; the rest is counted.
const SHOWN: usize = 12;

pub(super) fn plan(store: &Store, options: &Options) -> Result<Plan> {
    let detail = cleanup::plan(store, options, jiff::Timestamp::now())?;
    let files = detail.items.len() as u64;
    let lost = detail
        .items
        .iter()
        .filter(|item| item.reason == Reason::Unconsolidated)
        .count() as u64;
    let mut summary = if files == 0 {
        "nothing to clean up".to_owned()
    } else {
        format!("remove {}, {}", count(files, "file"), size(detail.bytes()))
    };
    if lost > 0 {
        summary.push_str(
            &[
                "; ",
                &count(lost, "file"),
                " NOT in main: their results would be lost",
            ]
            .concat(),
        );
    }
    let mut lines: Vec<_> = detail
        .items
        .iter()
        .take(SHOWN)
        .map(|item| {
            format!(
                "{} ({}): {}",
                item.name,
                size(item.stat.bytes),
                item.reason.text()
            )
        })
        .collect();
    if let Some(more) = detail
        .items
        .len()
        .checked_sub(SHOWN)
        .filter(|more| *more > 0)
    {
        lines.push(format!("… and {more} more"));
    }
    let removes: Vec<_> = detail
        .items
        .iter()
        .map(|item| item.folder.join(&item.name))
        .collect();
    let items: Vec<_> = detail
        .items
        .iter()
        .map(|item| {
            json!({"file": item.folder.join(&item.name), "bytes": item.stat.bytes, "reason": item.reason.text()})
        })
        .collect();
    Ok(Plan {
        request: Request::Cleanup(options.clone()),
        summary,
        lines,
        removes,
        needs_yes: files > 0,
        is_empty: files == 0,
        json: json!({"schema_version": 1, "remove": items, "bytes": detail.bytes()}),
        detail: Detail::Cleanup(detail),
    })
}

pub(super) fn run(store: &Store, detail: &cleanup::Plan, control: &Control) -> Result<Outcome> {
    let outcome = cleanup::run(store, detail, control)?;
    let mut summary = format!(
        "removed {}, {}",
        count(outcome.removed.len() as u64, "file"),
        size(outcome.bytes)
    );
    if !outcome.kept.is_empty() {
        let kept = count(outcome.kept.len() as u64, "file");
        summary.push_str(&["; ", &kept, " changed meanwhile and stayed"].concat());
    }
    if outcome.left > 0 {
        summary.push_str(&["; cancelled before ", &count(outcome.left, "more file")].concat());
    }
    Ok(Outcome {
        changed: !outcome.removed.is_empty(),
        summary,
        lines: outcome
            .kept
            .iter()
            .map(|path| format!("stayed: {}", path.display()))
            .collect(),
        json: json!({
            "schema_version": 1, "removed": outcome.removed, "bytes": outcome.bytes, "kept": outcome.kept, "left": outcome.left,
        }),
        severity: Severity::Healthy,
    })
}
