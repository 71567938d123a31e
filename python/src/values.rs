//! Python values as JSON, one field after another: what `json.dumps` takes, and what evaluation
//! scripts hand over as well (numpy, pandas, datetime, Decimal, enums). What can't be a value is
//! an error that names the field.

use evaltop::internals::store::format::record::Fields;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PySet, PyString, PyTuple};
use serde_json::Value;

/// Nested lists and dictionaries deeper than this are refused, as the store's readers do.
const DEEPEST: usize = 64;

/// Adds the fields of a record whose values are all text, numbers of 64 bits, truth values or None:
/// most are, and need no JSON in between. False where another one is among them, or a wrong one.
pub(crate) fn plain(record: &Bound<'_, PyDict>, fields: &mut Fields) -> bool {
    let mut after = 0;
    for (name, value) in record.iter() {
        let (Ok(name), Some(value)) = (name.cast::<PyString>(), plain_value(&value)) else {
            return false;
        };
        let Ok(name) = name.to_str() else {
            return false;
        };
        fields.set(name, value, &mut after);
    }
    true
}

/// None and NaN are null: they are absent, whatever the writer's defaults say.
fn plain_value(value: &Bound<'_, PyAny>) -> Option<Value> {
    if let Ok(found) = value.cast_exact::<PyString>() {
        return found.to_str().ok().map(Value::from);
    }
    if let Ok(number) = value.cast_exact::<PyFloat>() {
        let number = number.value();
        return (!number.is_infinite()).then(|| Value::from(number));
    }
    if let Ok(truth) = value.cast_exact::<PyBool>() {
        return Some(Value::Bool(truth.is_true()));
    }
    if let Ok(number) = value.cast_exact::<PyInt>() {
        return number.extract::<i64>().ok().map(Value::from);
    }
    value.is_none().then_some(Value::Null)
}

/// A record as one JSON object. Fields that are None, NaN or NaT are left out.
pub(crate) fn object(record: &Bound<'_, PyDict>, out: &mut Vec<u8>) -> Result<(), String> {
    out.push(b'{');
    let mut first = true;
    for (name, value) in record.iter() {
        let name = text_of(&name).ok_or("the name of a field is not text")?;
        let before = out.len();
        if !first {
            out.push(b',');
        }
        text(&name, out);
        out.push(b':');
        if write(&value, out, &name, 0)? {
            first = false;
        } else {
            out.truncate(before);
        }
    }
    out.push(b'}');
    Ok(())
}

fn text_of(value: &Bound<'_, PyAny>) -> Option<String> {
    // Lone surrogates, which no UTF-8 can hold, become U+FFFD.
    let text = value.cast::<PyString>().ok()?;
    Some(text.to_string_lossy().into_owned())
}

fn text(value: &str, out: &mut Vec<u8>) {
    // Writing into memory does not fail.
    let _ = serde_json::to_writer(out, value);
}

/// Writes one value; false where it is none (None, NaN, NaT, NA).
fn write(
    value: &Bound<'_, PyAny>,
    out: &mut Vec<u8>,
    field: &str,
    depth: usize,
) -> Result<bool, String> {
    if value.is_none() {
        return Ok(false);
    }
    if depth > DEEPEST {
        return Err(format!(
            "field '{field}' is nested deeper than {DEEPEST} levels"
        ));
    }
    if let Ok(truth) = value.cast_exact::<PyBool>() {
        out.extend_from_slice(if truth.is_true() { b"true" } else { b"false" });
        return Ok(true);
    }
    if let Ok(number) = value.cast_exact::<PyFloat>() {
        return float(number.value(), out, field);
    }
    if let Ok(number) = value.cast_exact::<PyInt>() {
        return int(number, out, field);
    }
    if value.cast_exact::<PyString>().is_ok() {
        let found = text_of(value).unwrap_or_default();
        text(&found, out);
        return Ok(true);
    }
    if let Ok(map) = value.cast::<PyDict>() {
        nested_object(map, out, field, depth)?;
        return Ok(true);
    }
    if value.is_instance_of::<PyList>() || value.is_instance_of::<PyTuple>() {
        list(value, out, field, depth)?;
        return Ok(true);
    }
    other(value, out, field, depth)
}

fn float(number: f64, out: &mut Vec<u8>, field: &str) -> Result<bool, String> {
    if number.is_nan() {
        return Ok(false);
    }
    if number.is_infinite() {
        return Err(format!("field '{field}' is infinite"));
    }
    let _ = serde_json::to_writer(out, &number);
    Ok(true)
}

fn int(number: &Bound<'_, PyInt>, out: &mut Vec<u8>, field: &str) -> Result<bool, String> {
    let digits = match number.extract::<i64>() {
        Ok(number) => number.to_string(),
        Err(_) => number
            .call_method0("__index__")
            .and_then(|number| number.str()?.extract::<String>())
            .map_err(|error| format!("field '{field}': {error}"))?,
    };
    out.extend_from_slice(digits.as_bytes());
    Ok(true)
}

