//! Consolidate as a job.

use std::time::Instant;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::text::{count, seconds};
use super::{ConsolidateOptions, Detail, Outcome, Plan, Request};
use crate::config::{show_count, show_size as size};
use crate::health::Severity;
use crate::store::commit::consolidate;
use crate::store::commit::consolidate::{SkipKind, Skipped};
use crate::store::format::layout::MAIN;
use crate::store::{Control, Result, Store};

/// Lines of a plan that name files; the rest is counted.
const SHOWN: usize = 12;

fn store_options(options: &ConsolidateOptions) -> consolidate::Options {
    consolidate::Options {
        accept_main: options.accept_main,
        convert_main: options.convert_main,
        optimize: options.optimize,
    }
}

pub(super) fn plan(store: &Store, options: &ConsolidateOptions) -> Result<Plan> {
    let plan = consolidate::plan(store, &store_options(options), Timestamp::now())?;
    let files = (plan.increments.len() + plan.journals.len()) as u64;
    let move_out = || [&count(plan.summaries, "summary row"), " out of ", MAIN].concat();
    let mut summary = if plan.is_empty() {
        "nothing to consolidate".to_owned()
    } else if files == 0 && plan.summaries == 0 && plan.mixed > 0 {
        format!("sort {} of {MAIN}", count(plan.mixed, "row"))
    } else if files == 0 && plan.summaries == 0 {
        [MAIN, " is taken as it is"].concat()
    } else if files == 0 {
        format!("move {}", move_out())
    } else {
        let what = [
            count(files, "file"),
            count(plan.rows, "row"),
            size(plan.bytes),
        ]
        .join(", ");
        format!("consolidate {what} into {MAIN}")
    };
    if !plan.skipped.is_empty() {
        summary.push_str("; left: ");
        summary.push_str(&count(plan.skipped.len() as u64, "file"));
    }
    let all = plan.increments.iter().chain(&plan.journals);
    let mut lines: Vec<_> = all
        .take(SHOWN)
        .map(|(name, rows, bytes)| format!("{name}: {}, {}", count(*rows, "row"), size(*bytes)))
        .collect();
    if files > SHOWN as u64 {
        lines.push(format!("… and {} more", files - SHOWN as u64));
    }
    if files > 0 && plan.summaries > 0 {
        lines.push(format!("{} move into the file next to it", move_out()));
    }
    if files > 0 && plan.mixed > 0 {
        lines.push(format!("{} of {MAIN} are sorted", count(plan.mixed, "row")));
    }
    lines.extend(
        plan.skipped
            .iter()
            .map(|skipped| format!("{} stays: {}", skipped.file, skipped.reason)),
    );
    let named = |files: &[(String, u64, u64)]| -> Vec<Value> {
        files
            .iter()
            .map(|(file, rows, bytes)| json!({"file": file, "rows": rows, "bytes": bytes}))
            .collect()
    };
    Ok(Plan {
        request: Request::Consolidate(options.clone()),
        summary,
        lines,
        removes: Vec::new(),
        needs_yes: false,
        // What can't go in decides the exit code, and leftovers are removed.
        is_empty: plan.is_empty() && plan.skipped.is_empty() && plan.leftovers == 0,
        json: json!({
            "schema_version": 1, "dry_run": true,
            "increments": named(&plan.increments), "journals": named(&plan.journals),
            "rows": plan.rows, "bytes": plan.bytes, "summaries": plan.summaries,
            "rows_sorted": plan.mixed,
            "skipped": listed(&plan.skipped),
        }),
        detail: Detail::None,
    })
}

pub(super) fn run(
    store: &Store,
    options: &ConsolidateOptions,
    control: &Control,
) -> Result<Outcome> {
    let begun = Instant::now();
    let done = consolidate::run(store, &store_options(options), Timestamp::now(), control)?;
    let mut parts = Vec::new();
    if done.commits == 0 {
        parts.push("nothing to consolidate".to_owned());
    } else if done.increments_merged == 0 && done.summaries_moved > 0 {
        parts.push(
            [
                &count(done.summaries_moved, "summary row"),
                " moved out of ",
                MAIN,
            ]
            .concat(),
        );
    } else if done.increments_merged == 0 && done.rows_sorted == 0 {
        parts.push([MAIN, " is taken as it is"].concat());
    } else if done.increments_merged == 0 {
        parts.push("nothing to consolidate".to_owned());
    } else {
        parts.push(format!(
            "consolidated {}",
            count(done.increments_merged, "file")
        ));
        parts.push(count(done.rows_added, "row"));
    }
    if done.rows_sorted > 0 {
        parts.push(format!(
            "{} of {MAIN} sorted",
            count(done.rows_sorted, "row")
        ));
    }
    for (n, what) in [
        (done.rows_superseded, "retried"),
        (done.rows_repeated, "repeated"),
        (done.rows_removed, "removed on purpose"),
    ] {
        if n > 0 {
            parts.push(format!("{} {what}", show_count(n)));
        }
    }
    if !done.skipped.is_empty() {
        parts.push(format!("{} left", count(done.skipped.len() as u64, "file")));
    }
    if done.commits > 0 {
        parts.push(seconds(begun.elapsed()));
    }
    let mut lines = done.notes.clone();
    lines.extend(
        done.skipped
            .iter()
            .map(|skipped| format!("{} stays: {}", skipped.file, skipped.reason)),
    );
    if !done.pruned.is_empty() {
        lines.push(format!("pruned old backups: {}", done.pruned.join(", ")));
    }
    let wrong = done
        .skipped
        .iter()
        .any(|skipped| skipped.kind != SkipKind::InProgress);
    Ok(Outcome {
        changed: done.commits > 0,
        summary: parts.join(", "),
        lines,
        json: json!({
            "schema_version": 1,
            "increments_merged": done.increments_merged, "journals_recovered": done.journals_recovered,
            "rows_added": done.rows_added, "rows_superseded": done.rows_superseded,
            "rows_repeated": done.rows_repeated, "rows_removed": done.rows_removed,
            "rows_sorted": done.rows_sorted, "rows_total": done.rows_total,
            "skipped": listed(&done.skipped), "generation": done.generation,
            "backup": done.backup, "pruned": done.pruned, "notes": done.notes,
        }),
        severity: if wrong {
            Severity::Warning
        } else {
            Severity::Healthy
        },
    })
}

fn listed(skipped: &[Skipped]) -> Vec<Value> {
    skipped
        .iter()
        .map(|skipped| json!({"file": skipped.file, "reason": skipped.reason}))
        .collect()
}
