//! The reserved keys of tagged values.

use serde_json::{Map, Value};

/// Whether a value contains anything that plain JSON cannot express.
#[must_use]
pub fn has_tags(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().any(has_tags),
        Value::Object(map) => lone(map).is_some() || map.values().any(has_tags),
        _ => false,
    }
}

/// Whether a dictionary with these keys looks like a tag.
pub fn looks_tagged<'k>(mut keys: impl Iterator<Item = &'k str>) -> bool {
    matches!((keys.next(), keys.next()), (Some(key), None) if key.starts_with('$'))
}

/// The only key, if it could be a tag, and its content.
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
