//! Ids of tests that bring none, but say which test they are.

use xxhash_rust::xxh3::xxh3_128;

/// RFC 4648's digits without padding, in lower case.
const DIGITS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// Digits of an id: 100 bits, so that a billion tests meet with a probability below 10⁻¹².
const LENGTH: usize = 20;

/// An id made of what names a test (session, cell, task, trial), in this order: the same test has
/// the same id in every run of a script, so that running it again adds nothing. Each part is
/// hashed with its length, and an absent one is none of the texts.
pub fn test_id(parts: &[Option<&str>]) -> String {
    let mut bytes = Vec::new();
    for part in parts {
        match part {
            None => bytes.push(0),
            Some(text) => {
                bytes.push(1);
                bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
                bytes.extend_from_slice(text.as_bytes());
            }
        }
    }
    let mut hash = xxh3_128(&bytes);
    let mut id = String::with_capacity(LENGTH + 2);
    id.push_str("t-");
    for _ in 0..LENGTH {
        let digit = DIGITS.get((hash & 31) as usize).copied();
        id.push(char::from(digit.unwrap_or(b'a')));
        hash >>= 5;
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_depends_on_each_part_and_its_place() {
        let id = test_id(&[Some("monday"), Some("m"), None, Some("gpqa/17"), Some("0")]);
        assert_eq!(
            id,
            test_id(&[Some("monday"), Some("m"), None, Some("gpqa/17"), Some("0")])
        );
        let others: [&[Option<&str>]; 4] = [
            &[Some("tuesday"), Some("m"), None, Some("gpqa/17"), Some("0")],
            &[
                Some("monday"),
                Some("m"),
                Some(""),
                Some("gpqa/17"),
                Some("0"),
            ],
            &[Some("mondaym"), Some(""), None, Some("gpqa/17"), Some("0")],
            &[Some("monday"), Some("m"), None, Some("gpqa/17"), Some("1")],
        ];
        for other in others {
            assert_ne!(id, test_id(other));
        }
    }
}
