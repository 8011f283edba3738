//! Why something cannot be read.

use std::fmt::Display;

/// A sentence for people. It names what is wrong and where, never the payload itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Refusal {
    reason: String,
    /// Where in the value it is, the innermost first.
    places: Vec<Place>,
}

/// A step on the way down into a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// By number, from 0.
    Item(usize),
    /// By a key that is text, fit for a message.
    Key(String),
    /// By any other key.
    Other,
}

/// Longest name that a message repeats.
const NAME_CHARS: usize = 120;

impl Refusal {
    /// Says it.
    pub fn new(reason: impl Display) -> Self {
        Self { reason: reason.to_string(), places: Vec::new() }
    }

    /// The same, met on the way down through `place`.
    pub fn at(mut self, place: Place) -> Self {
        self.places.push(place);
        self
    }

    /// Says for the value of a whole call which argument it is.
    pub fn of_call(self) -> Self {
        let argument = match self.places.as_slice() {
            [.., Place::Item(place), Place::Item(2)] => format!("argument {}", place + 1),
            [.., Place::Key(name), Place::Item(3)] => format!("argument `{name}`"),
            _ => return self,
        };
        Self { reason: format!("{argument}: {}", self.reason), ..self }
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
