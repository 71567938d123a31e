//! Restore as a job.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::text::count;
use super::{Detail, Outcome, Plan, Request, RestoreOptions};
use crate::health::Severity;
use crate::store::format::layout::MAIN;
use crate::store::maintain::restore;
use crate::store::maintain::restore::Restored;
use crate::store::{Control, Result, Store};

fn options(options: &RestoreOptions) -> restore::Options {
    restore::Options {
        from: options.from.clone(),
        exactly: options.exactly,
    }
}

pub(super) fn plan(store: &Store, wanted: &RestoreOptions, control: &Control) -> Result<Plan> {
    let plan = restore::plan(store, &options(wanted), control)?;
    Ok(Plan {
        request: Request::Restore(wanted.clone()),
        summary: format!("replace {MAIN} by {}", sentence(&plan)),
        lines: lines(&plan),
        removes: vec![store.layout.main()],
        needs_yes: true,
        is_empty: false,
        json: json(&plan, true),
        detail: Detail::None,
    })
}

pub(super) fn run(store: &Store, wanted: &RestoreOptions, control: &Control) -> Result<Outcome> {
    let done = restore::run(store, &options(wanted), Timestamp::now(), control)?;
    let mut lines = lines(&done);
    lines.extend(
        done.replaced
            .iter()
            .map(|path| format!("the replaced main is {}", path.display())),
    );
    Ok(Outcome {
        summary: format!("restored {}", sentence(&done)),
        lines,
        json: json(&done, false),
        severity: Severity::Healthy,
        changed: true,
    })
}

/// "1,200 rows of X, and 30 newer rows that it lacks".
fn sentence(restored: &Restored) -> String {
    let mut text = format!(
        "{} of {}",
        count(restored.rows_restored, "row"),
        restored.from.display()
    );
    if restored.rows_waiting > 0 {
        text.push_str("; ");
        text.push_str(&count(restored.rows_waiting, "row"));
        text.push_str(" of main are pending again");
    }
    if restored.rows_kept > 0 {
        text.push_str(", and ");
        text.push_str(&count(restored.rows_kept, "newer row"));
        text.push_str(" that it lacks");
    }
    text
}

fn lines(restored: &Restored) -> Vec<String> {
    let mut lines = Vec::new();
    if restored.rows_dropped > 0 {
        lines.push(format!(
            "{} that the backup lacks: dropped",
            count(restored.rows_dropped, "newer row")
        ));
    }
    if let Some(reason) = &restored.unreadable {
        lines.push(format!(
            "the current main can't be read ({reason}): nothing of it is kept but the file"
        ));
    }
    lines.extend(restored.notes.iter().cloned());
    lines
}

fn json(restored: &Restored, dry_run: bool) -> Value {
    let mut value = json!({
        "schema_version": 1, "from": restored.from,
        "rows_restored": restored.rows_restored, "rows_kept": restored.rows_kept,
        "rows_waiting": restored.rows_waiting,
        "rows_dropped": restored.rows_dropped, "rows_total": restored.rows_total,
        "generation": restored.generation, "replaced": restored.replaced, "notes": restored.notes,
    });
    if let Some(fields) = value.as_object_mut().filter(|_| dry_run) {
        fields.insert("dry_run".to_owned(), true.into());
    }
    value
}
