//! `status --format json`: for scripts. Every key is always there; what is not known,
//! or would divide by zero, is null.

use serde_json::{Map, Value, json};

use super::forms::age;
use crate::cli::cost::figures;
use crate::health::{Remedy, worst};
use crate::observation::{InFlightView, ModelView, Observation, WriterView};
use crate::stats::Tally;
use crate::stats::interval::Interval;

/// The observation as one JSON document.
pub(crate) fn render(seen: &Observation) -> String {
    let known = seen.has_figures();
    // A store that can't be read has no figures; zeroes would be wrong ones.
    let figure = |value: Value| if known { value } else { Value::Null };
    let (main, waiting) = (&seen.main, &seen.waiting);
    let besides = [("superseded", seen.superseded), ("repeated", seen.repeated)];
    let mut totals = tally(&seen.totals, seen.interval(), &besides);
    if !known {
        totals.values_mut().for_each(|value| *value = Value::Null);
    }
    let document = json!({
        "schema_version": 2,
        "store": seen.store.to_string_lossy(),
        "health": worst(&seen.alerts),
        "generation": figure(main.generation.into()),
        "main": {
            "rows": figure(main.rows.into()),
            "bytes": figure(main.bytes.into()),
            "kind": figure(json!(main.kind)),
            "modified": main.modified.map(|time| time.to_string()),
        },
        "increments": {
            "files": figure(waiting.increments.into()),
            "bytes": figure(waiting.increment_bytes.into()),
            "rows": figure(waiting.increment_rows.into()),
            "in_progress": figure(waiting.in_progress.into()),
            "unreadable": figure(waiting.unreadable.into()),
            "oldest_age_seconds": waiting.oldest_increment.map(|time| age(seen, time)),
        },
        "journals": {
            "files": figure(waiting.journals.into()),
            "rows": figure(waiting.journal_rows.into()),
        },
        "totals": totals,
        "metric": seen.metric.as_ref().map(|view| json!({
            "name": view.metric.name, "n": view.n, "mean": view.mean,
        })),
        "only_session": seen.only_session,
        "spending": seen.spending.as_ref().map(|view| {
            let mut all = figures(&view.all);
            if let Value::Object(all) = &mut all {
                all.insert("per_hour".to_owned(), json!(view.per_hour));
                all.insert("forecast".to_owned(), json!(view.forecast));
                all.insert("retried".to_owned(), json!(view.retried));
                all.insert("budget".to_owned(), json!(view.limit));
                all.insert(
                    "models".to_owned(),
                    view.models.iter().map(|(model, spent)| {
                        let mut own = Map::from_iter([("model".to_owned(), json!(model))]);
                        if let Value::Object(figures) = figures(spent) {
                            own.extend(figures);
                        }
                        Value::Object(own)
                    }).collect(),
                );
            }
            all
        }),
        "session": seen.session.as_ref().map(|session| json!({
            "id": session.id,
            "state": session.state,
            "planned": session.planned,
            "done": session.done,
            "began": session.began.map(|time| time.to_string()),
            "ended": session.ended.map(|time| time.to_string()),
        })),
        "time_zone": json!({
            "name": figure(json!(seen.zone.name)),
            "from": figure(json!(seen.zone.from)),
            "rows_without_zone": figure(seen.zone.naive.into()),
            "off_seconds": seen.zone.off.as_ref().map(|off| off.seconds),
        }),
        "sources": seen.sources.iter().map(|note| json!({
            "source": note.name,
            "rows": note.rows,
            "age_seconds": note.at.map(|time| age(seen, time)),
            "error": note.error,
            "stale": note.stale,
        })).collect::<Vec<_>>(),
        "throttled": seen.throttled.iter().map(|view| json!({
            "model": view.model,
            "retries_per_minute": view.per_minute,
            "waiting_share": view.share,
            "status": view.status,
        })).collect::<Vec<_>>(),
        "in_flight": seen.in_flight().map(|(count, oldest)| json!({
            "count": count,
            "longest": in_flight(seen, oldest),
        })),
        "models": seen.models.iter().map(model).collect::<Vec<_>>(),
        "writers": seen.writers.iter().map(|found| writer(seen, found)).collect::<Vec<_>>(),
        "alerts": seen.alerts.iter().map(|alert| json!({
            "rule": alert.rule,
            "severity": alert.severity,
            "message": alert.message,
            "action": (alert.action != Remedy::None).then_some(alert.action),
        })).collect::<Vec<_>>(),
    });
    format!("{document:#}\n")
}

/// The counts and rates of a group of tests, further counts between them.
fn tally(tally: &Tally, interval: Option<Interval>, besides: &[(&str, u64)]) -> Map<String, Value> {
    let counts = [
        ("tests", tally.tests),
        ("success", tally.full),
        ("partial", tally.partial),
        ("failed", tally.failed()),
        ("unscored", tally.unscored),
        ("infrastructure", tally.infrastructure()),
    ];
    let rates = [
        ("success_rate", tally.success_rate()),
        ("scored_rate", tally.scored_rate()),
        ("ci_low", interval.map(|found| found.low)),
        ("ci_high", interval.map(|found| found.high)),
    ];
    let counts = counts
        .iter()
        .chain(besides)
        .map(|(name, count)| ((*name).to_owned(), (*count).into()));
    counts
        .chain(rates.map(|(name, rate)| (name.to_owned(), rate.into())))
        .collect()
}