fn list(
    values: &Bound<'_, PyAny>,
    out: &mut Vec<u8>,
    field: &str,
    depth: usize,
) -> Result<(), String> {
    let wrong = |error: PyErr| format!("field '{field}': {error}");
    out.push(b'[');
    for (index, value) in values.try_iter().map_err(wrong)?.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        if !write(&value.map_err(wrong)?, out, field, depth + 1)? {
            out.extend_from_slice(b"null");
        }
    }
    out.push(b']');
    Ok(())
}

fn nested_object(
    map: &Bound<'_, PyDict>,
    out: &mut Vec<u8>,
    field: &str,
    depth: usize,
) -> Result<(), String> {
    out.push(b'{');
    for (index, (name, value)) in map.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        let name = match text_of(&name) {
            Some(name) => name,
            None => name
                .str()
                .map(|name| name.to_string_lossy().into_owned())
                .map_err(|error| format!("field '{field}': {error}"))?,
        };
        text(&name, out);
        out.push(b':');
        if !write(&value, out, field, depth + 1)? {
            out.extend_from_slice(b"null");
        }
    }
    out.push(b'}');
    Ok(())
}

/// Values of other classes, found out by what they can do rather than by importing their module.
fn other(
    value: &Bound<'_, PyAny>,
    out: &mut Vec<u8>,
    field: &str,
    depth: usize,
) -> Result<bool, String> {
    let class = value
        .get_type()
        .name()
        .map(|name| name.to_string())
        .unwrap_or_default();
    let wrong = |error: PyErr| format!("field '{field}': {error}");
    let has = |name: &str| value.hasattr(name).unwrap_or(false);
    if class == "NaTType" || class == "NAType" {
        return Ok(false);
    }
    // numpy's nanoseconds would come out of .item() as a bare integer.
    if class == "datetime64" {
        let micros = value
            .call_method1("astype", ("datetime64[us]",))
            .map_err(wrong)?;
        let time = micros.call_method0("item").map_err(wrong)?;
        return write(&time, out, field, depth + 1);
    }
    // Enums by their value, before their other nature (an IntEnum is an int too).
    if has("_member_names_") || value.get_type().hasattr("_member_names_").unwrap_or(false) {
        let inner = value.getattr("value").map_err(wrong)?;
        return write(&inner, out, field, depth + 1);
    }
    if class == "Decimal" {
        return decimal(value, out, field);
    }
    if has("isoformat") {
        let iso = value.call_method0("isoformat").map_err(wrong)?;
        text(&text_of(&iso).unwrap_or_default(), out);
        return Ok(true);
    }
    // numpy arrays and pandas series, then numpy scalars.
    if has("tolist") {
        let plain = value.call_method0("tolist").map_err(wrong)?;
        return write(&plain, out, field, depth + 1);
    }
    if has("item") {
        let plain = value.call_method0("item").map_err(wrong)?;
        return write(&plain, out, field, depth + 1);
    }
    if let Ok(number) = value.cast::<PyFloat>() {
        return float(number.value(), out, field);
    }
    if let Ok(number) = value.cast::<PyInt>() {
        return int(number, out, field);
    }
    if let Some(found) = text_of(value) {
        text(&found, out);
        return Ok(true);
    }
    if value.is_instance_of::<PySet>() || class == "frozenset" {
        list(value, out, field, depth)?;
        return Ok(true);
    }
    if has("__fspath__") || class == "UUID" {
        let found = value.str().map_err(wrong)?;
        text(&found.to_string_lossy(), out);
        return Ok(true);
    }
    Err(format!(
        "field '{field}' is a {class}, which no column can hold: pass a number, text, a boolean, a time, a list or a dict"
    ))
}

/// As a number where a double holds it exactly as it is written, else as text with all digits.
fn decimal(value: &Bound<'_, PyAny>, out: &mut Vec<u8>, field: &str) -> Result<bool, String> {
    let wrong = |error: PyErr| format!("field '{field}': {error}");
    let whole = |method: &str| {
        value
            .call_method0(method)
            .and_then(|is| is.extract::<bool>())
            .map_err(wrong)
    };
    if whole("is_nan")? {
        return Ok(false);
    }
    if whole("is_infinite")? {
        return Err(format!("field '{field}' is infinite"));
    }
    let number: f64 = value
        .call_method0("__float__")
        .and_then(|number| number.extract())
        .map_err(wrong)?;
    let shortest = serde_json::to_string(&number).unwrap_or_default();
    let again = value
        .get_type()
        .call1((shortest.as_str(),))
        .and_then(|again| again.eq(value))
        .map_err(wrong)?;
    if again {
        out.extend_from_slice(shortest.as_bytes());
    } else {
        let digits = value.str().map_err(wrong)?;
        text(&digits.to_string_lossy(), out);
    }
    Ok(true)
}
