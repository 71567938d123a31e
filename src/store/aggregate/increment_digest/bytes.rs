//! Numbers and texts as few bytes: seven bits of a number in each, the last one without its
//! highest bit set; signed ones with the sign in the lowest bit.

/// Bytes being written.
#[derive(Debug, Default)]
pub(super) struct Out(pub(super) Vec<u8>);

impl Out {
    pub(super) fn byte(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(super) fn number(&mut self, value: impl Into<u128>) {
        let mut value = value.into();
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    pub(super) fn signed(&mut self, value: impl Into<i128>) {
        let value = value.into();
        self.number(((value << 1) ^ (value >> 127)) as u128);
    }

    pub(super) fn size(&mut self, value: usize) {
        self.number(value as u64);
    }

    pub(super) fn text(&mut self, text: &str) {
        self.size(text.len());
        self.0.extend_from_slice(text.as_bytes());
    }

    /// A number or nothing.
    pub(super) fn maybe(&mut self, value: Option<i64>) {
        self.byte(u8::from(value.is_some()));
        if let Some(value) = value {
            self.signed(value);
        }
    }

    /// Numbers as their distance from the one before.
    pub(super) fn steps(&mut self, values: impl ExactSizeIterator<Item = i64>) {
        self.size(values.len());
        let mut last = 0;
        for value in values {
            self.signed(i128::from(value) - i128::from(last));
            last = value;
        }
    }
}

/// Bytes being read; `None` where they are not what was expected.
#[derive(Debug)]
pub(super) struct In<'a>(pub(super) &'a [u8]);

impl<'a> In<'a> {
    pub(super) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    pub(super) fn number(&mut self) -> Option<u64> {
        let (mut value, mut shift) = (0_u64, 0);
        loop {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            value |= bits.checked_shl(shift).filter(|all| all >> shift == bits)?;
            if byte < 0x80 {
                return Some(value);
            }
            shift += 7;
        }
    }

    fn large(&mut self) -> Option<u128> {
        let (mut value, mut shift) = (0_u128, 0);
        loop {
            let byte = self.byte()?;
            let bits = u128::from(byte & 0x7f);
            value |= bits.checked_shl(shift).filter(|all| all >> shift == bits)?;
            if byte < 0x80 {
                return Some(value);
            }
            shift += 7;
        }
    }

    pub(super) fn signed(&mut self) -> Option<i128> {
        let value = self.large()?;
        Some((value >> 1) as i128 ^ -((value & 1) as i128))
    }

    /// How many values follow, of which each takes a byte at least.
    pub(super) fn size(&mut self) -> Option<usize> {
        let size = usize::try_from(self.number()?).ok()?;
        (size <= self.0.len()).then_some(size)
    }

    pub(super) fn text(&mut self) -> Option<&'a str> {
        let size = self.size()?;
        let (text, rest) = self.0.split_at_checked(size)?;
        self.0 = rest;
        std::str::from_utf8(text).ok()
    }

    /// A number or nothing, if it can be read.
    #[allow(clippy::option_option)]
    pub(super) fn maybe(&mut self) -> Option<Option<i64>> {
        match self.byte()? {
            0 => Some(None),
            _ => Some(Some(i64::try_from(self.signed()?).ok()?)),
        }
    }

    pub(super) fn steps(&mut self) -> Option<Vec<i64>> {
        let mut last = 0_i128;
        let size = self.size()?;
        (0..size)
            .map(|_| {
                last = last.checked_add(self.signed()?)?;
                i64::try_from(last).ok()
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_come_back(
            numbers in prop::collection::vec(any::<u64>(), 0..9), signed in any::<i128>(),
            steps in prop::collection::vec(any::<i64>(), 0..9), text in ".*", maybe: Option<i64>,
        ) {
            let mut out = Out::default();
            for number in &numbers {
                out.number(*number);
            }
            out.signed(signed);
            out.steps(steps.iter().copied());
            out.text(&text);
            out.maybe(maybe);
            let mut read = In(&out.0);
            for number in numbers {
                prop_assert_eq!(read.number(), Some(number));
            }
            prop_assert_eq!(read.signed(), Some(signed));
            prop_assert_eq!(read.steps(), Some(steps));
            prop_assert_eq!(read.text(), Some(text.as_str()));
            prop_assert_eq!(read.maybe(), Some(maybe));
            prop_assert!(read.0.is_empty() && read.byte().is_none());
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let mut read = In(&bytes);
            let _ = (read.number(), read.signed(), read.steps(), read.text(), read.maybe());
        }
    }
}
