//! The results of jobs: return values, tracebacks, and `meta`.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::fields::write_intervals;
use super::limits::Limits;
use super::pickle;
use super::refusal::{Refusal, shown};
use super::serializer::Serializer;
use super::zlib;
use crate::job::RetryAsked;
use crate::job::exact::Exact;

/// RQ's own text for a value that cannot be serialized.
const UNSERIALIZABLE: &str = "Unserializable return value";

/// The `return_value` of a result entry; `None` for null: the field is left out.
#[must_use]
pub fn encode_result(value: &Value, serializer: Serializer) -> Option<String> {
    if value.is_null() {
        return None;
    }
    let exact = Exact::of(value).unwrap_or_else(|_| Exact::Str(UNSERIALIZABLE.to_owned()));
    Some(STANDARD.encode(serializer.write(&exact)))
}

/// The `return_value` of a result entry, of what is serialized already.
#[must_use]
pub fn encode_payload(payload: &[u8]) -> String {
    STANDARD.encode(payload)
}

/// The `return_value` of a result entry for a job that returned RQ's `Retry`: that object as a pickle, and for the JSON
/// serializer what RQ makes of an object there, its text.
#[must_use]
pub fn encode_retry(asked: &RetryAsked, serializer: Serializer) -> String {
    let seconds: Vec<_> = asked.intervals.iter().map(Duration::as_secs).collect();
    STANDARD.encode(match serializer {
        Serializer::Pickle => {
            let interval = |seconds: u64| Exact::int(i128::from(seconds).into());
            let intervals = if seconds.is_empty() { vec![0] } else { seconds };
            let fields = [
                ("max", interval(asked.max.into())),
                ("intervals", Exact::List(intervals.into_iter().map(interval).collect())),
                ("enqueue_at_front", Exact::Bool(asked.at_front)),
            ];
            let fields = fields.map(|(name, value)| (Exact::Str(name.to_owned()), value));
            pickle::write_object(("rq.job", "Retry"), Exact::Dict(fields.into()))
        }
        Serializer::Json => {
            let interval = match &*seconds {
                [] => "0".to_owned(),
                [one] => one.to_string(),
                _ => write_intervals(&asked.intervals),
            };
            let front = if asked.at_front { "True" } else { "False" };
            let text = format!("Retry(max={}, interval={interval}, enqueue_at_front={front})", asked.max);
            serializer.write(&Exact::Str(text))
        }
    })
}

/// A `return_value`, read.
///
/// # Errors
/// When it is too long, no base64, or contains anything but plain values.
pub fn decode_result(text: &str, limits: &Limits) -> Result<Value, Refusal> {
    let payload = unbase64(text, limits)?;
    // A JSON result may be a plain number or text: everything that is no pickle.
    let serializer = Serializer::detect(&payload).unwrap_or(Serializer::Json);
    serializer.read(&payload, limits).map(Exact::into_value)
}

/// The `exc_string` of a result entry.
#[must_use]
pub fn encode_exc(text: &str) -> String {
    STANDARD.encode(zlib::compress(text.as_bytes()))
}

/// Decodes an `exc_string`; invalid UTF-8 is replaced.
///
/// # Errors
/// When it is too long, no base64, or a broken stream.
pub fn decode_exc(text: &str, limits: &Limits) -> Result<String, Refusal> {
    let stored = unbase64(text, limits)?;
    Ok(String::from_utf8_lossy(&zlib::expand(&stored, limits.plain)?).into_owned())
}

/// The `meta` of a job's hash, not compressed.
///
/// # Errors
/// When it is nested too deeply.
pub fn encode_meta(meta: &Map<String, Value>, serializer: Serializer) -> Result<Vec<u8>, Refusal> {
    Exact::of_object(meta).map(|exact| serializer.write(&exact)).map_err(Refusal::new)
}

/// Decodes a job's `meta`, and returns its serializer. If it cannot be decoded, it must stay in Redis as it
/// is.
///
/// # Errors
/// When it is too long, in an unknown form, or no dictionary with text keys.
pub fn decode_meta(stored: &[u8], limits: &Limits) -> Result<(Map<String, Value>, Serializer), Refusal> {
    if stored.len() > limits.plain {
        return Err(Refusal::new(format!("the meta is longer than {} bytes", limits.plain)));
    }
    let unknown = || Refusal::new("the meta is neither a pickle nor JSON");
    let serializer = Serializer::detect(stored).ok_or_else(unknown)?;
    let Exact::Dict(pairs) = serializer.read(stored, limits)? else {
        return Err(Refusal::new("the meta is no dictionary"));
    };
    let text = |(key, value): (Exact, Exact)| match key {
        Exact::Str(key) => Ok((key, value.into_value())),
        other => {
            Err(Refusal::new(format!("the meta has a key that is no text: {}", shown(&other.to_string()))))
        }
    };
    Ok((pairs.into_iter().map(text).collect::<Result<_, _>>()?, serializer))
}

