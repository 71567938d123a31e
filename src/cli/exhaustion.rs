//! What the system refused where a library asserts that it doesn't: a sentence rather than
//! the report of a panic.

use std::any::Any;
use std::panic;

/// What the standard library and others say then, and what ran out.
const SIGNS: [(&str, &str); 6] = [
    ("failed to spawn thread", "threads"),
    ("code: 11,", "threads"),
    ("code: 12,", "memory"),
    ("code: 24,", "files"),
    // A thread that starts where memory ran out.
    ("failed to allocate an alternative stack", "memory"),
    ("zstd returned null pointer", "memory"),
];

fn said(payload: &(dyn Any + Send)) -> Option<&str> {
    payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied())
}

fn sign(text: &str) -> Option<&'static str> {
    let found = SIGNS.iter().find(|(sign, _)| text.contains(sign));
    found.map(|(_, what)| *what)
}

/// The sentence for a panic that is not a mistake.
pub(super) fn of(payload: &(dyn Any + Send)) -> Option<String> {
    let what = sign(said(payload)?)?;
    Some(format!(
        "the system gives this process no more {what}: raise its limits (ulimit -u, -n, -v), then run this again"
    ))
}

/// Keeps such panics out of the output: whoever started the work says what is missing.
pub(super) fn silence() {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if said(info.payload()).and_then(sign).is_none() {
            hook(info);
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ran_out_is_distinguished_from_a_mistake() {
        let panicked = |message: &str| of(&message.to_owned());
        for (message, what) in [
            (
                "failed to spawn thread: Os { code: 11, kind: WouldBlock, message: \"…\" }",
                "threads",
            ),
            (
                "failed to create UnixStream: Os { code: 24, kind: Uncategorized, message: \"…\" }",
                "files",
            ),
            (
                "failed to allocate an alternative stack: Cannot allocate memory (os error 12)",
                "memory",
            ),
        ] {
            let sentence = panicked(message).unwrap();
            assert!(sentence.contains(&format!("no more {what}:")), "{sentence}");
        }
        assert_eq!(panicked("index out of bounds"), None);
        assert_eq!(of(&7), None);
    }
}
