//! Validate as a job: a check, and with `repair` a plan of what is safe to mend.

use serde_json::json;

use super::text::count;
use super::{Detail, Outcome, Plan, Request};
use crate::health::Severity;
use crate::store::maintain::validate;
use crate::store::maintain::validate::{Finding, Level, Report};
use crate::store::{Control, Error, Result, Store};

pub(super) fn plan(store: &Store, repair: bool, control: &Control) -> Result<Plan> {
    let report = if repair {
        validate::check(store, jiff::Timestamp::now(), control)?
    } else {
        // A check changes nothing: there is nothing to plan.
        Report::default()
    };
    let mendable: Vec<_> = report
        .findings
        .iter()
        .filter(|finding| finding.repair.is_some())
        .collect();
    let problems = report
        .findings
        .iter()
        .any(|finding| finding.level > Level::Note);
    let summary = match (repair, mendable.len() as u64) {
        (false, _) => "check every file".to_owned(),
        (true, 0) if problems => "mend nothing: what is wrong can't be mended safely".to_owned(),
        (true, 0) => "nothing to mend".to_owned(),
        (true, n) => format!("mend {}", count(n, "file")),
    };
    Ok(Plan {
        request: Request::Validate { repair },
        summary,
        lines: mendable.iter().map(|finding| line(finding)).collect(),
        removes: Vec::new(),
        needs_yes: repair && !mendable.is_empty(),
        // What can't be mended is reported again.
        is_empty: repair && !problems,
        json: json!({"schema_version": 1, "repair": mendable.iter().map(|f| entry(f)).collect::<Vec<_>>()}),
        detail: Detail::Validate(Box::new(report)),
    })
}

pub(super) fn run(
    store: &Store,
    planned: &Report,
    repair: bool,
    control: &Control,
) -> Result<Outcome> {
    let mended = if repair {
        validate::repair(store, planned, jiff::Timestamp::now(), control)?
    } else {
        Vec::new()
    };
    let report = match validate::check(store, jiff::Timestamp::now(), control) {
        // What was mended stays so, and is reported.
        Err(Error::Cancelled) if !mended.is_empty() => return Ok(cancelled(mended)),
        report => report?,
    };
    let worst = report
        .findings
        .iter()
        .map(|finding| finding.level)
        .max()
        .unwrap_or(Level::Note);
    let problems = report
        .findings
        .iter()
        .filter(|finding| finding.level > Level::Note)
        .count() as u64;
    let checked = format!(
        "checked {}, {}",
        count(report.files, "file"),
        count(report.rows, "row")
    );
    let summary = match problems {
        0 => format!("{checked}: all is well"),
        n => format!("{checked}: {}", count(n, "problem")),
    };
    Ok(Outcome {
        changed: !mended.is_empty(),
        summary,
        lines: mended
            .iter()
            .cloned()
            .chain(report.findings.iter().map(line))
            .collect(),
        json: json!({
            "schema_version": 1,
            "files": report.files,
            "rows": report.rows,
            "repaired": mended,
            "findings": report.findings.iter().map(entry).collect::<Vec<_>>(),
        }),
        severity: match worst {
            Level::Note => Severity::Healthy,
            Level::Warning => Severity::Warning,
            Level::Critical => Severity::Critical,
        },
    })
}

fn cancelled(mended: Vec<String>) -> Outcome {
    Outcome {
        changed: true,
        summary: format!(
            "cancelled: mended {}, the rest is as before",
            count(mended.len() as u64, "file")
        ),
        json: json!({"schema_version": 1, "cancelled": true, "repaired": mended}),
        lines: mended,
        severity: Severity::Warning,
    }
}

fn level(finding: &Finding) -> &'static str {
    match finding.level {
        Level::Note => "note",
        Level::Warning => "warning",
        Level::Critical => "critical",
    }
}

fn line(finding: &Finding) -> String {
    format!("{}: {}: {}", level(finding), finding.file, finding.message)
}

fn entry(finding: &Finding) -> serde_json::Value {
    json!({
        "severity": level(finding), "file": finding.file, "message": finding.message,
        "repairable": finding.repair.is_some(),
    })
}
