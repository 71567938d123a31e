//! How deep and how wide a footer's schema is, found out without recursion and without
//! memory: the decoder recurses, and a few kilobytes of footer would exhaust any stack; it
//! takes memory for as many children as a group claims to have.
//!
//! The footer is a struct of Thrift's compact protocol; field 2 is the list of schema
//! elements, depth first, and field 5 of an element its number of children.

use std::ops::Range;

/// Levels that a schema may have. Real ones have under ten.
const DEEPEST: usize = 64;

/// Columns and groups that a schema may have. Real ones have under a hundred.
const WIDEST: u64 = 100_000;

/// Where in a footer the schema is. Refuses one that is deeper or wider than any real one,
/// and one that does not end in these first bytes.
pub(crate) fn check(footer: &[u8]) -> Result<Range<usize>, &'static str> {
    let mut scan = Scan { rest: footer };
    match scan.schema() {
        Some(Shape::Real) => Ok(0..footer.len() - scan.rest.len()),
        Some(Shape::Deep) => Err("its columns are nested too deeply"),
        Some(Shape::Wide) => Err("it claims more columns than any table has"),
        None => Err("its footer is damaged"),
    }
}

/// Whether a footer that can be read says that its columns are encrypted (field 8 of the file's
/// metadata, the algorithm).
pub(crate) fn is_encrypted(footer: &[u8]) -> bool {
    let mut scan = Scan { rest: footer };
    let mut id = 0;
    while let Some(kind) = scan.field(&mut id).filter(|kind| *kind != 0) {
        if id == 8 {
            return kind == 12;
        }
        if scan.skip(kind, 0).is_none() {
            return false;
        }
    }
    false
}

#[derive(Debug, PartialEq, Eq)]
enum Shape {
    Real,
    Deep,
    Wide,
}

struct Scan<'a> {
    rest: &'a [u8],
}

impl Scan<'_> {
    fn schema(&mut self) -> Option<Shape> {
        let mut id = 0;
        loop {
            let kind = self.field(&mut id)?;
            if id == 2 {
                break;
            }
            if kind == 0 {
                return None;
            }
            self.skip(kind, 0)?;
        }
        let (elements, _) = self.list()?;
        if elements > WIDEST {
            return Some(Shape::Wide);
        }
        // Children that are still to come, for each open group.
        let mut open: Vec<u64> = Vec::new();
        for _ in 0..elements {
            let children = self.children()?;
            if children > elements {
                return Some(Shape::Wide);
            }
            if let Some(left) = open.last_mut() {
                *left = left.saturating_sub(1);
            }
            if children > 0 {
                open.push(children);
            }
            if open.len() > DEEPEST {
                return Some(Shape::Deep);
            }
            while open.last() == Some(&0) {
                open.pop();
            }
        }
        Some(Shape::Real)
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
        let length = if head >> 4 == 15 {
            self.varint()?
        } else {
            u64::from(head >> 4)
        };
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

    #[test]
    fn a_footer_with_an_algorithm_is_of_encrypted_columns() {
        // Field 3 (rows, i64 7), then field 8 (struct with field 1, an empty struct).
        assert!(is_encrypted(&[0x36, 14, 0x5c, 0x1c, 0, 0, 0]));
        assert!(!is_encrypted(&[0x36, 14, 0]));
        assert!(!is_encrypted(&[0x36]));
        assert!(!is_encrypted(&[]));
    }

    /// A footer whose schema is a chain of groups.
    fn chain(groups: usize) -> Vec<u8> {
        // Version 1, then a list of structs.
        let mut footer = vec![
            0x15,
            0x02,
            0x19,
            0xfc,
            (groups & 0x7f) as u8 | 0x80,
            (groups >> 7) as u8,
        ];
        for _ in 0..groups {
            // Name "g" in field 4, one child in field 5.
            footer.extend([0x48, 1, b'g', 0x15, 0x02, 0]);
        }
        footer
    }

    #[test]
    fn depth_and_width_are_found_without_recursion() {
        let shape = |footer: &[u8]| Scan { rest: footer }.schema();
        assert_eq!(shape(&chain(60)), Some(Shape::Real));
        assert_eq!(shape(&chain(65)), Some(Shape::Deep));
        assert_eq!(shape(&chain(10_000)), Some(Shape::Deep));
        for cut in 0..300 {
            assert_eq!(shape(&chain(60)[..cut]), None, "torn");
        }
        // Many columns side by side are no depth.
        let mut wide = vec![0x29, 0xfc, 0xe9, 0x07, 0x48, 1, b's', 0x15, 0xd0, 0x0f, 0];
        wide.extend([0x48, 1, b'c', 0].repeat(1_000));
        assert_eq!(shape(&wide), Some(Shape::Real));
        // A group of two billion children, and a list that never ends.
        let group = [
            0x29, 0x1c, 0x48, 1, b's', 0x15, 0xfe, 0xff, 0xff, 0xff, 0x0f, 0,
        ];
        assert_eq!(shape(&group), Some(Shape::Wide));
        let endless = [
            0x29, 0xfc, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0,
        ];
        assert_eq!(shape(&endless), Some(Shape::Wide));
        assert_eq!(shape(&vec![0x19; 100_000]), None, "lists in lists");
    }
}
