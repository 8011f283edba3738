//! The reserved keys, and values under them, read and written.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use num_bigint::BigInt;
use serde_json::{Map, Value};

use super::time_text;
use super::times::{Offset, Span};
use super::value::{Exact, TooDeep};

/// Most digits of an integer: beyond, Python itself refuses to turn it into text.
pub const MOST_DIGITS: usize = 4300;

/// Whether there is anything in a value that JSON alone would not say.
#[must_use]
pub fn has_tags(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().any(has_tags),
        Value::Object(map) => lone(map).is_some() || map.values().any(has_tags),
        _ => false,
    }
}

/// Whether a dictionary with these keys could be taken for a tag.
pub fn looks_tagged<'k>(mut keys: impl Iterator<Item = &'k str>) -> bool {
    matches!((keys.next(), keys.next()), (Some(key), None) if key.starts_with('$'))
}

/// The only key, when it is one that a tag could have, and its content.
pub fn lone(map: &Map<String, Value>) -> Option<(&str, &Value)> {
    if !looks_tagged(map.keys().map(String::as_str)) {
        return None;
    }
    map.iter().next().map(|(key, content)| (key.as_str(), content))
}

/// An object with one reserved key.
pub fn tagged(tag: &str, content: Value) -> Value {
    Value::Object(Map::from_iter([(tag.to_owned(), content)]))
}

/// What stands under a tag; none when the content does not fit it.
pub fn read(tag: &str, content: &Value, depth: usize) -> Result<Option<Exact>, TooDeep> {
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

/// The tagged form of what JSON cannot hold.
pub fn written(value: Exact) -> Value {
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
