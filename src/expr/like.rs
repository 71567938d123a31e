//! `like`: `%` stands for any letters, `_` for one.

/// Whether the text is like the pattern. Linear in both but for the letters behind a `%`.
pub(super) fn like(text: &str, pattern: &str) -> bool {
    let (mut text, mut pattern) = (text.chars(), pattern.chars());
    // Where to go on when what follows the last `%` does not fit: one letter further.
    let mut back = None;
    loop {
        let (text_before, mut rest) = (text.clone(), pattern.clone());
        match rest.next() {
            Some('%') => {
                back = Some((text_before, rest.clone()));
                pattern = rest;
                continue;
            }
            None if text.clone().next().is_none() => return true,
            expected => {
                let letter = text.next();
                let fits = match (expected, letter) {
                    (Some('_'), Some(_)) => true,
                    (Some(expected), Some(letter)) => expected == letter,
                    _ => false,
                };
                if fits {
                    pattern = rest;
                    continue;
                }
            }
        }
        let Some((mut again, after)) = back.take() else {
            return false;
        };
        if again.next().is_none() {
            return false;
        }
        text = again.clone();
        pattern = after.clone();
        back = Some((again, after));
    }
}
