//! [`Exact`]: a Python value, and its form as a `serde_json` value.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::NaiveDate;
use num_bigint::BigInt;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::digits::{MOST_DIGITS, is_decimal};
use super::tags::{lone, looks_tagged, tagged};
use super::time_text;
use super::times::{Clock, Moment, Offset, Span};

/// A value of Python's built-in types.
#[derive(Clone, Debug, PartialEq)]
pub enum Exact {
    /// `None`.
    None,
    /// `bool`.
    Bool(bool),
    /// `int` of 64 bits.
    Int(i64),
    /// `int` beyond 64 bits; [`Exact::int`] chooses.
    Big(BigInt),
    /// `float`.
    Float(f64),
    /// `str`.
    Str(String),
    /// `bytes`.
    Bytes(Vec<u8>),
    /// `bytearray`.
    ByteArray(Vec<u8>),
    /// `list`.
    List(Vec<Exact>),
    /// `tuple`.
    Tuple(Vec<Exact>),
    /// `set`.
    Set(Vec<Exact>),
    /// `frozenset`.
    FrozenSet(Vec<Exact>),
    /// `dict`, in its own order.
    Dict(Vec<(Exact, Exact)>),
    /// `datetime.datetime`.
    DateTime(Box<Moment>),
    /// `datetime.date`.
    Date(NaiveDate),
    /// `datetime.time`.
    Time(Box<Clock>),
    /// `datetime.timedelta`.
    TimeDelta(Span),
    /// `datetime.timezone`.
    TimeZone(Offset),
    /// `uuid.UUID`.
    Uuid(Uuid),
    /// `decimal.Decimal`, in its original spelling; [`Exact::decimal`] checks it.
    Decimal(String),
}

/// A value is nested too deeply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is nested more than {DEPTH} levels deep")]
pub struct TooDeep;

/// The deepest nesting; each level takes a few hundred bytes of stack.
pub const DEPTH: usize = 200;

impl Exact {
    /// An integer, in the right variant.
    #[must_use]
    pub fn int(int: BigInt) -> Self {
        i64::try_from(&int).map_or(Self::Big(int), Self::Int)
    }

    /// A decimal number such as `1.50`, `+1`, `.5`, `1E+5` or `NaN`; `None` if the text is no such number.
    #[must_use]
    pub fn decimal(text: &str) -> Option<Self> {
        is_decimal(text).then(|| Self::Decimal(text.to_owned()))
    }

    /// Reads a JSON value, tags included.
    ///
    /// # Errors
    /// When it is nested deeper than 200 levels.
    pub fn of(value: &Value) -> Result<Self, TooDeep> {
        Self::within(value, DEPTH)
    }

    /// Reads a JSON object as a dictionary, even if it looks like a tag.
    ///
    /// # Errors
    /// When it is nested deeper than 200 levels.
    pub fn of_object(map: &Map<String, Value>) -> Result<Self, TooDeep> {
        Self::object(map, DEPTH)
    }

    /// The JSON form.
    #[must_use]
    pub fn into_value(self) -> Value {
        match self {
            Self::None => Value::Null,
            Self::Bool(bool) => Value::Bool(bool),
            Self::Int(int) => int.into(),
            Self::Str(text) => Value::String(text),
            Self::List(items) => Value::Array(items.into_iter().map(Self::into_value).collect()),
            Self::Dict(pairs) if is_object(&pairs) => object(pairs),
            Self::Float(float) if float.is_finite() => float.into(),
            Self::Big(int) => match u64::try_from(&int) {
                Ok(int) => int.into(),
                Err(_) => written(Self::Big(int)),
            },
            beyond => written(beyond),
        }
    }

    /// Whether Python accepts it as a dictionary key.
    #[must_use]
    pub fn is_hashable(&self) -> bool {
        match self {
            Self::ByteArray(_) | Self::List(_) | Self::Set(_) | Self::Dict(_) => false,
            Self::Tuple(items) => items.iter().all(Self::is_hashable),
            _ => true,
        }
    }

