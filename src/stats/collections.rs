//! Maps that are looked into by the thousand at each scan.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

use foldhash::fast::RandomState;

/// A map by name, of a file mostly.
pub type ByName<K, V> = HashMap<K, V, RandomState>;
/// A set of names.
pub type Names<K> = HashSet<K, RandomState>;

/// A map whose keys are good hashes already: to hash them once more costs more than the look-up.
pub type Hashed<K, V> = HashMap<K, V, BuildHasherDefault<AsItIs>>;

/// Takes the last 64 bits of a key as its hash; for `u64` and `u128` only.
#[derive(Debug, Clone, Copy, Default)]
pub struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // Nothing is hashed this way; it stays right, if slow.
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }

    fn write_u128(&mut self, key: u128) {
        self.0 = key as u64;
    }
}
