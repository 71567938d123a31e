//! Bare words of a condition: whether their columns hold them.

use std::collections::BTreeSet;

use arrow::array::AsArray;
use arrow::datatypes::DataType;

use super::{Control, Result, Selection, Store, rows};
use crate::expr::{Bound, Word};
use crate::stats::Cells;
use crate::store::Error;
use crate::store::format::cast::cast;
use crate::text::suggest::did_you_mean;

/// So many values are held, to say which there are.
const HELD: usize = 10_000;
/// So many of them are listed.
const LISTED: usize = 20;
/// Letters of a value that are shown.
const LONGEST: usize = 60;

/// The same for a condition on dimensions, where cells say their values.
pub(super) fn check_in(
    store: &Store,
    condition: &Bound,
    cells: &Cells,
    control: &Control,
) -> Result<()> {
    let holds = |word: &Word| {
        cells.iter().any(|(cell, _)| {
            let own = match word.column.as_str() {
                "model" => &cell.model,
                "prompt_type" => &cell.prompt_type,
                "difficulty" => &cell.difficulty,
                _ => &cell.task_type,
            };
            **own == *word.text
        })
    };
    if condition.words().iter().all(holds) {
        return Ok(());
    }
    check(store, condition, control)
}

/// Refuses a word that no row has in its column, and lists what rows have.
pub(super) fn check(store: &Store, condition: &Bound, control: &Control) -> Result<()> {
    let mut unseen: Vec<_> = condition.words().iter().collect();
    while let Some(first) = unseen.first().copied() {
        let column = first.column.as_str();
        let selection = Selection {
            columns: Some(vec![column.to_owned()]),
            ..Selection::default()
        };
        let mut values = BTreeSet::new();
        for batch in rows(store, &selection, control)? {
            let batch = batch?;
            let texts = batch
                .columns()
                .first()
                .map(|own| cast(own, &DataType::Utf8));
            let Some(Ok(texts)) = texts else { continue };
            for text in texts.as_string::<i32>().iter().flatten() {
                unseen.retain(|word| word.column != column || word.text != text);
                if values.len() < HELD && !values.contains(text) {
                    values.insert(text.to_owned());
                }
            }
            if unseen.iter().all(|word| word.column != column) {
                break;
            }
        }
        if let Some(word) = unseen.iter().find(|word| word.column == column) {
            return Err(unknown(column, &word.text, &values));
        }
    }
    Ok(())
}

fn unknown(column: &str, word: &str, values: &BTreeSet<String>) -> Error {
    let meant = did_you_mean(word, values.iter().map(String::as_str));
    let short = |value: &String| match value.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}…", value.get(..at).unwrap_or_default()),
        None => value.clone(),
    };
    let listed: Vec<String> = values.iter().take(LISTED).map(short).collect();
    let more = values.len().saturating_sub(LISTED);
    let there_are = match (listed.as_slice(), more) {
        ([], _) => "it holds no text at all".to_owned(),
        (listed, 0) => format!("there are {}", listed.join(", ")),
        (listed, more) => format!("there are {} and {more} more", listed.join(", ")),
    };
    let missing = if word == "unknown" {
        "; a missing value is found by 'is null'"
    } else {
        ""
    };
    Error::Refused(format!(
        "'{word}' is neither a column nor a value of {column}{meant}: {there_are}{missing}"
    ))
}
