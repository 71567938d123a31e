//! Names of models that mean the same model. Patterns match whole names, in any case;
//! `#` is a run of figures. Off unless asked for: loose rules merge different models.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::error::ArrowError;

use super::convert;
use crate::store::{Error, Result};

/// The rules that come with the program.
const BUILT_IN: &str = include_str!("../../assets/aliases.toml");

/// Rules that give models their canonical names.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Aliases {
    /// Pattern and name, the first match first.
    rules: Arc<Vec<(String, String)>>,
}

impl Aliases {
    /// The rules of a file, or those that come with the program.
    pub fn load(path: Option<&Path>) -> Result<Self> {
        let text = match path {
            Some(path) => std::fs::read_to_string(path).map_err(Error::io("read", path))?,
            None => BUILT_IN.to_owned(),
        };
        let name = path.map_or_else(
            || "aliases.toml".to_owned(),
            |path| path.display().to_string(),
        );
        Self::parse(&text)
            .map_err(|why| Error::Refused(format!("{name} has no aliases that can be used: {why}")))
    }

    fn parse(text: &str) -> std::result::Result<Self, String> {
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
            error
                .to_string()
                .lines()
                .map(str::trim)
                .collect::<Vec<_>>()
                .join(" ")
        })?;
        let mut rules = Vec::new();
        for (name, patterns) in table {
            let wrong = || format!("'{name}' must be a list of patterns, like [\"my-model-#\"]");
            for pattern in patterns.as_array().ok_or_else(wrong)? {
                let pattern = pattern.as_str().ok_or_else(wrong)?.to_lowercase();
                rules.push((pattern, name.clone()));
            }
        }
        Ok(Self {
            rules: Arc::new(rules),
        })
    }

    /// The name under which a model counts.
    pub fn canonical(&self, model: &str) -> String {
        let lower = model.trim().to_lowercase();
        let rule = self
            .rules
            .iter()
            .find(|(pattern, _)| matches(pattern, &lower));
        rule.map_or_else(|| model.to_owned(), |(_, name)| name.clone())
    }

    /// Records with their models' canonical names.
    pub(crate) fn apply(&self, records: RecordBatch) -> Result<RecordBatch> {
        if self.rules.is_empty() {
            return Ok(records);
        }
        let refused =
            |error: ArrowError| Error::Refused(format!("the models can't be renamed: {error}"));
        let schema = records.schema();
        let Ok(at) = schema.index_of("model") else {
            return Ok(records);
        };
        let mut columns = records.columns().to_vec();
        if let Some(column) = columns.get_mut(at) {
            let models = convert::texts(column).map_err(|bad| Error::Refused(bad.why))?;
            let renamed = models
                .iter()
                .map(|model| model.map(|model| self.canonical(model)));
            *column = Arc::new(renamed.collect::<StringArray>()) as ArrayRef;
        }
        RecordBatch::try_new(schema, columns).map_err(refused)
    }
}

/// Whether a pattern is a whole name.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((before, after)) = pattern.split_once('#') else {
        return pattern == name;
    };
    let Some(rest) = name.strip_prefix(before) else {
        return false;
    };
    let figures = rest.bytes().take_while(u8::is_ascii_digit).count();
    (1..=figures).any(|taken| rest.get(taken..).is_some_and(|rest| matches(after, rest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_names_match_in_any_case() {
        let aliases =
            Aliases::parse("\"My-Model\" = [\"my-model\", \"my-model-#\", \"x#y#\"]").unwrap();
        for (model, expected) in [
            ("MY-model", "My-Model"),
            ("my-model-12", "My-Model"),
            ("x1y22", "My-Model"),
            ("my-model-", "my-model-"),
            ("my-model-1b", "my-model-1b"),
            ("a/my-model", "a/my-model"),
            ("x1y", "x1y"),
        ] {
            assert_eq!(aliases.canonical(model), expected);
        }
        assert_eq!(Aliases::default().canonical("my-model"), "my-model");
    }

    #[test]
    fn what_comes_along_keeps_different_models_apart() {
        let aliases = Aliases::load(None).unwrap();
        assert_eq!(aliases.canonical("deepseek-v3-0324-2"), "DeepSeek-V3-0324");
        assert_eq!(
            aliases.canonical("llama-3.3-70b-instruct"),
            "Llama-3.3-70B-Instruct"
        );
        for model in [
            "qwen3-32b",
            "qwen2.5-32b-instruct-1m",
            "deepseek-v3",
            "llama-3.1-70b-instruct",
        ] {
            assert_eq!(aliases.canonical(model), model);
        }
        assert!(
            aliases
                .rules
                .iter()
                .all(|(_, name)| aliases.canonical(name) == *name)
        );
    }

    #[test]
    fn wrong_rules_are_reported() {
        for text in ["a = 1", "a = [1]", "a = "] {
            assert!(Aliases::parse(text).is_err(), "{text}");
        }
    }
}
