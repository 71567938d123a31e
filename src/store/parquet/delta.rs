//! The lengths that delta-encoded text begins with, read before the decoder takes
//! memory for as many as they claim to be.

/// A run of lengths.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Lengths {
    /// How many.
    pub(crate) count: u64,
    /// The largest.
    pub(crate) longest: u64,
    /// Bytes that the run takes.
    pub(crate) end: usize,
}

/// Reads a run of at most `most` lengths (`DELTA_BINARY_PACKED`); `None` where there are
/// more, or where it is torn.
pub(crate) fn lengths(bytes: &[u8], most: u64) -> Option<Lengths> {
    let mut at = 0;
    let block = varint(bytes, &mut at)?;
    let minis = varint(bytes, &mut at)?;
    let count = varint(bytes, &mut at)?;
    let mut value = zigzag(varint(bytes, &mut at)?) as i32;
    let in_mini = block.checked_div(minis)?;
    if count > most || in_mini == 0 || !in_mini.is_multiple_of(8) {
        return None;
    }
    let mut longest = u64::try_from(value).ok()?;
    let mut left = count.saturating_sub(1);
    while left > 0 {
        let least = zigzag(varint(bytes, &mut at)?) as i32;
        let widths = bytes.get(at..at.checked_add(usize::try_from(minis).ok()?)?)?;
        at += widths.len();
        for &width in widths {
            if left == 0 {
                break;
            }
            let size = usize::try_from(in_mini.checked_mul(u64::from(width))? / 8).ok()?;
            let packed = bytes.get(at..at.checked_add(size)?)?;
            at += size;
            let here = in_mini.min(left);
            for number in 0..here {
                let delta = bits(packed, number as usize, width)?;
                value = value.wrapping_add(least).wrapping_add(delta as i32);
                longest = longest.max(u64::try_from(value).ok()?);
            }
            left -= here;
        }
    }
    Some(Lengths {
        count,
        longest,
        end: at,
    })
}

/// One of the numbers that are packed in `width` bits each.
fn bits(packed: &[u8], number: usize, width: u8) -> Option<u64> {
    // Lengths have 32 bits; with the bits before them they fit into eight bytes.
    if width > 32 {
        return None;
    }
    let first = number.checked_mul(usize::from(width))?;
    let rest = packed.get(first / 8..)?;
    let mut eight = [0; 8];
    match rest.first_chunk::<8>() {
        Some(chunk) => eight = *chunk,
        None => eight.get_mut(..rest.len())?.copy_from_slice(rest),
    }
    Some((u64::from_le_bytes(eight) >> (first % 8)) & ((1 << width) - 1))
}

fn varint(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn zigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_read_to_its_end() {
        // 128 values a block, 4 miniblocks; three values: 5, 7, 6 (deltas 2 and -1).
        let packed = [
            &[0x80, 0x01, 4, 3, 10, 0x01, 2, 0, 0, 0][..],
            &[0b0000_0011],
            &[0; 7],
            &[9],
        ]
        .concat();
        assert_eq!(
            lengths(&packed, 3),
            Some(Lengths {
                count: 3,
                longest: 7,
                end: packed.len() - 1
            })
        );
        assert_eq!(lengths(&packed, 2), None, "more than there can be");
        for cut in 0..packed.len() - 1 {
            assert_eq!(lengths(&packed[..cut], 3), None);
        }
        // A trillion of nothing.
        let many = [
            0x80, 0x01, 4, 0x80, 0x80, 0x80, 0x80, 0x80, 0x20, 0, 0, 0, 0, 0, 0,
        ];
        assert_eq!(lengths(&many, 1_000), None);
    }
}
