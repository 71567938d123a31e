//! The id of a row that brings none: `ev` and 20 letters, made of what the row says.
//!
//! A time with a fraction of a second distinguishes a row from every other, so such a row has one id
//! wherever it is found. Any other row's id also says in which file it was and how many equal
//! rows were before it there.

use xxhash_rust::xxh3::{Xxh3Default, xxh3_64};

/// Where rows without ids were found: the store and a name that readers at home and elsewhere
/// agree on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Source(String);

impl Source {
    /// A file or label of a store; a store without a commit has an empty id.
    pub(crate) fn new(store_id: &str, name: &str) -> Self {
        Self(format!("{store_id}/{name}"))
    }
}

/// What an id is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin {
    /// [`crate::store::aggregate::cell_key`].
    pub(crate) cell: u128,
    /// Microseconds since the epoch.
    pub(crate) timestamp: Option<i64>,
    /// The row hash.
    pub(crate) hash: u128,
}

impl Origin {
    /// Whether its time alone distinguishes it from every other row.
    pub(crate) fn is_unique(&self) -> bool {
        self.timestamp.is_some_and(|time| time % 1_000_000 != 0)
    }
}

/// The id of the row that has so many equal ones before it in its file.
pub(crate) fn derived_id(row: &Origin, source: &Source, occurrence: u32) -> String {
    let anywhere = row.is_unique() && occurrence == 0;
    let source: &[u8] = if anywhere { b"" } else { source.0.as_bytes() };
    let mut place = Vec::with_capacity(32 + source.len());
    place.extend(row.cell.to_le_bytes());
    place.extend(row.timestamp.map_or([0; 9], |time| {
        let mut known = [1; 9];
        for (to, from) in known.iter_mut().skip(1).zip(time.to_le_bytes()) {
            *to = from;
        }
        known
    }));
    place.extend(source);
    let mut content = Xxh3Default::new();
    content.update(&row.hash.to_le_bytes());
    content.update(&occurrence.to_le_bytes());
    content.update(source);
    let mut id = String::with_capacity(22);
    id.push_str("ev");
    push_letters(&mut id, xxh3_64(&place), 8);
    push_letters(&mut id, content.digest(), 12);
    id
}

/// Base 32 of the lowest bits, five a letter.
fn push_letters(id: &mut String, bits: u64, letters: u32) {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    for letter in 0..letters {
        let at = (bits >> (5 * letter)) & 31;
        id.extend(ALPHABET.get(at as usize).map(|letter| char::from(*letter)));
    }
}

/// Whether an id is one that was derived.
pub(crate) fn is_derived(id: &str) -> bool {
    id.strip_prefix("ev").is_some_and(|letters| {
        letters.len() == 20
            && letters
                .bytes()
                .all(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unique_time_makes_one_id_everywhere_and_any_other_row_one_a_place() {
        let (here, there) = (Source::new("s", "main"), Source::new("s", "increment_7"));
        let unique = Origin {
            cell: 1,
            timestamp: Some(1_000_001),
            hash: 7,
        };
        assert_eq!(
            derived_id(&unique, &here, 0),
            derived_id(&unique, &there, 0)
        );
        assert_ne!(
            derived_id(&unique, &here, 1),
            derived_id(&unique, &there, 1)
        );
        for timestamp in [None, Some(0), Some(5_000_000)] {
            let row = Origin {
                timestamp,
                ..unique
            };
            let ids = [
                derived_id(&row, &here, 0),
                derived_id(&row, &here, 1),
                derived_id(&row, &there, 0),
                derived_id(&row, &Source::new("t", "main"), 0),
                derived_id(&Origin { hash: 8, ..row }, &here, 0),
                derived_id(&Origin { cell: 2, ..row }, &here, 0),
            ];
            let distinct: std::collections::HashSet<&String> = ids.iter().collect();
            assert_eq!(distinct.len(), ids.len(), "{ids:?}");
            assert!(ids.iter().all(|id| is_derived(id)), "{ids:?}");
        }
        assert!(!is_derived("evaluation") && !is_derived("ev0123456789012345678a"));
    }
}
