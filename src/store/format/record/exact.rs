//! Numbers of a JSON object that neither 64 bits nor a double hold: they stay the text that
//! they are.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::store::format::cast::double_holds;

/// Digits that every 64-bit type and every double give back.
const FEW: usize = 15;

/// Whether some number may have more digits than any type holds: a scan of every sixteenth
/// byte, because most texts have none.
pub(crate) fn has_long_number(text: &str) -> bool {
    let bytes = text.as_bytes();
    let is_part = |byte: &u8| byte.is_ascii_digit() || *byte == b'.';
    let at = |at: &usize| bytes.get(*at).is_some_and(is_part);
    (0..bytes.len()).step_by(FEW + 1).filter(at).any(|at| {
        let (before, after) = bytes.split_at_checked(at).unwrap_or_default();
        let before = before.iter().rev().take_while(|byte| is_part(byte)).count();
        before + after.iter().take_while(|byte| is_part(byte)).count() > FEW
    })
}

/// Puts the text of such numbers, and of lists and objects with one in them, in the place of
/// their nearest double.
pub(crate) fn keep_digits(text: &str, fields: &mut Map<String, Value>) {
    let Ok(raw) = serde_json::from_str::<BTreeMap<String, &RawValue>>(text) else {
        return;
    };
    for (name, value) in fields.iter_mut().filter(|(_, value)| !value.is_string()) {
        let Some(raw) = raw.get(name) else { continue };
        if numbers(raw.get()).any(|number| !is_held(number)) {
            *value = Value::String(raw.get().to_owned());
        }
    }
}

fn is_held(number: &str) -> bool {
    let whole = || number.parse::<i64>().is_ok() || number.parse::<u64>().is_ok();
    let double = || {
        number
            .parse()
            .is_ok_and(|double| double_holds(number, double))
    };
    number.len() <= FEW || whole() || double()
}

/// The numbers of a JSON text, outside of its strings.
fn numbers(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            let begin = rest.find(|c: char| c == '"' || c == '-' || c.is_ascii_digit())?;
            let (_, found) = rest.split_at_checked(begin)?;
            if let Some(string) = found.strip_prefix('"') {
                rest = after_string(string);
                continue;
            }
            let part = |c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.' | 'e' | 'E');
            let end = found.find(|c: char| !part(c)).unwrap_or(found.len());
            let (number, behind) = found.split_at_checked(end)?;
            rest = behind;
            return Some(number);
        }
    })
}

/// What follows a string whose first quote is gone.
fn after_string(text: &str) -> &str {
    let mut escaped = false;
    let end = text.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    });
    end.and_then(|end| text.get(end + 1..)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_numbers_are_seen_wherever_they_stand() {
        for before in 0..40 {
            let text = format!("{}\"n\":1234567.890123456", " ".repeat(before));
            assert!(has_long_number(&text), "{before}");
        }
        assert!(!has_long_number(&"\"n\":123456789012345,".repeat(9)));
        let all: Vec<&str> = numbers(r#"{"a 1":[-1.5e3,"2\\",{"3\"4":5}],"b":true}"#).collect();
        assert_eq!(all, ["-1.5e3", "5"]);
    }
}
