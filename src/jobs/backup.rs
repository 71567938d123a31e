//! Backup as a job.

use jiff::Timestamp;
use serde_json::json;

use super::text::count;
use super::{Detail, Outcome, Plan, Request};
use crate::config::show_size as size;
use crate::health::Severity;
use crate::store::format::layout::MAIN;
use crate::store::maintain::backup;
use crate::store::{Control, Result, Store};

pub(super) fn plan(store: &Store) -> Result<Plan> {
    let main = backup::source(store)?;
    let (rows, bytes) = (main.rows(), main.stat().bytes);
    Ok(Plan {
        request: Request::Backup,
        summary: format!(
            "copy {MAIN} ({}, {}) into backups/",
            count(rows, "row"),
            size(bytes)
        ),
        lines: Vec::new(),
        removes: Vec::new(),
        needs_yes: false,
        is_empty: false,
        json: json!({"schema_version": 1, "dry_run": true, "rows": rows, "bytes": bytes}),
        detail: Detail::None,
    })
}

pub(super) fn run(store: &Store, control: &Control) -> Result<Outcome> {
    let done = backup::run(store, Timestamp::now(), control)?;
    Ok(Outcome {
        summary: format!(
            "backed up {} as backups/{}",
            count(done.rows, "row"),
            done.name
        ),
        lines: Vec::new(),
        json: json!({
            "schema_version": 1, "backup": store.layout.backups().join(&done.name),
            "rows": done.rows, "bytes": done.bytes,
        }),
        severity: Severity::Healthy,
        changed: true,
    })
}
