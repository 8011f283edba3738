//! Converts exact values to typed ones: each field gets the natural form for its type.

use serde::de::value::{MapAccessDeserializer, MapDeserializer, SeqDeserializer};
use serde::de::{DeserializeOwned, Deserializer, Error as _, IntoDeserializer, Unexpected, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::{Error, Value};

use super::answered::answered;
use super::key::Key;
use super::tags;
use super::value::Exact;

/// Reads a typed value; the outermost object holds the named arguments and is never a tag.
///
/// # Errors
/// The error of `serde_json`: the type that was found and the one that was expected.
pub fn read<T: DeserializeOwned>(arguments: Value) -> Result<T, Error> {
    let tagged = match &arguments {
        Value::Object(map) => map.values().any(tags::has_tags),
        other => tags::has_tags(other),
    };
    if !tagged {
        return serde_json::from_value(arguments);
    }
    let exact = match &arguments {
        Value::Object(map) => Exact::of_object(map),
        other => Exact::of(other),
    };
    T::deserialize(Natural(exact.map_err(Error::custom)?))
}

/// A deserializer that follows the type hint of its visitor.
struct Natural(Exact);

impl IntoDeserializer<'_, Error> for Natural {
    type Deserializer = Self;
    fn into_deserializer(self) -> Self {
        self
    }
}

impl Natural {
    fn whole<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Exact::Big(int) => match (u64::try_from(&int), i128::try_from(&int), u128::try_from(&int)) {
                (Ok(int), ..) => visitor.visit_u64(int),
                (_, Ok(int), _) => visitor.visit_i128(int),
                (_, _, Ok(int)) => visitor.visit_u128(int),
                _ => Err(Error::custom("an integer of more than 128 bits")),
            },
            Exact::Decimal(digits) => match digits.parse() {
                Ok(int) => Self(Exact::int(int)).whole(visitor),
                Err(_) => visitor.visit_string(digits),
            },
            other => Self(other).deserialize_any(visitor),
        }
    }

    fn real<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let text = match &self.0 {
            Exact::Float(float) => return visitor.visit_f64(*float),
            Exact::TimeDelta(span) => return visitor.visit_f64(span.total_seconds()),
            Exact::Big(int) => int.to_string(),
            Exact::Decimal(digits) => digits.clone(),
            _ => return self.deserialize_any(visitor),
        };
        match text.parse() {
            Ok(float) => visitor.visit_f64(float),
            Err(_) => Err(Error::invalid_type(Unexpected::Str(&text), &visitor)),
        }
    }

    fn text<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Exact::Bytes(bytes) | Exact::ByteArray(bytes) => match String::from_utf8(bytes) {
                Ok(text) => visitor.visit_string(text),
                Err(error) => Err(Error::invalid_value(Unexpected::Bytes(error.as_bytes()), &visitor)),
            },
            scalar @ (Exact::Big(_)
            | Exact::DateTime(_)
            | Exact::Date(_)
            | Exact::Time(_)
            | Exact::TimeDelta(_)
            | Exact::TimeZone(_)
            | Exact::Uuid(_)
            | Exact::Decimal(_)) => visitor.visit_string(scalar.to_string()),
            other => Self(other).deserialize_any(visitor),
        }
    }

    fn bytes<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Exact::Bytes(bytes) | Exact::ByteArray(bytes) => visitor.visit_byte_buf(bytes),
            other => Self(other).deserialize_any(visitor),
        }
    }

    fn row<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Exact::List(items) | Exact::Tuple(items) | Exact::Set(items) | Exact::FrozenSet(items) => {
                sequence(items.into_iter().map(Natural), visitor)
            }
            Exact::Bytes(bytes) | Exact::ByteArray(bytes) => sequence(bytes.into_iter(), visitor),
            Exact::TimeDelta(span) => sequence(span.parts().into_iter(), visitor),
            other => Self(other).deserialize_any(visitor),
        }
    }

    fn map<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Exact::Dict(pairs) if pairs.iter().all(|(key, _)| matches!(key, Exact::Str(_))) => {
                named(pairs, visitor)
            }
            Exact::Dict(pairs) => {
                let mut entries = MapDeserializer::new(
                    pairs.into_iter().map(|(key, value)| (Natural(key), Natural(value))),
                );
                let read = visitor.visit_map(&mut entries)?;
                entries.end().map(|()| read)
            }
            tuple @ Exact::Tuple(_) => Self(tuple).row(visitor),
            other => Self(other).deserialize_any(visitor),
        }
    }
}

