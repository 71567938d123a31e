//! What a scorer or metric gave a sample, as a number from which success follows: C
//! and I are 1 and 0, P is one half, as the frameworks themselves read them.

use serde_json::{Map, Value};

/// The score as a number; `None` for one that is none, or several.
pub(crate) fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Bool(truth) => Some(f64::from(u8::from(*truth))),
        Value::Number(number) => number.as_f64(),
        Value::String(text) => match text.trim() {
            "C" => Some(1.0),
            "P" => Some(0.5),
            "I" | "N" => Some(0.0),
            text => match text.to_ascii_lowercase().as_str() {
                "yes" | "true" => Some(1.0),
                "no" | "false" => Some(0.0),
                other => other.parse().ok().filter(|number: &f64| number.is_finite()),
            },
        },
        _ => None,
    }
}

/// The scores of a sample by scorer.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Scores(Vec<(String, Value)>);

impl Scores {
    /// From `scores`, or from the one `score` of the oldest logs.
    pub(crate) fn new(value: Value, name: &str) -> Self {
        match value {
            Value::Object(scores) if name == "scores" => {
                let value = |score: Value| score.get("value").cloned().unwrap_or(Value::Null);
                Self(
                    scores
                        .into_iter()
                        .map(|(name, score)| (name, value(score)))
                        .collect(),
                )
            }
            Value::Object(score) => Self(
                score
                    .get("value")
                    .map(|v| (name.to_owned(), v.clone()))
                    .into_iter()
                    .collect(),
            ),
            _ => Self::default(),
        }
    }

    /// The score that decides: the named scorer's, else the first; of several values the named
    /// one, else the first that is a number.
    pub(crate) fn deciding(&self, scorer: Option<&str>, value: Option<&str>) -> Option<f64> {
        let named = self
            .0
            .iter()
            .find(|(name, _)| Some(name.as_str()) == scorer);
        match &named.or(self.0.first())?.1 {
            Value::Object(values) => {
                let named = value.and_then(|value| values.get(value));
                named
                    .and_then(number)
                    .or_else(|| values.values().find_map(number))
            }
            Value::Array(values) => values.iter().find_map(number),
            single => number(single),
        }
    }

    /// Whether the deciding scorer said anything.
    pub(crate) fn said(&self, scorer: Option<&str>) -> bool {
        let named = self
            .0
            .iter()
            .find(|(name, _)| Some(name.as_str()) == scorer);
        named
            .or(self.0.first())
            .is_some_and(|(_, value)| !value.is_null())
    }

    /// Each as a column of its own; the values of a scorer that gives several are
    /// columns too.
    pub(crate) fn columns(&self, fields: &mut Map<String, Value>) {
        for (name, value) in &self.0 {
            let mut put = |name: String, value: &Value| {
                let value = number(value).map_or_else(|| value.clone(), Value::from);
                fields.insert(name, value);
            };
            match value {
                Value::Object(values) => {
                    values
                        .iter()
                        .for_each(|(part, value)| put(format!("score_{name}_{part}"), value));
                }
                value => put(format!("score_{name}"), value),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn letters_words_and_numbers() {
        for (value, expected) in [
            (json!("C"), Some(1.0)),
            (json!("P"), Some(0.5)),
            (json!("I"), Some(0.0)),
            (json!("N"), Some(0.0)),
            (json!(true), Some(1.0)),
            (json!("no"), Some(0.0)),
            (json!("0.25"), Some(0.25)),
            (json!(3), Some(3.0)),
            (json!("inf"), None),
            (json!("purple"), None),
            (json!([1, 0]), None),
            (Value::Null, None),
        ] {
            assert_eq!(number(&value), expected, "{value}");
        }
    }

    #[test]
    fn the_named_scorer_decides_and_all_are_kept() {
        let value = json!({
            "a": {"value": "I"}, "b": {"value": "C"}, "c": {"value": {"w": "odd", "x": 0.5, "y": "C"}},
            "d": {"value": [1, 0]}, "e": {"value": {"x": "odd"}},
        });
        let scores = Scores::new(value, "scores");
        for (scorer, value, expected) in [
            ("b", None, Some(1.0)),
            ("gone", None, Some(0.0)),
            ("c", Some("y"), Some(1.0)),
            ("c", Some("gone"), Some(0.5)),
            ("c", None, Some(0.5)),
            ("d", Some("0"), Some(1.0)),
            ("e", None, None),
        ] {
            assert_eq!(
                scores.deciding(Some(scorer), value),
                expected,
                "{scorer} {value:?}"
            );
        }
        let scores = Scores::new(
            json!({"a": {"value": "I"}, "b": {"value": "C"}, "c": {"value": {"x": 0.5, "y": "odd"}}}),
            "scores",
        );
        let mut fields = Map::new();
        scores.columns(&mut fields);
        let expected =
            json!({"score_a": 0.0, "score_b": 1.0, "score_c_x": 0.5, "score_c_y": "odd"});
        assert_eq!(Value::Object(fields), expected);
        assert_eq!(
            Scores::new(json!({"value": "C"}), "score").deciding(None, None),
            Some(1.0)
        );
        assert_eq!(Scores::new(json!({}), "scores").deciding(None, None), None);
    }
}
