//! Text from data, made fit for a terminal: no control character gets through,
//! and widths are those of Unicode.

use std::borrow::Cow;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Stands for a character that a terminal must not see.
const REPLACEMENT: char = '\u{fffd}';

/// The text on one line and without anything that steers a terminal: line ends
/// and tabs become spaces, control characters and changes of writing direction
/// become U+FFFD.
pub fn sanitise(text: &str) -> Cow<'_, str> {
    if text.chars().all(|c| harmless(c) == Some(c)) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().map(|c| harmless(c).unwrap_or(REPLACEMENT)).collect())
}

fn harmless(c: char) -> Option<char> {
    match c {
        '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}' => Some(' '),
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => None,
        c if c.is_control() => None,
        c => Some(c),
    }
}

/// Columns that the text takes on a terminal.
pub fn width(text: &str) -> usize {
    text.width()
}

/// The text, cut to `columns` with an ellipsis where it is wider.
pub fn truncate(text: &str, columns: usize) -> Cow<'_, str> {
    if width(text) <= columns {
        return Cow::Borrowed(text);
    }
    let mut cut = String::new();
    let mut used = 0;
    for c in text.chars() {
        used += c.width().unwrap_or(0);
        if used + 1 > columns {
            break;
        }
        cut.push(c);
    }
    if columns > 0 {
        cut.push('…');
    }
    Cow::Owned(cut)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_never_get_through() {
        assert_eq!(
            sanitise("a\x1b[31mb\nc\td\u{7}\u{9b}e\u{202e}f"),
            "a\u{fffd}[31mb c d\u{fffd}\u{fffd}e\u{fffd}f"
        );
        assert!(matches!(sanitise("naïve 模型"), Cow::Borrowed("naïve 模型")));
    }

    #[test]
    fn cuts_by_columns_not_by_characters() {
        assert_eq!(truncate("模型模型", 8), "模型模型");
        assert_eq!(truncate("模型模型", 7), "模型模…");
        assert_eq!(truncate("模型模型", 6), "模型…");
        assert_eq!(truncate("abc", 1), "…");
        assert_eq!(truncate("abc", 0), "");
        for columns in 0..12 {
            assert!(width(&truncate("a模é\u{301}x型yz", columns)) <= columns);
        }
    }
}