    pub(super) fn within(value: &Value, depth: usize) -> Result<Self, TooDeep> {
        let below = depth.checked_sub(1).ok_or(TooDeep)?;
        Ok(match value {
            Value::Null => Self::None,
            Value::Bool(bool) => Self::Bool(*bool),
            Value::String(text) => Self::Str(text.clone()),
            Value::Number(number) => Self::number(number),
            Value::Array(items) => {
                Self::List(items.iter().map(|item| Self::within(item, below)).collect::<Result<_, _>>()?)
            }
            Value::Object(map) => match lone(map) {
                Some((tag, content)) => match read(tag, content, below)? {
                    Some(read) => read,
                    None => Self::object(map, depth)?,
                },
                None => Self::object(map, depth)?,
            },
        })
    }

    fn object(map: &Map<String, Value>, depth: usize) -> Result<Self, TooDeep> {
        let below = depth.checked_sub(1).ok_or(TooDeep)?;
        let pair =
            |(key, value): (&String, &Value)| Ok((Self::Str(key.clone()), Self::within(value, below)?));
        map.iter().map(pair).collect::<Result<_, _>>().map(Self::Dict)
    }

    fn number(number: &serde_json::Number) -> Self {
        match (number.as_i64(), number.as_u64()) {
            (Some(int), _) => Self::Int(int),
            (None, Some(int)) => Self::int(int.into()),
            (None, None) => Self::Float(number.as_f64().unwrap_or(f64::NAN)),
        }
    }
}

/// Whether these pairs can be written as a JSON object.
pub(super) fn is_object(pairs: &[(Exact, Exact)]) -> bool {
    let keys = pairs.iter().map(|(key, _)| match key {
        Exact::Str(key) => Some(key.as_str()),
        _ => None,
    });
    !looks_tagged(keys.clone().flatten()) && keys.clone().all(|key| key.is_some())
}

fn object(pairs: Vec<(Exact, Exact)>) -> Value {
    let text = |(key, value)| match key {
        Exact::Str(key) => Some((key, Exact::into_value(value))),
        _ => None,
    };
    Value::Object(pairs.into_iter().filter_map(text).collect())
}

/// Reads the content of a tag; `None` if it does not fit.
fn read(tag: &str, content: &Value, depth: usize) -> Result<Option<Exact>, TooDeep> {
    Ok(match tag {
        "$tuple" => items(content, depth)?.map(Exact::Tuple),
        "$set" => items(content, depth)?.filter(|all| hashable(all)).map(Exact::Set),
        "$frozenset" => items(content, depth)?.filter(|all| hashable(all)).map(Exact::FrozenSet),
        "$dict" => pairs(content, depth)?.map(Exact::Dict),
        _ => scalar(tag, content),
    })
}

fn scalar(tag: &str, content: &Value) -> Option<Exact> {
    match tag {
        "$datetime" => time_text::moment(content).map(|moment| Exact::DateTime(Box::new(moment))),
        "$time" => time_text::clock(content).map(|clock| Exact::Time(Box::new(clock))),
        "$timezone" => time_text::offset(content).map(Exact::TimeZone),
        "$timedelta" => span(content),
        _ => spelled(tag, content.as_str()?),
    }
}

fn spelled(tag: &str, text: &str) -> Option<Exact> {
    match tag {
        "$int" if text.len() <= MOST_DIGITS => text.parse::<BigInt>().ok().map(Exact::int),
        "$float" => match text {
            "nan" => Some(Exact::Float(f64::NAN)),
            "inf" => Some(Exact::Float(f64::INFINITY)),
            "-inf" => Some(Exact::Float(f64::NEG_INFINITY)),
            _ => None,
        },
        "$bytes" => STANDARD.decode(text).ok().map(Exact::Bytes),
        "$bytearray" => STANDARD.decode(text).ok().map(Exact::ByteArray),
        "$date" => time_text::day(text).map(Exact::Date),
        "$uuid" => text.parse().ok().map(Exact::Uuid),
        "$decimal" => Exact::decimal(text),
        _ => None,
    }
}