fn sequence<'de, T, I, V>(items: I, visitor: V) -> Result<V::Value, Error>
where
    I: Iterator<Item = T>,
    T: IntoDeserializer<'de, Error>,
    V: Visitor<'de>,
{
    let mut items = SeqDeserializer::new(items);
    let read = visitor.visit_seq(&mut items)?;
    items.end().map(|()| read)
}

/// The pairs with text keys, for a map deserializer.
fn entries(pairs: Vec<(Exact, Exact)>) -> impl Iterator<Item = (Key, Natural)> {
    pairs.into_iter().filter_map(|(key, value)| match key {
        Exact::Str(key) => Some((Key(key), Natural(value))),
        _ => None,
    })
}

fn named<'de, V: Visitor<'de>>(pairs: Vec<(Exact, Exact)>, visitor: V) -> Result<V::Value, Error> {
    let mut entries = MapDeserializer::new(entries(pairs));
    let read = visitor.visit_map(&mut entries)?;
    entries.end().map(|()| read)
}

impl<'de> Deserializer<'de> for Natural {
    type Error = Error;

    answered! { deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128 => whole }
    answered! { deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128 => whole }
    answered! { deserialize_f32 deserialize_f64 => real }
    answered! { deserialize_str deserialize_string deserialize_char deserialize_identifier => text }
    answered! { deserialize_bytes deserialize_byte_buf => bytes }
    answered! { deserialize_seq => row }
    answered! { deserialize_map => map }

