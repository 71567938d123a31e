//! Which rows of a batch are of one cell, told by the keys of its dictionaries: far cheaper
//! than by their texts.

use arrow::array::{Array, Float64Array, Int32Array};

use super::Columns;
use crate::stats::hashed::Hashed;

/// Odd, so that multiplying by it tells different numbers apart.
const MIX: u64 = 0x9e37_79b9_7f4a_7c15;

/// For each row a number that rows of the same cell share; `None` where a dimension has no
/// dictionary. Rows of one cell may have several, where texts or rates are stored differently.
pub(super) fn numbers(columns: &Columns, rows: usize) -> Option<Vec<u64>> {
    let mut numbers = vec![0_u64; rows];
    let mut room = 1_u64;
    for name in ["model", "prompt_type", "difficulty", "task_type"] {
        let (keys, texts) = columns.keyed(name)?;
        let values = texts.len() as u64 + 1;
        room = room.checked_mul(values)?;
        for (number, key) in numbers.iter_mut().zip(keyed(keys)) {
            *number = *number * values + key;
        }
    }
    let Some(rates) = columns.rates() else { return Some(numbers) };
    let mut seen: Hashed<u64, u64> = Hashed::default();
    let most = u64::MAX / room;
    for (number, bits) in numbers.iter_mut().zip(bits(rates)) {
        let next = seen.len() as u64;
        let rate = *seen.entry(bits.wrapping_mul(MIX)).or_insert(next);
        if rate >= most {
            return None;
        }
        *number += rate * room;
    }
    Some(numbers)
}

/// A number for a hash map that takes hashes as they are.
pub(super) fn mixed(number: u64) -> u64 {
    number.wrapping_mul(MIX)
}

/// Keys from one on; zero where there is none.
fn keyed(keys: &Int32Array) -> impl Iterator<Item = u64> + '_ {
    let valid = |row: usize| keys.nulls().is_none_or(|nulls| nulls.is_valid(row));
    keys.values().iter().enumerate().map(move |(row, key)| if valid(row) { *key as u64 + 1 } else { 0 })
}

fn bits(rates: &Float64Array) -> impl Iterator<Item = u64> + '_ {
    let valid = |row: usize| rates.nulls().is_none_or(|nulls| nulls.is_valid(row));
    rates
        .values()
        .iter()
        .enumerate()
        .map(move |(row, rate)| if valid(row) { rate.to_bits() } else { f64::NAN.to_bits() })
}
