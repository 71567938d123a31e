//! A leaf as a summary row: numbers where numbers belong, and what is odd about it.

use serde_json::{Map, Value};

use crate::config::show_count;
use crate::sources::objects::Remarks;
use crate::stats::Rate;
use crate::stats::cell::UNKNOWN;
use crate::store::aggregate::summary::{NAMES, SOURCE};
use crate::store::format::schema::DIMENSIONS;

const DOUBLED: &str = "with a total of twice full and errors (--halve-doubled corrects that)";
const HALVED: &str = "with a total of twice full and errors, which was halved";
const EMPTY: &str = "without tests passed over";
const CONTRADICTS: &str = "with more successes than tests: the total counts";
const NO_NUMBER: &str = "with something else where a number should be, which counts as missing";

/// The row, if there are tests, and what there is to say of it.
pub(crate) type Row = (Option<Map<String, Value>>, Option<&'static str>);

/// The row of a leaf, or of a model that has counts alone.
pub(crate) fn row(
    model: &str,
    names: Vec<(&'static str, String)>,
    fields: Map<String, Value>,
    halve: bool,
) -> Row {
    let mut odd = false;
    let mut row = Map::new();
    for (name, value) in fields {
        let own = DIMENSIONS.contains(&name.as_str())
            || ["test_id", SOURCE, "model_name"].contains(&name.as_str());
        let value = match value {
            Value::Null => continue,
            _ if own => continue,
            value if is_number(&name) => {
                let number = number(&value);
                odd |= number.is_none();
                let Some(number) = number else { continue };
                number
            }
            value => value,
        };
        row.insert(name, value);
    }
    let count = |row: &Map<String, Value>, name: &str| {
        row.get(name)
            .and_then(Value::as_f64)
            .unwrap_or(0.0)
            .max(0.0)
    };
    let (success, partial) = (
        count(&row, "success").max(count(&row, "successful")),
        count(&row, "partial").max(count(&row, "partial_success")),
    );
    let full = count(&row, "full_success");
    let mut total = count(&row, "total");
    if total == 0.0 {
        total = full.max(success) + count(&row, "failed") + count(&row, "unscored");
    }
    if total == 0.0 {
        return (None, Some(EMPTY));
    }
    let errors = errors(&row);
    let is = |tests: f64| (total - tests).abs() < 0.5;
    // Nothing says yet whether success has the partial ones in it.
    let fulls = if full > 0.0 {
        [full, full + partial, full]
    } else {
        [success, success + partial, success - partial]
    };
    let doubled = errors > 0.0
        && fulls.into_iter().any(|full| is(2.0 * (full + errors)))
        && !fulls
            .into_iter()
            .any(|full| is(full + errors) || is(full + partial + errors));
    if doubled && halve {
        total /= 2.0;
        // They were doubled with it.
        row.remove("failed");
    }
    row.insert("total".to_owned(), whole(total));
    let remark = match () {
        () if doubled => Some(if halve { HALVED } else { DOUBLED }),
        () if full.max(success) > total => Some(CONTRADICTS),
        () => None,
    };
    row.insert("model".to_owned(), model.into());
    for (column, name) in names {
        let value = if column == "tool_success_rate" {
            rate(&name)
        } else {
            Some(name.clone().into())
        };
        odd |= value.is_none()
            && !matches!(name.trim(), "" | UNKNOWN | "nan" | "NaN" | "None" | "null");
        if let Some(value) = value {
            row.insert(column.to_owned(), value);
        }
    }
    (Some(row), remark.or(odd.then_some(NO_NUMBER)))
}

/// How often each remark was made, as sentences.
pub(crate) fn sentences(remarks: &Remarks) -> impl Iterator<Item = String> {
    remarks.iter().map(|(remark, count)| {
        format!(
            "{} {} {remark}",
            show_count(*count),
            if *count == 1 { "leaf" } else { "leaves" }
        )
    })
}

/// Whether a column of summary rows holds numbers.
fn is_number(name: &str) -> bool {
    let counted = NAMES.contains(&name)
        || ["failed", "total_assisted_turns", "tests_with_assistance"].contains(&name);
    counted
        || name.starts_with("avg_")
        || name.starts_with("assisted_")
        || ["_errors", "_rate", "_score"]
            .iter()
            .any(|end| name.ends_with(end))
}

fn number(value: &Value) -> Option<Value> {
    match value {
        Value::Number(_) => Some(value.clone()),
        Value::String(text) => text
            .trim()
            .parse::<f64>()
            .ok()
            .filter(|n| n.is_finite())
            .map(whole),
        _ => None,
    }
}

/// A number without a needless fraction.
fn whole(number: f64) -> Value {
    if number.fract() == 0.0 && number.abs() < 9e15 {
        (number as i64).into()
    } else {
        number.into()
    }
}

fn rate(name: &str) -> Option<Value> {
    name.trim()
        .parse::<f64>()
        .ok()
        .and_then(Rate::new)
        .map(|rate| rate.get().into())
}

/// Errors of all categories.
fn errors(row: &Map<String, Value>) -> f64 {
    let count = |value: &Value| value.as_f64().unwrap_or(0.0).max(0.0);
    let categories: f64 = row
        .iter()
        .filter(|(name, _)| name.ends_with("_errors") && *name != "total_errors")
        .map(|(_, value)| count(value))
        .sum();
    row.get("total_errors").map_or(0.0, count).max(categories)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(fields: Value, halve: bool) -> Row {
        let Value::Object(fields) = fields else {
            panic!()
        };
        let names = vec![
            ("tool_success_rate", "0.80".to_owned()),
            ("task_type", "t".to_owned()),
        ];
        row("m", names, fields, halve)
    }

    #[test]
    fn numbers_stand_where_numbers_belong() {
        let (row, remark) = of(
            json!({"total": "12", "success": 3.0, "avg_turns": {}, "model": "other", "note": "n", "failed": null}),
            false,
        );
        assert_eq!(
            Value::Object(row.unwrap()),
            json!({"total": 12, "success": 3.0, "note": "n", "model": "m", "tool_success_rate": 0.8, "task_type": "t"})
        );
        assert_eq!(remark, Some(NO_NUMBER));
    }

    #[test]
    fn doubled_totals_are_found_and_halved_when_asked() {
        for fields in [
            json!({"total": 20, "success": 6, "total_errors": 4}),
            json!({"total": 20, "successful": 6, "timeout_errors": 3, "other_errors": 1}),
            json!({"total": 20, "success": 4, "partial": 2, "total_errors": 4}),
            json!({"total": 20, "success": 6, "full_success": 4, "partial": 2, "total_errors": 4}),
        ] {
            assert_eq!(of(fields.clone(), false).1, Some(DOUBLED), "{fields}");
            let (row, remark) = of(fields, true);
            assert_eq!((&row.unwrap()["total"], remark), (&json!(10), Some(HALVED)));
        }
        for fields in [
            json!({"total": 20, "success": 10}),
            json!({"total": 10, "success": 6, "total_errors": 4}),
        ] {
            assert_eq!(of(fields, true).1, None);
        }
    }

    #[test]
    fn without_tests_there_is_no_row() {
        assert_eq!(of(json!({}), false), (None, Some(EMPTY)));
        assert_eq!(
            of(json!({"total": 0, "success_rate": 0.5}), false),
            (None, Some(EMPTY))
        );
        let (row, _) = of(json!({"successful": 2, "failed": 1}), false);
        assert_eq!(row.unwrap()["total"], 3);
        assert_eq!(
            of(json!({"total": 2, "success": 3}), false).1,
            Some(CONTRADICTS)
        );
    }
}
