//! Sizes in bytes with a unit: `64KiB`, `1MiB`, `500kB`.

use std::fmt;

use super::value::Value;

/// A number of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

/// Largest first: a size is printed in the largest unit that divides it.
const UNITS: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("kB", 1_000),
    ("B", 1),
];

impl ByteSize {
    /// Reads a whole number with a unit, in any case; `None` if it is anything else or too large.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let digits = text.find(|c: char| !c.is_ascii_digit())?;
        let (number, unit) = text.split_at_checked(digits)?;
        let (_, factor) = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit.trim()))?;
        number.parse::<u64>().ok()?.checked_mul(*factor).map(Self)
    }

    /// The number of bytes, limited to `usize::MAX`.
    #[must_use]
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = UNITS.iter().find(|(_, factor)| self.0 >= *factor && self.0.is_multiple_of(*factor));
        let (name, factor) = unit.copied().unwrap_or(("B", 1));
        write!(f, "{}{name}", self.0 / factor)
    }
}

impl Value for ByteSize {
    const EXPECTED: &'static str = "a size with its unit, such as `64KiB` or `1MiB`";

    fn from_text(text: &str) -> Option<Self> {
        Self::parse(text)
    }

    fn show(&self) -> String {
        self.to_string()
    }

    fn stand_in() -> Self {
        Self(0)
    }
}

impl Value for Option<ByteSize> {
    const EXPECTED: &'static str = "`none` or a size with its unit, such as `64KiB` or `1MiB`";

    fn from_text(text: &str) -> Option<Self> {
        if text.trim().eq_ignore_ascii_case("none") {
            return Some(None);
        }
        ByteSize::parse(text).map(Some)
    }

    fn show(&self) -> String {
        self.map_or_else(|| "none".to_owned(), |size| size.show())
    }

    fn stand_in() -> Self {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_need_a_unit_and_print_as_they_were_written() {
        for text in ["64KiB", "1MiB", "500kB", "2GiB", "7B", "0B"] {
            assert_eq!(ByteSize::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(ByteSize::parse(" 64 kib "), Some(ByteSize(65_536)));
        for text in ["", "64", "KiB", "-1KiB", "1.5MiB", "64 kilobytes", "99999999999GiB"] {
            assert_eq!(ByteSize::parse(text), None, "{text}");
        }
    }
}