fn unbase64(text: &str, limits: &Limits) -> Result<Vec<u8>, Refusal> {
    if text.len() > limits.plain {
        return Err(Refusal::new(format!("it is longer than {} bytes", limits.plain)));
    }
    STANDARD.decode(text).map_err(|error| Refusal::new(format!("it is no base64: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn results_are_those_of_the_specification() {
        assert_eq!(encode_result(&json!(27), Serializer::Pickle).as_deref(), Some("gARLGy4="));
        assert_eq!(encode_result(&Value::Null, Serializer::Pickle), None);
        for (text, value) in [
            ("gAVLGy4=", json!(27)),
            ("gARLGy4=", json!(27)),
            ("gAWVBgAAAAAAAABKQv8CAC4=", json!(196_418)),
            ("gAWVFQAAAAAAAAB9lCiMAWGUSwGMAWKUXZQoiE5ldS4=", json!({ "a": 1, "b": [true, null] })),
        ] {
            assert_eq!(decode_result(text, &Limits::default()).unwrap(), value);
        }
    }

    #[test]
    fn results_read_back_as_written_in_either_form() {
        let value = json!({ "a": [1, 2.5, "ק"], "n": { "$int": "99999999999999999999" } });
        for serializer in [Serializer::Pickle, Serializer::Json] {
            let text = encode_result(&value, serializer).unwrap();
            assert_eq!(decode_result(&text, &Limits::default()).unwrap(), value);
            let number = encode_result(&json!(5), serializer).unwrap();
            assert_eq!(decode_result(&number, &Limits::default()).unwrap(), json!(5));
        }
        assert!(decode_result("!", &Limits::default()).unwrap_err().to_string().contains("base64"));
    }

    #[test]
    fn a_retry_is_the_object_that_rq_pickles_or_its_text() {
        let asked = RetryAsked::at_most(3).after([10, 60].map(Duration::from_secs));
        let pickle = STANDARD.decode(encode_retry(&asked, Serializer::Pickle)).unwrap();
        assert_eq!(
            pickle.escape_ascii().to_string(),
            r"\x80\x04\x8c\x06rq.job\x8c\x05Retry\x93)\x81}(\x8c\x03maxK\x03\x8c\tintervals](K\nK<e\x8c\x10enqueue_at_front\x89ub."
        );
        let json = STANDARD.decode(encode_retry(&asked.at_front(), Serializer::Json)).unwrap();
        assert_eq!(
            String::from_utf8(json).unwrap(),
            r#""Retry(max=3, interval=[10, 60], enqueue_at_front=True)""#
        );
    }

    #[test]
    fn a_result_that_is_too_deep_is_replaced_as_rq_does() {
        let mut deep = json!(1);
        for _ in 0..300 {
            deep = json!([deep]);
        }
        let text = encode_result(&deep, Serializer::Json).unwrap();
        assert_eq!(decode_result(&text, &Limits::default()).unwrap(), json!(UNSERIALIZABLE));
    }

    #[test]
    fn tracebacks_read_back_as_written() {
        let text = "Traceback (most recent call last):\nValueError: ק";
        assert_eq!(decode_exc(&encode_exc(text), &Limits::default()).unwrap(), text);
        assert_eq!(decode_exc("", &Limits::default()).unwrap(), "");
        assert!(decode_exc("eJw=", &Limits::default()).is_err());
    }

    #[test]
    fn meta_keeps_its_serializer() {
        let Value::Object(meta) = json!({ "who": "me", "$x": 1 }) else { panic!("an object") };
        for serializer in [Serializer::Pickle, Serializer::Json] {
            let stored = encode_meta(&meta, serializer).unwrap();
            assert_eq!(decode_meta(&stored, &Limits::default()).unwrap(), (meta.clone(), serializer));
        }
        assert!(decode_meta(b"", &Limits::default()).unwrap_err().to_string().contains("neither"));
        let numbers = Serializer::Pickle.write(&Exact::Dict(vec![(Exact::Int(1), Exact::None)]));
        assert!(decode_meta(&numbers, &Limits::default()).unwrap_err().to_string().contains("no text: 1"));
    }
}
