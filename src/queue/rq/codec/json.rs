//! RQ's JSON: as Python's `json` reads and writes it, including integers of any size and `NaN`.

use jiter::{Jiter, JiterError, Peek};

use super::limits::{Budget, Limits, Weight};
use super::refusal::Refusal;
use crate::job::exact::Exact;

/// Decodes a whole payload.
pub fn read(payload: &[u8], limits: &Limits) -> Result<Exact, Refusal> {
    let mut reader = Reader { input: Jiter::new(payload).with_allow_inf_nan(), budget: Budget::new(limits) };
    let first = reader.input.peek().map_err(|error| reader.refusal(&error))?;
    let value = reader.value(first, limits.depth)?;
    reader.input.finish().map_err(|error| reader.refusal(&error))?;
    Ok(value)
}

struct Reader<'j> {
    input: Jiter<'j>,
    budget: Budget,
}

impl Reader<'_> {
    fn value(&mut self, peek: Peek, depth: usize) -> Result<Exact, Refusal> {
        let below = self.budget.below(depth)?;
        match peek {
            Peek::Array => self.list(below),
            Peek::Object => self.dict(below),
            Peek::String => {
                let text = self.input.known_str().map(ToOwned::to_owned);
                let text = text.map_err(|error| self.refusal(&error))?;
                self.budget.value(Weight::Plain, text.len())?;
                Ok(Exact::Str(text))
            }
            scalar => self.scalar(scalar),
        }
    }

    fn scalar(&mut self, peek: Peek) -> Result<Exact, Refusal> {
        let read = match peek {
            Peek::Null => self.input.known_null().map(|()| Some(Exact::None)),
            Peek::True | Peek::False => self.input.known_bool(peek).map(|bool| Some(Exact::Bool(bool))),
            first => self.input.known_number_bytes(first).map(number),
        };
        let value = read.map_err(|error| self.refusal(&error))?;
        let value = value.ok_or_else(|| Refusal::new("it is not JSON: a number cannot be read"))?;
        let (weight, text) = match &value {
            Exact::Big(int) => (Weight::Tagged, usize::try_from(int.bits()).unwrap_or(usize::MAX)),
            Exact::Float(float) if !float.is_finite() => (Weight::Tagged, 0),
            _ => (Weight::Plain, 0),
        };
        self.budget.value(weight, text)?;
        Ok(value)
    }

    fn list(&mut self, depth: usize) -> Result<Exact, Refusal> {
        self.budget.value(Weight::Plain, 0)?;
        let mut items = Vec::new();
        let mut next = self.input.known_array();
        while let Some(peek) = next.map_err(|error| self.refusal(&error))? {
            items.push(self.value(peek, depth)?);
            next = self.input.array_step();
        }
        Ok(Exact::List(items))
    }

    fn dict(&mut self, depth: usize) -> Result<Exact, Refusal> {
        self.budget.value(Weight::Tagged, 0)?;
        let mut pairs = Vec::new();
        let mut next = self.input.known_object().map(|key| key.map(ToOwned::to_owned));
        while let Some(key) = next.map_err(|error| self.refusal(&error))? {
            self.budget.value(Weight::Entry, key.len())?;
            let peek = self.input.peek().map_err(|error| self.refusal(&error))?;
            pairs.push((Exact::Str(key), self.value(peek, depth)?));
            next = self.input.next_key().map(|key| key.map(ToOwned::to_owned));
        }
        Ok(Exact::Dict(pairs))
    }

    fn refusal(&self, error: &JiterError) -> Refusal {
        Refusal::new(format!("it is not JSON: {}", error.description(&self.input)))
    }
}

/// The value of a number's text.
fn number(text: &[u8]) -> Option<Exact> {
    let text = str::from_utf8(text).ok()?;
    let small = || text.parse().ok().map(Exact::Int);
    let big = || text.parse().ok().map(Exact::int);
    let float = || text.parse().ok().map(Exact::Float);
    small().or_else(big).or_else(float)
}

/// Writes a value as `json.dumps` does. Values that JSON lacks are written in readable form: a tuple or set
/// as an array, a datetime, UUID, decimal or bytes as text; a key as its text.
pub fn write(value: &Exact) -> String {
    let mut text = String::new();
    put(value, &mut text);
    text
}

