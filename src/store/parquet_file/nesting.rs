//! How deep a footer's schema is nested, found out without recursion: the decoder
//! recurses, and a few kilobytes of footer would exhaust any stack.
//!
//! The footer is a struct of Thrift's compact protocol; field 2 is the list of schema
//! elements, depth first, and field 5 of an element its number of children.

/// Levels that a schema may have. Real ones have under ten.
const DEEPEST: usize = 64;

/// Whether the schema at the beginning of a footer is nested deeper than any real one.
/// A footer that is no Thrift is the decoder's to refuse.
pub(super) fn is_too_deep(footer: &[u8]) -> bool {
    Scan { rest: footer }.too_deep().unwrap_or(false)
}

struct Scan<'a> {
    rest: &'a [u8],
}

impl Scan<'_> {
    fn too_deep(&mut self) -> Option<bool> {
        let mut id = 0;
        loop {
            let kind = self.field(&mut id)?;
            if id == 2 {
                break;
            }
            self.skip(kind, 0)?;
        }
        let (elements, _) = self.list()?;
        // Children that are still to come, for each open group.
        let mut open: Vec<u64> = Vec::new();
        for _ in 0..elements {
            let children = self.children()?;
            if let Some(left) = open.last_mut() {
                *left = left.saturating_sub(1);
            }
            if children > 0 {
                open.push(children);
            }
            if open.len() > DEEPEST {
                return Some(true);
            }
            while open.last() == Some(&0) {
                open.pop();
            }
        }
        Some(false)
    }

    /// Reads one schema element; its number of children.
    fn children(&mut self) -> Option<u64> {
        let (mut id, mut children) = (0, 0);
        loop {
            match self.field(&mut id)? {
                0 => return Some(children),
                5 if id == 5 => children = self.varint()? >> 1,
                kind => self.skip(kind, 0)?,
            }
        }
    }

    /// The kind of the next field; 0 at the end of the struct.
    fn field(&mut self, id: &mut u64) -> Option<u8> {
        let head = self.byte()?;
        match head >> 4 {
            _ if head == 0 => return Some(0),
            0 => *id = self.varint()? >> 1,
            step => *id += u64::from(step),
        }
        Some(head & 0xf)
    }

    /// The length of a list, and the kind of its items.
    fn list(&mut self) -> Option<(u64, u8)> {
        let head = self.byte()?;
        let length = if head >> 4 == 15 { self.varint()? } else { u64::from(head >> 4) };
        Some((length, head & 0xf))
    }

    fn skip(&mut self, kind: u8, depth: usize) -> Option<()> {
        match kind {
            1 | 2 => Some(()),
            3 => self.byte().map(drop),
            4..=6 => self.varint().map(drop),
            7 => self.bytes(8),
            8 => {
                let length = self.varint()?;
                self.bytes(length)
            }
            9 | 10 if depth < DEEPEST => {
                let (length, kind) = self.list()?;
                (0..length).try_for_each(|_| match kind {
                    1 | 2 => self.byte().map(drop),
                    kind => self.skip(kind, depth + 1),
                })
            }
            12 if depth < DEEPEST => {
                let mut id = 0;
                loop {
                    match self.field(&mut id)? {
                        0 => return Some(()),
                        kind => self.skip(kind, depth + 1)?,
                    }
                }
            }
            _ => None,
        }
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*byte)
    }

    fn bytes(&mut self, length: u64) -> Option<()> {
        self.rest = self.rest.get(usize::try_from(length).ok()?..)?;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A footer whose schema is a chain of groups.
    fn chain(groups: usize) -> Vec<u8> {
        // Version 1, then a list of structs.
        let mut footer = vec![0x15, 0x02, 0x19, 0xfc, (groups & 0x7f) as u8 | 0x80, (groups >> 7) as u8];
        for _ in 0..groups {
            // Name "g" in field 4, one child in field 5.
            footer.extend([0x48, 1, b'g', 0x15, 0x02, 0]);
        }
        footer
    }

    #[test]
    fn depth_is_counted_without_recursion() {
        assert!(!is_too_deep(&chain(60)));
        assert!(is_too_deep(&chain(65)));
        assert!(is_too_deep(&chain(10_000)));
        for cut in 0..300 {
            assert!(!is_too_deep(&chain(60)[..cut]), "what is torn is for the decoder");
        }
        // Many columns side by side are no depth.
        let mut wide = vec![0x19, 0xfc, 0xe9, 0x07, 0x48, 1, b's', 0x15, 0xd0, 0x0f, 0];
        wide.extend([0x48, 1, b'c', 0].repeat(1_000));
        assert!(!is_too_deep(&wide));
        // A list that never ends, lists in lists.
        assert!(!is_too_deep(&[0x19, 0xfc, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0]));
        assert!(!is_too_deep(&vec![0x19; 100_000]));
    }
}
