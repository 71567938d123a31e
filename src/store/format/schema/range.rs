//! What a footer says about the values of a number column beyond their type, as metadata of
//! the field: which other types hold each of them exactly.

use arrow::datatypes::Field;

/// The metadata key. It is set when a file is opened and never written to one.
const KEY: &str = "evaltop.range";

/// Whole numbers up to this magnitude are exact as doubles.
pub const EXACT_IN_DOUBLE: u64 = 1 << 53;

/// Unscaled decimals below this have at most 15 digits, which a double gives back.
pub const EXACT_DECIMAL: u128 = 1_000_000_000_000_000;

/// The values of a column. Without anything known they are taken for small ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
// Each is known or not for itself.
#[allow(clippy::struct_excessive_bools)]
pub struct Range {
    /// Some value does not fit into the next type that the column could widen to: a whole
    /// number beyond 2^53, a decimal of more than 15 digits, a time outside of what
    /// nanoseconds count.
    pub wide: bool,
    /// Some value is 2^63 or above.
    pub huge: bool,
    /// Some value is negative.
    pub negative: bool,
    /// Known to be below 2^63 although the type holds more.
    pub fits: bool,
}

impl Range {
    /// Of a whole number.
    pub fn of(value: i128) -> Self {
        Self {
            wide: value.unsigned_abs() > u128::from(EXACT_IN_DOUBLE),
            huge: value > i128::from(i64::MAX),
            negative: value < 0,
            fits: false,
        }
    }

    /// Of both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            wide: self.wide || other.wide,
            huge: self.huge || other.huge,
            negative: self.negative || other.negative,
            fits: false,
        }
    }

    /// What is known of a field's values.
    pub fn known(field: &Field) -> Self {
        let letters = field.metadata().get(KEY).map_or("", String::as_str);
        Self {
            wide: letters.contains('w'),
            huge: letters.contains('h'),
            negative: letters.contains('n'),
            fits: letters.contains('f'),
        }
    }

    /// The field with this known of its values.
    pub fn mark(self, field: &Field) -> Field {
        let mut metadata = field.metadata().clone();
        metadata.remove(KEY);
        let known = [
            (self.wide, 'w'),
            (self.huge, 'h'),
            (self.negative, 'n'),
            (self.fits, 'f'),
        ];
        let letters: String = known
            .into_iter()
            .filter_map(|(is, letter)| is.then_some(letter))
            .collect();
        if !letters.is_empty() {
            metadata.insert(KEY.to_owned(), letters);
        }
        field.clone().with_metadata(metadata)
    }
}
