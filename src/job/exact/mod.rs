//! Values that JSON cannot hold, written without loss.
//!
//! Arguments and results are `serde_json` values. Python callers also pass values that JSON lacks; such a
//! value is written as an object with one reserved key:
//!
//! | tag | content | what a typed field reads |
//! |---|---|---|
//! | `$int` | digits, for integers beyond 64 bits | any integer type that it fits, `f64`, `String` |
//! | `$float` | `nan`, `inf`, `-inf` | `f64` |
//! | `$bytes`, `$bytearray` | base64 | `Vec<u8>`, byte buffers, `String` when it is UTF-8 |
//! | `$tuple`, `$set`, `$frozenset` | an array | `Vec`, a tuple, a set |
//! | `$dict` | an array of `[key, value]` | a map; a struct when the keys are text |
//! | `$datetime` | `2026-01-02T03:04:05.000006+00:00`, without offset when naive | `DateTime`, `NaiveDateTime`, `String` |
//! | `$date`, `$time` | `2026-01-02`, `03:04:05.000006` | `NaiveDate`, `NaiveTime`, `String` |
//! | `$timedelta` | `[days, seconds, microseconds]` | `f64` seconds, a tuple of three |
//! | `$timezone` | `+02:00` | `String` |
//! | `$uuid` | the hyphenated form | `Uuid`, `String` |
//! | `$decimal` | the digits as given | `String`, `f64`, an integer type when it is whole |
//!
//! A datetime or time that is the second of two equal ones (Python's `fold`), and a time zone with its own
//! name, is written as `["…", {"fold": true, "name": "IST"}]` instead of the plain text. With a time zone of
//! zoneinfo, pytz or dateutil, the text has the offset, and the key `zone` describes the time zone.
//!
//! `$dict` is used for dictionaries with keys that are not text, and for those with a single key that begins
//! with `$`, so that no dictionary of a caller is taken for a tag. An object that looks like a tag but has
//! unsuitable content is a plain object.
//!
//! [`Args::read`](super::Args::read) gives typed fields their natural value. A `serde_json::Value`, and a
//! field that serde buffers first (`flatten`, untagged enums), gets the tagged form. [`Exact`] is the value
//! itself, for a job that needs more than JSON holds.

mod answered;
mod digits;
mod key;
mod natural;
mod shown;
mod tags;
mod time_text;
mod times;
mod value;
mod zone;

pub use natural::read;
pub use shown::Shown;
pub use tags::has_tags;
pub use times::{Clock, Moment, Offset, Span};
pub use value::{Exact, TooDeep};
pub use zone::Zone;
