//! The key of a test: its `test_id` within its cell.

use xxhash_rust::xxh3::xxh3_128;

use crate::stats::{Cell, Rate};

/// Whether a `test_id` identifies anything: legacy files spell a missing one as
/// "", "nan" or "None".
pub fn is_id(test_id: &str) -> bool {
    !matches!(test_id, "" | "nan" | "None")
}

/// The key of a test: equal for two attempts at one test, and only for those.
/// `None` where there is no usable `test_id`: such rows are never deduplicated.
pub fn key(test_id: Option<&str>, cell: &Cell) -> Option<u128> {
    key_in(test_id, cell_key(cell))
}

/// [`key`] for a cell whose [`cell_key`] is known already.
pub fn key_in(test_id: Option<&str>, cell: u128) -> Option<u128> {
    let test_id = test_id.filter(|id| is_id(id))?.as_bytes();
    // Nearly all ids are short, and there are millions of them.
    let mut short = [0; 96];
    let (head, rest) = short.split_at_mut(16);
    head.copy_from_slice(&cell.to_le_bytes());
    if let Some(room) = rest.get_mut(..test_id.len()) {
        room.copy_from_slice(test_id);
        return short.get(..16 + test_id.len()).map(xxh3_128);
    }
    Some(xxh3_128(&[&cell.to_le_bytes(), test_id].concat()))
}

/// xxh3-128 over the length-prefixed parts of a cell.
pub fn cell_key(cell: &Cell) -> u128 {
    let texts = [
        &*cell.model,
        &*cell.prompt_type,
        &*cell.difficulty,
        &*cell.task_type,
    ];
    parts_key(texts, cell.tool_success_rate)
}

/// [`cell_key`] of model, prompt type, difficulty, task type, and the rate.
pub(super) fn parts_key(texts: [&str; 4], rate: Option<Rate>) -> u128 {
    let mut bytes = Vec::with_capacity(128);
    for part in texts {
        bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
        bytes.extend_from_slice(part.as_bytes());
    }
    if let Some(rate) = rate {
        bytes.extend_from_slice(&rate.get().to_bits().to_le_bytes());
    }
    xxh3_128(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(model: &str, prompt_type: &str, rate: f64) -> Cell {
        Cell {
            model: model.into(),
            prompt_type: prompt_type.into(),
            tool_success_rate: Rate::new(rate),
            difficulty: "easy".into(),
            task_type: "basic".into(),
        }
    }

    #[test]
    fn one_id_in_one_cell_is_one_test() {
        let a = key(Some("7"), &cell("m", "p", 0.8));
        assert!(a.is_some());
        assert_eq!(a, key(Some("7"), &cell("m", "p", f64::from(0.8_f32))));
        assert_ne!(a, key(Some("8"), &cell("m", "p", 0.8)));
        assert_ne!(a, key(Some("7"), &cell("m", "p", 0.6)));
        assert_ne!(a, key(Some("7"), &cell("m", "p", f64::NAN)));
        assert_ne!(
            key(Some("7"), &cell("ab", "c", 0.8)),
            key(Some("7"), &cell("a", "bc", 0.8))
        );
    }

    #[test]
    fn spellings_of_a_missing_id_are_no_key() {
        for id in [None, Some(""), Some("nan"), Some("None")] {
            assert_eq!(key(id, &cell("m", "p", 0.8)), None);
        }
    }
}