fn span(content: &Value) -> Option<Exact> {
    let parts: Vec<i64> = content.as_array()?.iter().map(Value::as_i64).collect::<Option<_>>()?;
    match parts.as_slice() {
        [days, seconds, micros] => Span::new(*days, *seconds, *micros).map(Exact::TimeDelta),
        _ => None,
    }
}

fn items(content: &Value, depth: usize) -> Result<Option<Vec<Exact>>, TooDeep> {
    let Value::Array(items) = content else { return Ok(None) };
    items.iter().map(|item| Exact::within(item, depth)).collect::<Result<_, _>>().map(Some)
}

fn pairs(content: &Value, depth: usize) -> Result<Option<Vec<(Exact, Exact)>>, TooDeep> {
    let Value::Array(pairs) = content else { return Ok(None) };
    let mut read = Vec::with_capacity(pairs.len());
    for pair in pairs {
        let Some([key, value]) = pair.as_array().map(Vec::as_slice) else { return Ok(None) };
        let key = Exact::within(key, depth)?;
        if !key.is_hashable() {
            return Ok(None);
        }
        read.push((key, Exact::within(value, depth)?));
    }
    Ok(Some(read))
}

fn hashable(all: &[Exact]) -> bool {
    all.iter().all(Exact::is_hashable)
}

/// The tagged form of a value that JSON cannot hold.
fn written(value: Exact) -> Value {
    let all = |items: Vec<Exact>| Value::Array(items.into_iter().map(Exact::into_value).collect());
    match value {
        Exact::Tuple(items) => tagged("$tuple", all(items)),
        Exact::Set(items) => tagged("$set", all(items)),
        Exact::FrozenSet(items) => tagged("$frozenset", all(items)),
        Exact::Dict(pairs) => {
            let pair =
                |(key, value): (Exact, Exact)| Value::Array(vec![key.into_value(), value.into_value()]);
            tagged("$dict", Value::Array(pairs.into_iter().map(pair).collect()))
        }
        Exact::Big(int) => tagged("$int", int.to_string().into()),
        Exact::Bytes(bytes) => tagged("$bytes", STANDARD.encode(bytes).into()),
        Exact::ByteArray(bytes) => tagged("$bytearray", STANDARD.encode(bytes).into()),
        Exact::DateTime(at) => {
            tagged("$datetime", time_text::written(at.to_string(), at.fold, at.offset.as_ref()))
        }
        Exact::Time(at) => tagged("$time", time_text::written(at.to_string(), at.fold, at.offset.as_ref())),
        Exact::Date(day) => tagged("$date", day.to_string().into()),
        Exact::TimeDelta(span) => tagged("$timedelta", span.parts().to_vec().into()),
        Exact::TimeZone(offset) => tagged("$timezone", zone(&offset)),
        Exact::Uuid(uuid) => tagged("$uuid", uuid.to_string().into()),
        Exact::Decimal(digits) => tagged("$decimal", digits.into()),
        Exact::Float(float) if float.is_nan() => tagged("$float", "nan".into()),
        Exact::Float(float) => tagged("$float", if float > 0.0 { "inf" } else { "-inf" }.into()),
        plain => plain.into_value(),
    }
}

