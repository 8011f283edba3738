//! The arguments of a call, from an enqueuer in any language, and their conversion to a typed value.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::exact::{self, Shown};

/// Positional and named arguments, as in a Python call.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// Arguments by position.
    #[serde(default)]
    pub positional: Vec<Value>,
    /// Arguments by name.
    #[serde(default)]
    pub named: Map<String, Value>,
}

/// The arguments could not be read; the error says which, and what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot read the arguments {given}: {reason}")]
pub struct ArgsError {
    given: String,
    reason: String,
    /// The weight in bytes of readable arguments that were not loaded here.
    folded: Option<usize>,
}

/// The longest text of arguments in an error or a description, in characters, as in RQ.
const SHOWN_CHARS: usize = 75;

impl Args {
    /// Arguments by position only.
    pub fn positional(values: impl IntoIterator<Item = Value>) -> Self {
        Self { positional: values.into_iter().collect(), named: Map::new() }
    }

    /// The arguments that [`read`](Self::read) converts back to `value`: a struct gives named arguments, a
    /// tuple positional ones, `()` none.
    ///
    /// # Errors
    /// When `value` is something else, or cannot be written as JSON.
    pub fn of<T: Serialize>(value: &T) -> Result<Self, ArgsError> {
        let kind = std::any::type_name::<T>();
        match serde_json::to_value(value) {
            Ok(Value::Null) => Ok(Self::default()),
            Ok(Value::Array(positional)) => Ok(Self { positional, named: Map::new() }),
            Ok(Value::Object(named)) => Ok(Self { positional: Vec::new(), named }),
            Ok(_) => Err(ArgsError::undecodable(kind, "expected a struct, a tuple or ()")),
            Err(error) => Err(ArgsError::undecodable(kind, error.to_string())),
        }
    }

    /// Reads the arguments as `T`. A struct takes positional arguments in the order of its fields, or named
    /// ones; for a mix of both, `parameters` must list the names in order. Values that JSON lacks are read as
    /// in [`exact`].
    ///
    /// # Errors
    /// When a value is missing, of the wrong type, or given twice.
    pub fn read<T: DeserializeOwned>(&self, parameters: &[&str]) -> Result<T, ArgsError> {
        if self.positional.is_empty() && self.named.is_empty() {
            return self.read_none();
        }
        let value = self.as_value(parameters)?;
        exact::read(value).map_err(|e| self.error(e.to_string()))
    }

    /// Without arguments, reads `()`, an empty tuple, or a struct whose fields all have defaults.
    fn read_none<T: DeserializeOwned>(&self) -> Result<T, ArgsError> {
        serde_json::from_value(Value::Null)
            .or_else(|_| serde_json::from_value(Value::Array(Vec::new())))
            .or_else(|_| serde_json::from_value(Value::Object(Map::new())))
            .map_err(|e| self.error(e.to_string()))
    }

    fn as_value(&self, parameters: &[&str]) -> Result<Value, ArgsError> {
        match (self.positional.as_slice(), self.named.is_empty()) {
            ([], _) => Ok(Value::Object(self.named.clone())),
            (_, true) => Ok(Value::Array(self.positional.clone())),
            (positional, false) => self.merged(positional, parameters),
        }
    }

    fn merged(&self, positional: &[Value], parameters: &[&str]) -> Result<Value, ArgsError> {
        if positional.len() > parameters.len() {
            return Err(self.error(format!(
                "{} positional arguments beside named ones, expected at most {}",
                positional.len(),
                parameters.len()
            )));
        }
        let mut all = self.named.clone();
        for (name, value) in parameters.iter().zip(positional) {
            if all.insert((*name).to_owned(), value.clone()).is_some() {
                return Err(self.error(format!("`{name}` is given by position and by name")));
            }
        }
        Ok(Value::Object(all))
    }

    /// All arguments in the form of a call, whatever their length: `(27, ratio=1.0)`.
    #[must_use]
    pub fn in_full(&self) -> String {
        let mut text = String::from("(");
        match self.write(&mut text) {
            Ok(()) => text + ")",
            Err(_) => self.to_string(),
        }
    }

    /// The approximate memory of the values, in bytes.
    #[must_use]
    pub fn weight(&self) -> usize {
        let positional: usize = self.positional.iter().map(weight).sum();
        positional.saturating_add(weight_of_object(&self.named))
    }

    fn write(&self, to: &mut impl std::fmt::Write) -> std::fmt::Result {
        let names = std::iter::repeat_n(None, self.positional.len()).chain(self.named.keys().map(Some));
        let values = self.positional.iter().chain(self.named.values());
        for (place, (name, value)) in names.zip(values).enumerate() {
            let gap = if place > 0 { ", " } else { "" };
            match name {
                Some(name) => write!(to, "{gap}{name}={}", Shown(value))?,
                None => write!(to, "{gap}{}", Shown(value))?,
            }
        }
        Ok(())
    }

