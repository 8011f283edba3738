//! The error of a payload that cannot be read.

use std::fmt::Display;

/// A sentence for users. It names the problem and its place, and never contains the payload itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Refusal {
    reason: String,
    /// The place in the value, innermost first.
    places: Vec<Place>,
}

/// A step from a value to one inside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// An index, from 0.
    Item(usize),
    /// A text key, shortened for a message.
    Key(String),
    /// Any other key.
    Other,
}

/// The longest name in a message, in characters.
const NAME_CHARS: usize = 120;

impl Refusal {
    /// A refusal with this reason.
    pub fn new(reason: impl Display) -> Self {
        Self { reason: reason.to_string(), places: Vec::new() }
    }

    /// Adds an outer place.
    pub fn at(mut self, place: Place) -> Self {
        self.places.push(place);
        self
    }

    /// For an error in a whole call: names the argument.
    pub fn of_call(self) -> Self {
        let argument = match self.places.as_slice() {
            [.., Place::Item(place), Place::Item(2)] => format!("argument {}", place + 1),
            [.., Place::Key(name), Place::Item(3)] => format!("argument `{name}`"),
            _ => return self,
        };
        Self { reason: format!("{argument}: {}", self.reason), ..self }
    }
}

/// A name from a payload for a message: without control characters, at most one line.
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