fn zone(offset: &Offset) -> Value {
    time_text::written(offset.to_string(), false, Some(offset))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::exact::tags::has_tags;
    use serde_json::json;

    fn again(value: Value) -> Value {
        Exact::of(&value).unwrap().into_value()
    }

    #[test]
    fn every_tag_reads_back_as_written() {
        let all = json!([
            { "$int": "340282366920938463463374607431768211456" },
            { "$float": "inf" }, { "$float": "-inf" },
            { "$bytes": "AP8=" }, { "$bytearray": "" },
            { "$tuple": [1, { "$tuple": [] }] }, { "$set": [1, "a"] }, { "$frozenset": [] },
            { "$dict": [[1, "one"], [{ "$tuple": [1, 2] }, []]] },
            { "$dict": [["$int", "7"]] },
            { "$datetime": "2026-01-02T03:04:05.000006+00:00" },
            { "$datetime": ["2026-01-02T03:04:05", { "fold": true }] },
            { "$datetime": ["2026-06-02T03:04:05+03:00", { "zone": ["zoneinfo", "Asia/Jerusalem", true] }] },
            { "$datetime": ["2026-06-02T03:04:05+03:00", { "zone": ["pytz", "Asia/Jerusalem", 10_800, 3600, "IDT"] }] },
            { "$datetime": ["2026-06-02T03:04:05+01:00", { "zone": ["dateutil.offset", null, 3_600_000_000_i64] }] },
            { "$time": ["03:04:05+00:00", { "zone": ["pytz.utc"] }] },
            { "$date": "2026-01-02" }, { "$time": "03:04:05" },
            { "$timedelta": [-1, 86_399, 999_999] },
            { "$timezone": ["-05:00", { "name": "EST" }] },
            { "$uuid": "12345678-1234-5678-1234-567812345678" },
            { "$decimal": "1.10" }, { "$decimal": "-0E-7" }, { "$decimal": "sNaN12" },
        ]);
        for value in all.as_array().unwrap() {
            assert_eq!(&again(value.clone()), value);
            assert!(!matches!(Exact::of(value).unwrap(), Exact::Str(_)), "{value}");
        }
        let Exact::Float(nan) = Exact::of(&json!({ "$float": "nan" })).unwrap() else { panic!() };
        assert!(nan.is_nan());
    }

    #[test]
    fn plain_values_stay_as_they_are() {
        let plain =
            json!({ "z": [1, -1, u64::MAX, 1.0, -0.0, "ק", null, true, {}], "a": { "$x": 1, "y": 2 } });
        assert_eq!(again(plain.clone()).to_string(), plain.to_string(), "the order of keys included");
        assert!(!has_tags(&plain));
    }

    #[test]
    fn content_that_does_not_fit_its_tag_leaves_a_plain_object() {
        for odd in [
            json!({ "$int": 5 }),
            json!({ "$int": "five" }),
            json!({ "$datetime": "yesterday" }),
            json!({ "$dict": [[1]] }),
            json!({ "$dict": [[[1], 2]] }),
            json!({ "$set": [[1]] }),
            json!({ "$decimal": "1,5" }),
            json!({ "$bytes": "?" }),
            json!({ "$unknown": 1 }),
            json!({ "$timedelta": [0, 86_400, 0] }),
        ] {
            assert!(matches!(Exact::of(&odd).unwrap(), Exact::Dict(_)), "{odd}");
            assert_eq!(again(again(odd.clone())), again(odd));
        }
    }

    #[test]
    fn a_callers_dictionary_is_never_taken_for_a_tag() {
        let dict = Exact::Dict(vec![(Exact::Str("$uuid".into()), Exact::Str(Uuid::nil().to_string()))]);
        let value = dict.clone().into_value();
        assert!(value.get("$dict").is_some());
        assert_eq!(Exact::of(&value).unwrap(), dict);
        let mixed = Exact::Dict(vec![(Exact::Int(1), Exact::None), (Exact::Str("$x".into()), Exact::None)]);
        assert_eq!(Exact::of(&mixed.clone().into_value()).unwrap(), mixed);
    }

    #[test]
    fn too_deep_is_said_not_walked() {
        let mut deep = json!(1);
        for _ in 0..DEPTH {
            deep = json!([deep]);
        }
        assert_eq!(Exact::of(&deep), Err(TooDeep));
    }
}
