//! A few seconds of what the fuzzer does for hours: the committed corpus, and
//! mutations of it that are the same in every run.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

#[path = "../kill/random.rs"]
#[allow(dead_code)]
mod random;
mod targets;

use std::path::Path;

use random::Random;

/// Mutations of each seed.
const MUTATIONS: u64 = 60;

/// What parsers trip over.
const TOKENS: [&[u8]; 12] = [
    b"\"",
    b"{",
    b"[[[[",
    b"\n",
    b",",
    b"-1",
    b"NaN",
    b"18446744073709551616",
    b"\xff\xfe",
    b"\0",
    b"PAR1",
    b"=",
];

fn mutated(seed: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len() as u64 + 1) as usize;
        let end = (at + random.below(40) as usize).min(bytes.len());
        match random.below(6) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..end)),
            2 => drop(bytes.splice(at..at, bytes[at..end].to_vec())),
            3 => drop(bytes.splice(at..at, TOKENS[random.below(12) as usize].to_vec())),
            4 if at < bytes.len() => bytes[at] = random.bits() as u8,
            _ if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            _ => {}
        }
    }
    bytes
}

#[test]
fn no_parser_panics_on_the_corpus_or_near_it() {
    for (name, target) in targets::ALL {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fuzz/corpus")
            .join(name);
        let mut seeds: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        seeds.sort();
        assert!(!seeds.is_empty(), "{name} has seeds");
        for (number, seed) in (0..).zip(&seeds) {
            let bytes = std::fs::read(seed).unwrap();
            let mut random = Random::new(7, number);
            target(&bytes);
            for _ in 0..MUTATIONS {
                target(&mutated(&bytes, &mut random));
            }
        }
    }
}
