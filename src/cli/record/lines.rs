//! Bytes as they are read, cut into lines.

/// Bytes of the longest line that is accepted.
const LONGEST: usize = 16 << 20;

/// Why a longer line is not.
pub(super) const TOO_LONG: &str = "the line is longer than 16 MiB";

/// A line, or a part of one that is too long to be kept in memory.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// A whole line without its end.
    Line(Vec<u8>),
    /// The next part of a line that is too long.
    TooLong(Vec<u8>),
    /// That line ended.
    TooLongEnd,
}

/// Cuts lines; holds an incomplete one.
#[derive(Debug, Default)]
pub(super) struct Lines {
    held: Vec<u8>,
    too_long: bool,
    begun: bool,
}

impl Lines {
    /// The lines that `bytes` complete.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<Piece> {
        let mut pieces = Vec::new();
        for part in bytes.split_inclusive(|&byte| byte == b'\n') {
            match part.strip_suffix(b"\n") {
                Some(end) => {
                    self.held.extend_from_slice(end);
                    self.end_line(&mut pieces);
                }
                None => self.held.extend_from_slice(part),
            }
            if self.held.len() > LONGEST {
                self.too_long = true;
            }
            if self.too_long && !self.held.is_empty() {
                pieces.push(Piece::TooLong(std::mem::take(&mut self.held)));
            }
        }
        pieces
    }

    /// A last line without its end.
    pub(super) fn finish(&mut self) -> Vec<Piece> {
        let mut pieces = Vec::new();
        if self.too_long || !self.held.is_empty() {
            self.end_line(&mut pieces);
        }
        pieces
    }

    fn end_line(&mut self, pieces: &mut Vec<Piece>) {
        let mut line = std::mem::take(&mut self.held);
        if !std::mem::replace(&mut self.begun, true) && line.starts_with(b"\xef\xbb\xbf") {
            line.drain(..3);
        }
        if self.too_long || line.len() > LONGEST {
            self.too_long = false;
            pieces.extend((!line.is_empty()).then_some(Piece::TooLong(line)));
            pieces.push(Piece::TooLongEnd);
        } else {
            pieces.push(Piece::Line(line));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Piece {
        Piece::Line(text.as_bytes().to_vec())
    }

    #[test]
    fn lines_are_cut_wherever_reads_end() {
        let mut lines = Lines::default();
        assert_eq!(lines.push(b"\xef\xbb\xbfa\nb"), [line("a")]);
        assert_eq!(lines.push(b"c\r\n\nd"), [line("bc\r"), line("")]);
        assert_eq!(lines.finish(), [line("d")]);
        assert_eq!(lines.finish(), []);
    }

    #[test]
    fn a_line_that_is_too_long_passes_in_parts() {
        let mut lines = Lines::default();
        let half = vec![b'x'; LONGEST / 2 + 1];
        assert!(lines.push(&half).is_empty());
        let parts = lines.push(&half);
        assert!(matches!(&parts[..], [Piece::TooLong(part)] if part.len() > LONGEST));
        let rest = lines.push(b"yz\nnext\n");
        assert_eq!(
            rest,
            [
                Piece::TooLong(b"yz".to_vec()),
                Piece::TooLongEnd,
                line("next")
            ]
        );
    }
}
