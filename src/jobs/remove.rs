//! Removing rows as a job.

use jiff::Timestamp;
use serde_json::json;

use super::text::count;
use super::{Detail, Outcome, Plan, RemoveOptions, Request};
use crate::config::show_count;
use crate::health::Severity;
use crate::store::maintain::remove;
use crate::store::{Control, Result, Store};

/// Models of a plan that are named; the rest is counted.
const SHOWN: usize = 12;

pub(super) fn plan(store: &Store, options: &RemoveOptions, control: &Control) -> Result<Plan> {
    let detail = remove::plan(store, &options.filter, control)?;
    let summary = if detail.rows == 0 {
        "nothing to remove: not one row matches".to_owned()
    } else {
        format!("remove {}", count(detail.rows, "row"))
    };
    let mut models: Vec<_> = detail.models.iter().collect();
    models.sort_by(|one, two| (two.1, one.0).cmp(&(one.1, two.0)));
    let mut lines: Vec<String> = models
        .iter()
        .take(SHOWN)
        .map(|(model, rows)| format!("{model}: {}", count(**rows, "row")))
        .collect();
    if models.len() > SHOWN {
        lines.push(format!(
            "… and {} more",
            count((models.len() - SHOWN) as u64, "model")
        ));
    }
    if let Some((first, last)) = detail.times {
        let show = |micros| {
            let time = Timestamp::from_microsecond(micros).unwrap_or_default();
            time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
        };
        lines.push(if first == last {
            format!("of {}", show(first))
        } else {
            format!("from {} to {}", show(first), show(last))
        });
    }
    let (first, last) = detail.times.unzip();
    let time = |micros: Option<i64>| micros.and_then(|at| Timestamp::from_microsecond(at).ok());
    Ok(Plan {
        request: Request::Remove(options.clone()),
        summary,
        lines,
        removes: Vec::new(),
        needs_yes: detail.rows > 0,
        is_empty: detail.rows == 0,
        json: json!({
            "schema_version": 1, "dry_run": true, "rows": detail.rows, "models": detail.models,
            "first": time(first), "last": time(last),
        }),
        detail: Detail::Remove(Box::new(detail)),
    })
}

pub(super) fn run(store: &Store, detail: &remove::Plan, control: &Control) -> Result<Outcome> {
    let done = remove::run(store, detail, Timestamp::now(), control)?;
    let rows = count(done.rows, "row");
    let pending = done.rows.saturating_sub(done.of_main);
    let summary = match pending {
        0 => format!("removed {rows}"),
        all if all == done.rows => format!("removed {rows}, all of them pending"),
        some => format!("removed {rows}, {} of them pending", show_count(some)),
    };
    let mut lines =
        vec!["evaltop restore --undo brings them back; a later attempt counts".to_owned()];
    lines.extend(done.notes.iter().cloned());
    Ok(Outcome {
        summary,
        lines,
        json: json!({
            "schema_version": 1, "rows_removed": done.rows, "rows_pending": pending,
            "rows_total": done.rows_total, "generation": done.generation, "backup": done.backup,
            "notes": done.notes,
        }),
        severity: Severity::Healthy,
        changed: true,
    })
}