fn model(model: &ModelView) -> Value {
    let mut object = Map::from_iter([("model".to_owned(), model.model.clone().into())]);
    object.append(&mut tally(&model.tally, model.interval(), &[]));
    object.insert(
        "mean_execution_time".to_owned(),
        model.tally.execution_time.mean().into(),
    );
    let mean = model.measured.map(|own| own.mean);
    object.insert("mean".to_owned(), mean.into());
    Value::Object(object)
}

fn writer(seen: &Observation, writer: &WriterView) -> Value {
    json!({
        "writer": writer.writer,
        "process_id": writer.process_id,
        "host": writer.host,
        "pid": writer.pid,
        "program": writer.program,
        "state": writer.state,
        "reason": writer.reason,
        "since": writer.since.map(|time| time.to_string()),
        "rows": writer.rows,
        "last_row_age_seconds": writer.last_row.map(|time| age(seen, time)),
        "in_flight": writer.running,
        "longest": writer.oldest().map(|test| in_flight(seen, test)),
    })
}

fn in_flight(seen: &Observation, test: &InFlightView) -> Value {
    json!({
        "model": test.model,
        "test": test.name,
        "age_seconds": age(seen, test.since),
        "retries": test.retries,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::status::forms::sample;

    fn keys(value: &Value) -> Vec<&str> {
        value
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect()
    }

    fn parsed(seen: &Observation) -> Value {
        serde_json::from_str(&render(seen)).unwrap()
    }

    #[test]
    fn has_the_documented_shape() {
        let found = parsed(&sample::busy());
        assert_eq!(
            keys(&found),
            [
                "schema_version",
                "store",
                "health",
                "generation",
                "main",
                "increments",
                "journals",
                "totals",
                "metric",
                "only_session",
                "spending",
                "session",
                "time_zone",
                "sources",
                "throttled",
                "in_flight",
                "models",
                "writers",
                "alerts"
            ]
        );
        assert_eq!(keys(&found["main"]), ["rows", "bytes", "kind", "modified"]);
        assert_eq!(
            keys(&found["increments"]),
            [
                "files",
                "bytes",
                "rows",
                "in_progress",
                "unreadable",
                "oldest_age_seconds"
            ]
        );
        assert_eq!(keys(&found["journals"]), ["files", "rows"]);
        assert_eq!(
            keys(&found["totals"]),
            [
                "tests",
                "success",
                "partial",
                "failed",
                "unscored",
                "infrastructure",
                "superseded",
                "repeated",
                "success_rate",
                "scored_rate",
                "ci_low",
                "ci_high"
            ]
        );
        assert_eq!(
            keys(&found["models"][0]),
            [
                "model",
                "tests",
                "success",
                "partial",
                "failed",
                "unscored",
                "infrastructure",
                "success_rate",
                "scored_rate",
                "ci_low",
                "ci_high",
                "mean_execution_time",
                "mean"
            ]
        );
        assert_eq!(
            keys(&found["writers"][0]),
            [
                "writer",
                "process_id",
                "host",
                "pid",
                "program",
                "state",
                "reason",
                "since",
                "rows",
                "last_row_age_seconds",
                "in_flight",
                "longest"
            ]
        );
        assert_eq!(
            keys(&found["alerts"][0]),
            ["rule", "severity", "message", "action"]
        );
    }

    #[test]
    fn carries_the_figures() {
        let found = parsed(&sample::busy());
        assert_eq!(found["schema_version"], 2);
        assert_eq!(found["health"], "warning");
        assert_eq!(found["main"]["kind"], "records");
        assert_eq!(found["main"]["modified"], "2026-01-31T11:50:00Z");
        assert_eq!(found["increments"]["oldest_age_seconds"], 840.0);
        assert_eq!(found["totals"]["success_rate"], 0.5);
        assert_eq!(found["totals"]["failed"], 4_960);
        assert_eq!(found["totals"]["superseded"], 24);
        assert_eq!(found["totals"]["scored_rate"], 6_200.0 / 12_000.0);
        assert_eq!(found["writers"][0]["state"], "stalled");
        assert_eq!(found["alerts"][1]["rule"], "too_many_increments");
        assert_eq!(found["alerts"][1]["action"], "consolidate");
    }

    #[test]
    fn nothing_measured_is_null_not_zero() {
        let found = parsed(&sample::busy());
        let empty = &found["models"][1];
        assert_eq!(empty["tests"], 0);
        for key in [
            "success_rate",
            "scored_rate",
            "ci_low",
            "ci_high",
            "mean_execution_time",
        ] {
            assert!(empty[key].is_null(), "{key}");
        }
        let torn = parsed(&sample::torn());
        assert_eq!(torn["health"], "critical");
        assert!(torn["generation"].is_null() && torn["main"]["rows"].is_null());
        assert!(
            torn["totals"]
                .as_object()
                .unwrap()
                .values()
                .all(Value::is_null)
        );
        assert!(parsed(&Observation::default())["increments"]["oldest_age_seconds"].is_null());
    }
}
