//! The order of the rooms in `src/`: what a room uses lies below it, so that each can be read
//! without those above.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Top to bottom; rooms of one line may not use each other.
const ROOMS: &[&[&str]] = &[
    &["cli"],
    &["tui"],
    &["demo"],
    &["jobs", "runner", "monitor"],
    &["report"],
    &["sources"],
    &["formats"],
    &["health"],
    &["observation"],
    &["store"],
    &["expr"],
    &["config"],
    &["stats"],
    &["limits", "memory", "quotes", "signals", "text"],
];

/// The Rust files below a folder, without those of tests.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && !["tests", "testing"].contains(&name) {
            sources(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") && name != "tests.rs" {
            found.push(path);
        }
    }
}

/// The text of a file without comments and without its tests, which stand at its end.
fn product(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap();
    let code = text.split("\n#[cfg(test)]\nmod ").next().unwrap();
    let lines = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// What follows each `crate::` in a text, one name for each of those in braces.
fn used(code: &str) -> Vec<&str> {
    let mut names = Vec::new();
    for rest in code.split("crate::").skip(1) {
        let word = |text: &'_ str| {
            text.find(|c: char| !(c.is_alphanumeric() || c == '_'))
                .unwrap_or(text.len())
        };
        if let Some(inside) = rest.strip_prefix('{') {
            let mut depth = 0;
            for part in inside.split(',') {
                let part = part.trim_start();
                if depth == 0 {
                    names.push(&part[..word(part)]);
                }
                depth += part.matches('{').count();
                let closed = part.matches('}').count();
                if closed > depth {
                    break;
                }
                depth -= closed;
            }
        } else {
            names.push(&rest[..word(rest)]);
        }
    }
    names
}

#[test]
fn a_room_uses_only_rooms_below_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let rank: BTreeMap<&str, usize> = ROOMS
        .iter()
        .enumerate()
        .flat_map(|(rank, rooms)| rooms.iter().map(move |room| (*room, rank)))
        .collect();
    let mut files = Vec::new();
    sources(&root, &mut files);
    let mut seen = 0;
    let mut wrong = Vec::new();
    for file in &files {
        let place = file.strip_prefix(&root).unwrap();
        let first = place.iter().next().unwrap().to_str().unwrap();
        let room = first.trim_end_matches(".rs");
        if ["lib", "main", "internals"].contains(&room) {
            continue;
        }
        let Some(own) = rank.get(room) else {
            panic!("{room} has no place in the order of rooms");
        };
        let code = product(file);
        for name in used(&code) {
            let Some(other) = rank.get(name) else {
                panic!("{}: crate::{name} is not a room", place.display());
            };
            seen += 1;
            if name != room && other <= own {
                wrong.push(format!("{}: {room} uses {name}", place.display()));
            }
        }
    }
    assert!(seen > 1_000, "only {seen} uses were found");
    assert!(wrong.is_empty(), "upward: {wrong:#?}");
}

#[test]
fn the_map_names_all_rooms_in_order_and_only_files_that_exist() {
    const MAP: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/architecture.md"));
    let table = MAP.split("## ").nth(1).unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    let named: Vec<Vec<&str>> = rows
        .map(|row| {
            let first = row.split('|').nth(1).unwrap();
            first.split('`').skip(1).step_by(2).collect()
        })
        .collect();
    let rooms: Vec<Vec<&str>> = ROOMS.iter().map(|rooms| rooms.to_vec()).collect();
    assert_eq!(named, rooms);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for name in MAP.split('`').skip(1).step_by(2) {
        if name.contains('/') && !name.contains([' ', '<', '*']) {
            let place = [root.join(name), root.join("src").join(name)];
            assert!(place.iter().any(|path| path.exists()), "{name}");
        }
    }
}
