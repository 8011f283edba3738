//! How each type of setting is read from text or TOML, and how it is shown.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use crate::job::Limit;

/// Whether a value may be printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Privacy {
    /// It may be printed.
    Open,
    /// It may be printed with its password masked.
    Url,
    /// It must not be printed.
    Secret,
}

/// Whether a text begins and ends with the same kind of quote.
pub(super) fn is_quoted(text: &str) -> bool {
    let text = text.trim();
    text.len() > 1 && ['"', '\''].into_iter().any(|quote| text.starts_with(quote) && text.ends_with(quote))
}

/// A type of setting.
pub(super) trait Value: Sized {
    /// Completes the sentence "expected …".
    const EXPECTED: &'static str;
    const PRIVACY: Privacy = Privacy::Open;

    /// Reads text from the environment or a flag.
    fn from_text(text: &str) -> Option<Self>;

    /// Reads a value from a file.
    fn from_toml(value: &toml::Value) -> Option<Self> {
        Self::from_text(value.as_str()?)
    }

    /// The value as `tikkun config` prints it.
    fn show(&self) -> String;

    /// A placeholder for a value that cannot be read, until the problem is reported.
    fn stand_in() -> Self;
}

impl Value for bool {
    const EXPECTED: &'static str = "`true` or `false` (or `1` or `0`)";

    fn from_text(text: &str) -> Option<Self> {
        match text.trim().to_ascii_lowercase().as_str() {
            "1" | "true" | "yes" | "on" => Some(true),
            "0" | "false" | "no" | "off" => Some(false),
            _ => None,
        }
    }

    fn from_toml(value: &toml::Value) -> Option<Self> {
        value.as_bool()
    }

    fn show(&self) -> String {
        self.to_string()
    }

    fn stand_in() -> Self {
        false
    }
}

macro_rules! whole_number {
    ($($type:ty),*) => {$(
        impl Value for $type {
            const EXPECTED: &'static str = "a whole number";

            fn from_text(text: &str) -> Option<Self> {
                text.trim().parse().ok()
            }

            fn from_toml(value: &toml::Value) -> Option<Self> {
                value.as_integer().and_then(|number| number.try_into().ok())
            }

            fn show(&self) -> String {
                self.to_string()
            }

            fn stand_in() -> Self {
                0
            }
        }
    )*};
}
whole_number!(u16, u32, u64, usize);

/// The longest duration, about 100 years. A longer one could overflow dates.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);

impl Value for Duration {
    const EXPECTED: &'static str = "a duration with its unit, such as `200ms`, `30s` or `5m`";

    fn from_text(text: &str) -> Option<Self> {
        humantime::parse_duration(text.trim()).ok().filter(|duration| *duration <= LONGEST)
    }

    fn show(&self) -> String {
        humantime::format_duration(*self).to_string()
    }

    fn stand_in() -> Self {
        Self::ZERO
    }
}

impl Value for Limit {
    const EXPECTED: &'static str =
        "`never` or a duration longer than zero with its unit, such as `30s` or `5m`";

    fn from_text(text: &str) -> Option<Self> {
        if text.trim().eq_ignore_ascii_case("never") {
            return Some(Self::Never);
        }
        Duration::from_text(text).filter(|duration| !duration.is_zero()).map(Self::After)
    }

    fn show(&self) -> String {
        self.duration().map_or_else(|| "never".to_owned(), |duration| duration.show())
    }

    fn stand_in() -> Self {
        Self::Never
    }
}

impl Value for IpAddr {
    const EXPECTED: &'static str = "an IP address, such as `127.0.0.1`, `0.0.0.0` or `::1`";

    fn from_text(text: &str) -> Option<Self> {
        text.trim().parse().ok()
    }

    fn show(&self) -> String {
        self.to_string()
    }

    fn stand_in() -> Self {
        Self::V4(Ipv4Addr::LOCALHOST)
    }
}

impl Value for String {
    const EXPECTED: &'static str = "text";

    fn from_text(text: &str) -> Option<Self> {
        Some(text.trim().to_owned())
    }

    fn show(&self) -> String {
        self.clone()
    }

    fn stand_in() -> Self {
        Self::new()
    }
}

/// Items are trimmed; empty ones are dropped.
impl Value for Vec<String> {
    const EXPECTED: &'static str =
        "a list of names without commas: `[\"a\", \"b\"]` in a file, `a,b` elsewhere";

    fn from_text(text: &str) -> Option<Self> {
        Some(text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect())
    }

    fn from_toml(value: &toml::Value) -> Option<Self> {
        let items = value.as_array()?.iter().map(toml::Value::as_str).collect::<Option<Vec<&str>>>()?;
        if items.iter().any(|item| item.contains(',')) {
            return None;
        }
        Self::from_text(&items.join(","))
    }

    fn show(&self) -> String {
        self.join(",")
    }

    fn stand_in() -> Self {
        Self::new()
    }
}

/// Texts by name: `a=x,b=y`, or a table.
impl Value for BTreeMap<String, String> {
    const EXPECTED: &'static str = "texts by name: `{ high = \"x\" }` in a file, `high=x,low=y` elsewhere";

    fn from_text(text: &str) -> Option<Self> {
        let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
        pairs
            .map(|pair| {
                let (name, text) = pair.split_once('=')?;
                Some((name.trim().to_owned(), text.trim().to_owned()))
            })
            .collect()
    }

    fn from_toml(value: &toml::Value) -> Option<Self> {
        let pairs = value.as_table()?.iter();
        pairs.map(|(name, text)| Some((name.trim().to_owned(), text.as_str()?.trim().to_owned()))).collect()
    }

    fn show(&self) -> String {
        self.iter().map(|(name, text)| format!("{name}={text}")).collect::<Vec<_>>().join(",")
    }

    fn stand_in() -> Self {
        Self::new()
    }
}

/// Numbers by name: `a=1,b=2`, or a table.
impl Value for BTreeMap<String, usize> {
    const EXPECTED: &'static str =
        "whole numbers by name: `{ high = 2 }` in a file, `high=2,low=1` elsewhere";

    fn from_text(text: &str) -> Option<Self> {
        let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
        pairs
            .map(|pair| {
                let (name, number) = pair.split_once('=')?;
                Some((name.trim().to_owned(), usize::from_text(number)?))
            })
            .collect()
    }

    fn from_toml(value: &toml::Value) -> Option<Self> {
        let pairs = value.as_table()?.iter();
        pairs.map(|(name, number)| Some((name.trim().to_owned(), usize::from_toml(number)?))).collect()
    }

    fn show(&self) -> String {
        self.iter().map(|(name, number)| format!("{name}={number}")).collect::<Vec<_>>().join(",")
    }

    fn stand_in() -> Self {
        Self::new()
    }
}

/// Implements [`Value`] for an enum of words, in any case. The first word of a variant is the one shown.
macro_rules! words {
    (
        $type:ident, $expected:literal, $stand_in:ident,
        { $($variant:ident: $name:literal $(| $other:literal)*),* $(,)? }
    ) => {
        impl $crate::config::value::Value for $type {
            const EXPECTED: &'static str = $expected;

            fn from_text(text: &str) -> Option<Self> {
                match text.trim().to_ascii_lowercase().as_str() {
                    $($name $(| $other)* => Some(Self::$variant),)*
                    _ => None,
                }
            }

            fn show(&self) -> String {
                self.to_string()
            }

            fn stand_in() -> Self {
                Self::$stand_in
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(match self { $(Self::$variant => $name,)* })
            }
        }
    };
}
pub(super) use words;
