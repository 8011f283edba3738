//! Why something cannot be read.

use std::fmt::Display;

/// A sentence for people. It names what is wrong and where, never the payload itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(String);

/// Longest name that a message repeats.
const NAME_CHARS: usize = 120;

impl Refusal {
    /// Says it.
    pub fn new(reason: impl Display) -> Self {
        Self(reason.to_string())
    }
}

/// A name out of a payload, fit for a message: no control characters, no more than a line.
pub fn shown(name: &str) -> String {
    let mut chars = name.chars().flat_map(char::escape_debug);
    let mut shown: String = chars.by_ref().take(NAME_CHARS).collect();
    if chars.next().is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_name_stays_on_its_line() {
        assert_eq!(shown("a\n\u{1b}[2Jb"), "a\\n\\u{1b}[2Jb");
        assert_eq!(shown(&"x".repeat(10_000)).chars().count(), NAME_CHARS + 1);
    }
}
