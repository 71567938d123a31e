//! Text that came from data, cut or padded to a number of terminal cells, so that
//! CJK and combining characters line up. Everything here is cleaned of what could
//! steer the terminal.

use std::borrow::Cow;

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

use crate::text::sanitise;
pub(crate) use crate::text::sanitise::{sanitise as clean, width};

/// Cleaned, and cut to at most `cells`, with an ellipsis where something is missing.
pub(crate) fn truncate(text: &str, cells: usize) -> String {
    sanitise::truncate(&clean(text), cells).into_owned()
}

/// Cleaned, and cut in the middle to at most `cells`: for names of models, which begin with
/// a family and end with what distinguishes one of it from another.
pub(crate) fn truncate_middle(text: &str, cells: usize) -> String {
    let text = clean(text);
    if width(&text) <= cells {
        return text.into_owned();
    }
    if cells < 4 {
        return truncate(&text, cells);
    }
    let end = truncate_front(&text, cells / 2);
    let start = sanitise::truncate(&text, (cells + 1).saturating_sub(width(&end)));
    format!("{}{end}", start.trim_end_matches('…'))
}

/// Cleaned, and cut at the front to at most `cells`: for paths, whose end says more.
pub(crate) fn truncate_front(text: &str, cells: usize) -> String {
    let text = clean(text);
    if width(&text) <= cells {
        return text.into_owned();
    }
    let mut tail: Vec<&str> = Vec::new();
    let mut used = 1;
    for grapheme in text.graphemes(true).rev() {
        used += grapheme.width();
        if used > cells {
            break;
        }
        tail.push(grapheme);
    }
    let start = if cells > 0 { "…" } else { "" };
    std::iter::once(start)
        .chain(tail.into_iter().rev())
        .collect()
}

/// Exactly `cells` wide, left-aligned.
pub(crate) fn left(text: &str, cells: usize) -> String {
    filled(truncate(text, cells), cells)
}

/// Exactly `cells` wide, left-aligned, cut in the middle.
pub(crate) fn left_middle(text: &str, cells: usize) -> String {
    filled(truncate_middle(text, cells), cells)
}

fn filled(mut text: String, cells: usize) -> String {
    let missing = cells.saturating_sub(width(&text));
    text.extend(std::iter::repeat_n(' ', missing));
    text
}

/// Exactly `cells` wide, right-aligned.
pub(crate) fn right(text: &str, cells: usize) -> String {
    let text = truncate(text, cells);
    let missing = cells.saturating_sub(width(&text));
    std::iter::repeat_n(' ', missing)
        .chain(text.chars())
        .collect()
}

/// Cleaned and broken into lines of at most `cells`, at spaces where possible.
/// A line break in the text starts a new line.
pub(crate) fn wrap(text: &str, cells: usize) -> Vec<String> {
    let cells = cells.max(1);
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        let (mut line, mut used) = (String::new(), 0);
        for word in clean(paragraph).split(' ').filter(|w| !w.is_empty()) {
            let (gap, whole) = (usize::from(!line.is_empty()), width(word));
            if used + gap + whole > cells && !line.is_empty() {
                lines.push(std::mem::take(&mut line));
                used = 0;
            }
            if !line.is_empty() {
                line.push(' ');
                used += 1;
            }
            if used + whole <= cells {
                line.push_str(word);
                used += whole;
                continue;
            }
            for grapheme in word.graphemes(true) {
                if used + grapheme.width() > cells {
                    lines.push(std::mem::take(&mut line));
                    used = 0;
                }
                line.push_str(grapheme);
                used += grapheme.width();
            }
        }
        lines.push(line);
    }
    lines
}

/// A name as it is shown: cleaned, and never invisible.
pub(crate) fn name(text: &str) -> Cow<'_, str> {
    let clean = clean(text);
    if width(&clean) == 0 || clean.trim().is_empty() {
        Cow::Borrowed("(no name)")
    } else {
        clean
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_is_never_invisible() {
        assert_eq!(name(" \u{301}"), " \u{301}");
        assert_eq!(name("  "), "(no name)");
    }

    #[test]
    fn counts_cells_rather_than_characters() {
        assert_eq!(left("通义千问", 6), "通义… ");
        assert_eq!(right("e\u{301}a", 4), "  e\u{301}a");
        assert_eq!(truncate("abc", 0), "");
        assert_eq!(truncate_front("/home/me/runs/x", 8), "…/runs/x");
        assert_eq!(
            truncate_middle("claude-3-5-sonnet-20240620", 21),
            "claude-3-5-…-20240620"
        );
        assert_eq!(truncate_middle("short", 21), "short");
    }

    #[test]
    fn wraps_at_spaces_and_breaks_long_words() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("abcdefgh\nx", 3), ["abc", "def", "gh", "x"]);
    }

    proptest! {
        #[test]
        fn fits_exactly_and_is_clean(text in any::<String>(), cells in 0usize..40) {
            for out in [left(&text, cells), left_middle(&text, cells), right(&text, cells)] {
                prop_assert_eq!(width(&out), cells);
                prop_assert!(clean(&out) == out);
            }
            prop_assert!(width(&truncate(&text, cells)) <= cells);
            prop_assert!(width(&truncate_front(&text, cells)) <= cells);
            // One grapheme may be wider than a very narrow line.
            for line in wrap(&text, cells + 8) {
                prop_assert!(width(&line) <= cells + 8);
            }
        }
    }
}