    fn error(&self, reason: String) -> ArgsError {
        ArgsError::undecodable(self.to_string(), reason)
    }
}

impl ArgsError {
    /// The error for arguments that could not be decoded from the wire.
    pub fn undecodable(given: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { given: given.into(), reason: reason.into(), folded: None }
    }

    /// Stands for readable arguments that are so large that only the runner of the job loads them.
    #[must_use]
    pub fn folded(weight: usize) -> Self {
        let given = format!("of about {weight} bytes in memory");
        Self { given, reason: "they are expanded for their job alone".to_owned(), folded: Some(weight) }
    }

    /// The weight in bytes of arguments that were not loaded here.
    #[must_use]
    pub fn weight_folded(&self) -> Option<usize> {
        self.folded
    }
}

/// The memory of a value itself, and of an object's entry in addition, in bytes.
const VALUE: usize = size_of::<Value>();
const ENTRY: usize = 2 * size_of::<String>();

/// The approximate memory of a value, in bytes.
pub(crate) fn weight(value: &Value) -> usize {
    let inner = match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(weight).sum(),
        Value::Object(fields) => weight_of_object(fields),
    };
    VALUE.saturating_add(inner)
}

fn weight_of_object(fields: &Map<String, Value>) -> usize {
    fields.iter().map(|(name, value)| ENTRY + name.len() + weight(value)).sum()
}

impl std::fmt::Display for Args {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = Clipped { text: String::from("("), left: SHOWN_CHARS };
        match self.write(&mut shown) {
            Ok(()) => write!(f, "{})", shown.text),
            Err(_) => write!(f, "{}…)", shown.text),
        }
    }
}

/// Takes a limited number of characters and refuses the rest, so that huge payloads are not formatted.
struct Clipped {
    text: String,
    left: usize,
}

impl std::fmt::Write for Clipped {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        for char in text.chars() {
            self.left = self.left.checked_sub(1).ok_or(std::fmt::Error)?;
            self.text.push(char);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[derive(Debug, PartialEq, Deserialize, Serialize)]
    struct Delete {
        id: i64,
        #[serde(default)]
        dry: bool,
    }

    #[test]
    fn positions_fill_fields_in_order() {
        let args = Args::positional([json!(27), json!(true)]);
        assert_eq!(args.read::<Delete>(&[]).unwrap(), Delete { id: 27, dry: true });
    }

    #[test]
    fn typed_arguments_read_back_as_they_were() {
        let delete = Delete { id: 27, dry: true };
        assert_eq!(Args::of(&delete).unwrap().read::<Delete>(&[]).unwrap(), delete);
        assert_eq!(Args::of(&(27, "week")).unwrap(), Args::positional([json!(27), json!("week")]));
        Args::of(&()).unwrap().read::<()>(&[]).unwrap();
        let error = Args::of(&27).unwrap_err().to_string();
        assert!(error.contains("i32") && error.contains("a struct, a tuple"), "{error}");
    }

    #[test]
    fn names_and_positions_mix_when_the_order_is_known() {
        let mut args = Args::positional([json!(27)]);
        args.named.insert("dry".into(), json!(true));
        assert_eq!(args.read::<Delete>(&["id", "dry"]).unwrap(), Delete { id: 27, dry: true });
        assert!(args.read::<Delete>(&[]).unwrap_err().to_string().contains("at most 0"));
    }

    #[test]
    fn an_argument_given_twice_is_refused_by_name() {
        let mut args = Args::positional([json!(27)]);
        args.named.insert("id".into(), json!(28));
        assert!(args.read::<Delete>(&["id", "dry"]).unwrap_err().to_string().contains("`id` is given"));
    }

    #[test]
    fn a_wrong_type_names_the_value() {
        let error = Args::positional([json!("x")]).read::<Delete>(&[]).unwrap_err().to_string();
        assert!(error.contains("(\"x\")") && error.contains("i64"), "{error}");
    }

    #[test]
    fn long_arguments_are_cut_at_a_character() {
        let shown = Args::positional([json!("ק".repeat(200))]).to_string();
        assert_eq!(shown.chars().count(), SHOWN_CHARS + 3);
    }

    #[test]
    fn what_json_cannot_hold_is_read_and_shown_naturally() {
        #[derive(Debug, PartialEq, Deserialize)]
        struct Send {
            at: chrono::NaiveDate,
            price: String,
        }
        let mut args = Args::positional([json!({ "$date": "2026-01-02" })]);
        args.named.insert("price".into(), json!({ "$decimal": "1.10" }));
        assert_eq!(args.to_string(), "(2026-01-02, price=1.10)");
        let read = args.read::<Send>(&["at", "price"]).unwrap();
        assert_eq!(read, Send { at: "2026-01-02".parse().unwrap(), price: "1.10".into() });
    }
}
