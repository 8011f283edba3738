//! Values as text for users.

use std::fmt;

use serde_json::Value;

use super::tags;
use super::value::Exact;

/// Shows a value as JSON if JSON can hold it, and in Python's notation otherwise.
pub struct Shown<'v>(pub &'v Value);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !tags::has_tags(self.0) {
            return write!(f, "{}", self.0);
        }
        match Exact::of(self.0) {
            Ok(exact) => exact.fmt(f),
            Err(deep) => write!(f, "({deep})"),
        }
    }
}

impl fmt::Display for Exact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("null"),
            Self::Bool(bool) => bool.fmt(f),
            Self::Int(int) => int.fmt(f),
            Self::Big(int) => int.fmt(f),
            Self::Float(float) if float.is_nan() => f.write_str("nan"),
            Self::Float(float) => write!(f, "{float:?}"),
            Self::Str(text) => quoted(text, f),
            Self::Bytes(bytes) => write!(f, "b\"{}\"", bytes.escape_ascii()),
            Self::ByteArray(bytes) => write!(f, "bytearray(b\"{}\")", bytes.escape_ascii()),
            Self::List(items) => row(f, "[", items, "]"),
            Self::Tuple(items) => row(f, "(", items, if items.len() == 1 { ",)" } else { ")" }),
            Self::Set(items) if items.is_empty() => f.write_str("set()"),
            Self::Set(items) => row(f, "{", items, "}"),
            Self::FrozenSet(items) => row(f, "frozenset({", items, "})"),
            Self::Dict(pairs) => dict(f, pairs),
            Self::DateTime(at) => at.fmt(f),
            Self::Date(day) => day.fmt(f),
            Self::Time(at) => at.fmt(f),
            Self::TimeDelta(span) => span.fmt(f),
            Self::TimeZone(offset) => offset.fmt(f),
            Self::Uuid(uuid) => uuid.fmt(f),
            Self::Decimal(digits) => f.write_str(digits),
        }
    }
}

/// Writes the text with JSON's quotes and escapes.
fn quoted(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let quoted = serde_json::to_string(text).map_err(|_| fmt::Error)?;
    f.write_str(&quoted)
}

fn row(f: &mut fmt::Formatter<'_>, open: &str, items: &[Exact], close: &str) -> fmt::Result {
    f.write_str(open)?;
    for (place, item) in items.iter().enumerate() {
        if place > 0 {
            f.write_str(",")?;
        }
        write!(f, "{item}")?;
    }
    f.write_str(close)
}

fn dict(f: &mut fmt::Formatter<'_>, pairs: &[(Exact, Exact)]) -> fmt::Result {
    f.write_str("{")?;
    for (place, (key, value)) in pairs.iter().enumerate() {
        if place > 0 {
            f.write_str(",")?;
        }
        write!(f, "{key}:{value}")?;
    }
    f.write_str("}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn tags_do_not_show() {
        let value = json!([
            { "$tuple": [1, "a"] }, { "$tuple": [null] }, { "$bytes": "AGE=" }, { "$set": [] }, { "$decimal": "1.10" },
            { "$dict": [[1, { "$float": "nan" }]] }, { "$datetime": "2026-01-02T03:04:05+00:00" },
        ]);
        assert_eq!(
            Shown(&value).to_string(),
            r#"[(1,"a"),(null,),b"\x00a",set(),1.10,{1:nan},2026-01-02T03:04:05+00:00]"#
        );
    }

    #[test]
    fn plain_values_show_as_json() {
        let plain = json!({ "a": [1, "x", null] });
        assert_eq!(Shown(&plain).to_string(), plain.to_string());
    }
}
