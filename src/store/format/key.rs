//! The key of a test: its `test_id` within its cell and its session.

use xxhash_rust::xxh3::xxh3_128;

use crate::stats::{Cell, Rate};
use crate::store::format::row_hash::is_absent;

/// Whether a `test_id` identifies anything, rather than spelling a missing one.
pub fn is_id(test_id: &str) -> bool {
    !is_absent(test_id)
}

/// The key of a test: equal for two attempts at one test, and only for those. Sessions never
/// supersede each other; no session is one too. `None` without a usable `test_id`.
pub fn key(test_id: Option<&str>, cell: &Cell, session: Option<&str>) -> Option<u128> {
    key_in(test_id, cell_key(cell), session)
}

/// [`key`] for a cell whose [`cell_key`] is known already.
pub fn key_in(test_id: Option<&str>, cell: u128, session: Option<&str>) -> Option<u128> {
    let test_id = test_id.filter(|id| is_id(id))?.as_bytes();
    if let Some(session) = session.filter(|session| is_id(session)) {
        let length = (test_id.len() as u64).to_le_bytes();
        // No text begins with this byte, so no id without a session has this key.
        let parts = [
            &cell.to_le_bytes()[..],
            &[0xff],
            &length,
            test_id,
            session.as_bytes(),
        ];
        return Some(xxh3_128(&parts.concat()));
    }
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
pub(crate) fn parts_key(texts: [&str; 4], rate: Option<Rate>) -> u128 {
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
        let key = |id, cell: &Cell| key(id, cell, None);
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
        for id in [None, Some(""), Some("nan"), Some("None"), Some("<NA>")] {
            assert_eq!(key(id, &cell("m", "p", 0.8), Some("s")), None);
        }
    }

    #[test]
    fn sessions_are_apart_and_none_is_one_of_them() {
        let of = |id: &str, session| key(Some(id), &cell("m", "p", 0.8), session);
        let (none, one, other) = (of("7", None), of("7", Some("a")), of("7", Some("b")));
        assert!(none != one && one != other && none != other);
        assert_eq!(of("7", Some("nan")), none);
        assert_ne!(of("7a", Some("b")), of("7", Some("ab")));
    }
}
