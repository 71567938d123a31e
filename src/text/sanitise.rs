//! Text from data, made fit for a terminal: nothing in it steers the terminal or
//! hides what is there, and widths are counted in its cells.

use std::borrow::Cow;

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

/// Stands for a character that a terminal must not see.
const REPLACEMENT: char = '\u{fffd}';

/// The text on one line and without anything that steers a terminal: line ends
/// and tabs become spaces; control characters, changes of writing direction and
/// invisible marks become U+FFFD; joiners and variation selectors, whose width no
/// two terminals agree on, are left out.
pub fn sanitise(text: &str) -> Cow<'_, str> {
    if text.chars().all(|c| harmless(c) == Some(c)) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().filter_map(harmless).collect())
}

/// What stands for a character; `None` where nothing does.
fn harmless(c: char) -> Option<char> {
    match c {
        '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}' => Some(' '),
        '\u{200c}'..='\u{200d}' | '\u{fe00}'..='\u{fe0f}' => None,
        '\u{ad}'
        | '\u{61c}'
        | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}' => Some(REPLACEMENT),
        c if c.is_control() => Some(REPLACEMENT),
        c => Some(c),
    }
}

/// Columns that the text takes on a terminal, counted by grapheme.
pub fn width(text: &str) -> usize {
    text.graphemes(true).map(UnicodeWidthStr::width).sum()
}

/// The text, cut to `columns` with an ellipsis where it is wider.
pub fn truncate(text: &str, columns: usize) -> Cow<'_, str> {
    if width(text) <= columns {
        return Cow::Borrowed(text);
    }
    let mut cut = String::new();
    let mut used = 0;
    for grapheme in text.graphemes(true) {
        used += grapheme.width();
        if used + 1 > columns {
            break;
        }
        cut.push_str(grapheme);
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
        assert!(matches!(
            sanitise("naïve 模型"),
            Cow::Borrowed("naïve 模型")
        ));
        assert_eq!(
            sanitise("a\u{200b}b\u{feff}"),
            "a\u{fffd}b\u{fffd}",
            "what is invisible is shown"
        );
        assert_eq!(sanitise("👩\u{200d}👧 ❤\u{fe0f}"), "👩👧 ❤");
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