    forward_to_deserialize_any! { bool unit unit_struct }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Exact::None => visitor.visit_unit(),
            Exact::Bool(bool) => visitor.visit_bool(bool),
            Exact::Int(int) => match u64::try_from(int) {
                Ok(int) => visitor.visit_u64(int),
                Err(_) => visitor.visit_i64(int),
            },
            Exact::Float(float) if float.is_finite() => visitor.visit_f64(float),
            Exact::Str(text) => visitor.visit_string(text),
            Exact::List(items) => sequence(items.into_iter().map(Natural), visitor),
            Exact::Dict(pairs) if super::value::is_object(&pairs) => named(pairs, visitor),
            beyond => beyond.into_value().deserialize_any(visitor),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Exact::None => visitor.visit_none(),
            some => visitor.visit_some(Self(some)),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        self.row(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.row(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.0 {
            Exact::Dict(pairs) if pairs.len() == 1 => {
                MapAccessDeserializer::new(MapDeserializer::new(entries(pairs)))
                    .deserialize_enum(name, variants, visitor)
            }
            Exact::Str(variant) => IntoDeserializer::<Error>::into_deserializer(variant)
                .deserialize_enum(name, variants, visitor),
            other => Self(other).deserialize_any(visitor),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
    use serde::Deserialize;
    use serde_json::json;
    use std::collections::{BTreeMap, HashMap, HashSet};
    use uuid::Uuid;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Everything {
        big: i128,
        huge: u128,
        digits: String,
        real: f64,
        ratio: f64,
        pair: (i64, String),
        list: Vec<u32>,
        set: HashSet<String>,
        bytes: Vec<u8>,
        latin: String,
        at: DateTime<Utc>,
        naive: NaiveDateTime,
        day: NaiveDate,
        id: Uuid,
        price: String,
        whole: i64,
        wait: f64,
        table: BTreeMap<i64, NaiveDate>,
        names: HashMap<u8, Option<i128>>,
        kept: Value,
        choice: Choice,
        inner: Option<Inner>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Inner {
        day: NaiveDate,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    enum Choice {
        On(NaiveDate),
        Never,
    }

    fn everything() -> Value {
        json!({
            "big": { "$int": "-170141183460469231731687303715884105728" },
            "huge": { "$int": "340282366920938463463374607431768211455" },
            "digits": { "$int": "99999999999999999999" },
            "real": { "$float": "inf" },
            "ratio": { "$decimal": "0.5" },
            "pair": { "$tuple": [1, "a"] },
            "list": { "$tuple": [1, 2] },
            "set": { "$frozenset": ["x"] },
            "bytes": { "$bytes": "AP8=" },
            "latin": { "$bytes": "aGk=" },
            "at": { "$datetime": "2026-01-02T03:04:05.000006+02:00" },
            "naive": { "$datetime": "2026-01-02T03:04:05.000006" },
            "day": { "$date": "2026-01-02" },
            "id": { "$uuid": "12345678-1234-5678-1234-567812345678" },
            "price": { "$decimal": "1.10" },
            "whole": { "$decimal": "12" },
            "wait": { "$timedelta": [0, 90, 500_000] },
            "table": { "$dict": [[1, { "$date": "2026-01-02" }]] },
            "names": { "7": { "$int": "99999999999999999999" }, "8": null },
            "kept": { "$tuple": [{ "$uuid": "12345678-1234-5678-1234-567812345678" }] },
            "choice": { "On": { "$date": "2026-01-02" } },
            "inner": { "$dict": [["day", { "$date": "2026-01-02" }]] },
        })
    }

    #[test]
    fn typed_fields_get_the_natural_value() {
        let read: Everything = read(everything()).unwrap();
        let day = NaiveDate::from_ymd_opt(2026, 1, 2).unwrap();
        let naive = day.and_hms_micro_opt(3, 4, 5, 6).unwrap();
        assert_eq!((read.big, read.huge), (i128::MIN, u128::MAX));
        assert_eq!(read.digits, "99999999999999999999");
        assert_eq!((read.real, read.ratio, read.wait), (f64::INFINITY, 0.5, 90.5));
        assert_eq!((read.pair, read.list), ((1, "a".into()), vec![1, 2]));
        assert_eq!((read.bytes, read.latin), (vec![0, 255], "hi".into()));
        assert_eq!((read.at.to_rfc3339().as_str(), read.naive), ("2026-01-02T01:04:05.000006+00:00", naive));
        assert_eq!((read.day, read.id), (day, "12345678-1234-5678-1234-567812345678".parse().unwrap()));
        assert_eq!((read.price, read.whole), ("1.10".into(), 12));
        assert_eq!(read.table, BTreeMap::from([(1, day)]));
        assert_eq!(read.names, HashMap::from([(7, Some(99_999_999_999_999_999_999)), (8, None)]));
        assert_eq!(read.set, HashSet::from(["x".to_owned()]));
        assert_eq!(read.kept, everything()["kept"], "a value keeps the tags");
        assert_eq!((read.choice, read.inner), (Choice::On(day), Some(Inner { day })));
    }

    #[test]
    fn the_outermost_object_is_never_a_tag() {
        #[derive(Debug, PartialEq, Deserialize)]
        struct Odd {
            #[serde(rename = "$date")]
            date: NaiveDate,
        }
        let day = NaiveDate::from_ymd_opt(2026, 1, 2).unwrap();
        assert_eq!(read::<Odd>(json!({ "$date": { "$date": "2026-01-02" } })).unwrap(), Odd { date: day });
        assert_eq!(read::<HashMap<String, i64>>(json!({ "$int": 5 })).unwrap()["$int"], 5);
    }

    #[test]
    fn a_value_that_does_not_fit_says_what_it_is() {
        let told = |result: Result<i64, Error>| result.unwrap_err().to_string();
        assert!(
            told(read::<(i64,)>(json!([{ "$int": "99999999999999999999" }])).map(|one| one.0))
                .contains("i64")
        );
        assert!(told(read::<Vec<i64>>(json!([{ "$decimal": "1.5" }])).map(|_| 0)).contains("1.5"));
        let far = json!([{ "$int": format!("1{}", "0".repeat(60)) }]);
        assert!(read::<(i128,)>(far).unwrap_err().to_string().contains("128 bits"));
    }
}
