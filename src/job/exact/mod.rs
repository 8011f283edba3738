//! Values that JSON cannot hold, written so that nothing is lost.
//!
//! Arguments and results are `serde_json` values. A Python caller passes more than JSON knows; what JSON
//! lacks is written as an object with one reserved key:
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
//! A datetime or time that is the second of two equal ones (Python's `fold`), and a time zone with a name
//! of its own, is written `["…", {"fold": true, "name": "IST"}]` instead of the bare text. One in a time zone of
//! zoneinfo, pytz or dateutil carries its offset in the text, and beside it under `zone` what that zone is made from.
//!
//! `$dict` is used for dictionaries whose keys are not all text, and for those with one key that begins
//! with `$`: so no dictionary of the caller is ever taken for a tag. An object that looks like a tag but
//! whose content does not fit it is a plain object.
//!
//! [`Args::read`](super::Args::read) gives typed fields their natural value, and a `serde_json::Value` the
//! tagged form as it stands; so does a field that serde has to buffer first (`flatten`, untagged enums).
//! [`Exact`] is the value itself, for a job that wants to look or to answer with more than JSON holds.

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
