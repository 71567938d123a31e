//! The last step before the terminal where it shows ASCII only: every cell becomes
//! one printable ASCII character, so that no view needs to think of it.

use ratatui::buffer::Buffer;

/// Replaces every symbol by an ASCII one of the same place.
pub(crate) fn fold(buffer: &mut Buffer) {
    for cell in &mut buffer.content {
        let symbol = cell.symbol();
        let plain = symbol.len() == 1 && symbol.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
        if !plain {
            let ascii = ascii(symbol);
            cell.set_char(ascii);
        }
    }
}

fn ascii(symbol: &str) -> char {
    match symbol.chars().next() {
        None => ' ',
        Some(c) if c.is_ascii_graphic() => c,
        Some(c) => match c {
            '█' | '▇' => '#',
            '▆' | '✓' => '*',
            '▅' | '▒' | '±' => '+',
            '▄' => '=',
            '▃' | '─' | '━' | '–' | '—' => '-',
            '▂' => ':',
            '▁' | '░' | '·' => '.',
            '▓' => '%',
            '│' | '▐' => '|',
            '●' => 'o',
            '◆' => '@',
            '├' => '[',
            '┤' => ']',
            '›' | '→' | '≥' => '>',
            '←' | '≤' => '<',
            '▲' | '↑' => '^',
            '▼' | '↓' => 'v',
            '✖' => 'X',
            '…' => '~',
            '×' => 'x',
            '“' | '”' => '"',
            '‘' | '’' => '\'',
            _ => '?',
        },
    }
}

#[cfg(test)]
mod tests {
    use ratatui::layout::Rect;
    use ratatui::style::Style;

    use super::*;

    #[test]
    fn leaves_only_ascii_and_keeps_places() {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 12, 1));
        buffer.set_string(0, 0, "a█▒通e\u{301} –x", Style::new());
        fold(&mut buffer);
        let row: String = buffer
            .content
            .iter()
            .map(ratatui::buffer::Cell::symbol)
            .collect();
        assert_eq!(row, "a#+? e -x   ");
    }
}