fn put(value: &Exact, to: &mut String) {
    match value {
        Exact::List(items) | Exact::Tuple(items) | Exact::Set(items) | Exact::FrozenSet(items) => {
            to.push('[');
            for (place, item) in items.iter().enumerate() {
                to.push_str(if place > 0 { ", " } else { "" });
                put(item, to);
            }
            to.push(']');
        }
        Exact::Dict(pairs) => {
            to.push('{');
            for (place, (key, value)) in pairs.iter().enumerate() {
                to.push_str(if place > 0 { ", " } else { "" });
                quoted(&text(key), to);
                to.push_str(": ");
                put(value, to);
            }
            to.push('}');
        }
        Exact::Float(float) if float.is_nan() => to.push_str("NaN"),
        Exact::Float(float) if float.is_infinite() => {
            to.push_str(if *float > 0.0 { "Infinity" } else { "-Infinity" });
        }
        Exact::None | Exact::Bool(_) | Exact::Int(_) | Exact::Big(_) | Exact::Float(_) => {
            to.push_str(&value.to_string());
        }
        beyond => quoted(&text(beyond), to),
    }
}

/// The text of a value, as a key or in place of the value.
fn text(value: &Exact) -> String {
    match value {
        Exact::Str(text) => text.clone(),
        Exact::Bytes(bytes) | Exact::ByteArray(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        other => other.to_string(),
    }
}

/// Writes ASCII only, as Python does by default.
fn quoted(text: &str, to: &mut String) {
    to.push('"');
    for char in text.chars() {
        match char {
            '"' => to.push_str("\\\""),
            '\\' => to.push_str("\\\\"),
            '\n' => to.push_str("\\n"),
            ' '..='~' => to.push(char),
            other => {
                for unit in other.encode_utf16(&mut [0; 2]) {
                    to.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
    to.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Exact, Refusal> {
        super::read(text.as_bytes(), &Limits::default())
    }

    #[test]
    fn what_python_writes_comes_back_the_same() {
        for text in [
            r#"["pkg.mod.func", null, [1, "two"], {"k": [1, null, true], "b": false}]"#,
            "[123456789012345678901234567890, -123456789012345678901234567890, 1.5, 1.0, -0.0]",
            r#"["\u05e7\n\"\\\u0001\ud83d\ude00", NaN, Infinity, -Infinity]"#,
            r#"{"$uuid": "x"}"#,
        ] {
            assert_eq!(write(&read(text).unwrap()), text);
        }
    }

    #[test]
    fn numbers_are_those_of_python() {
        let most = i64::MAX.to_string();
        for (text, expected) in [
            ("-0", Exact::Int(0)),
            (most.as_str(), Exact::Int(i64::MAX)),
            ("9223372036854775808", Exact::int(num_bigint::BigInt::from(u64::MAX / 2 + 1))),
            ("1E3", Exact::Float(1000.0)),
            ("-2.5e-1", Exact::Float(-0.25)),
            ("1e999", Exact::Float(f64::INFINITY)),
        ] {
            assert_eq!(read(text).unwrap(), expected, "{text}");
        }
        for bad in ["01", "+1", "1_0", ".5", "1.", "-", "inf", "nan"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_not_json_is_told_with_its_place() {
        let told = read("[1, 2").unwrap_err().to_string();
        assert!(told.starts_with("it is not JSON") && told.contains("column"), "{told}");
        for bad in ["[1] 2", "{1: 2}", "[\"\\ud800\"]", "[1e]", ""] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn nesting_and_values_are_bounded() {
        let deep = "[".repeat(100_000);
        assert!(read(&deep).unwrap_err().to_string().contains("100 levels"));
        let wide = format!("[{}0]", "0,".repeat(600_000));
        assert!(read(&wide).is_err());
        let digits = "9".repeat(5000);
        assert!(read(&digits).is_err());
    }

    #[test]
    fn what_json_lacks_is_written_as_text() {
        let value = Exact::Tuple(vec![
            Exact::decimal("1.10").unwrap(),
            Exact::Bytes(b"ok".to_vec()),
            Exact::Dict(vec![(Exact::Int(1), Exact::Set(vec![Exact::None]))]),
        ]);
        assert_eq!(write(&value), r#"["1.10", "ok", {"1": [null]}]"#);
    }
}
