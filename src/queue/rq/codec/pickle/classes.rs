//! The classes whose values are plain. Nothing else is ever looked up, let alone called.

use crate::queue::rq::codec::refusal::{Refusal, shown};

/// A class, or the one function, that a pickle of plain values may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    DateTime,
    Date,
    Time,
    TimeDelta,
    TimeZone,
    Uuid,
    Decimal,
    OrderedDict,
    DefaultDict,
    Set,
    FrozenSet,
    Bytes,
    ByteArray,
    /// `_codecs.encode`: how protocol 2 writes bytes.
    Encode,
    /// What a `defaultdict` makes its values with; worth nothing by itself.
    Factory,
}

const CLASSES: [(&str, &str, Class); 20] = [
    ("datetime", "datetime", Class::DateTime),
    ("datetime", "date", Class::Date),
    ("datetime", "time", Class::Time),
    ("datetime", "timedelta", Class::TimeDelta),
    ("datetime", "timezone", Class::TimeZone),
    ("uuid", "UUID", Class::Uuid),
    ("decimal", "Decimal", Class::Decimal),
    ("collections", "OrderedDict", Class::OrderedDict),
    ("collections", "defaultdict", Class::DefaultDict),
    ("_codecs", "encode", Class::Encode),
    ("builtins", "set", Class::Set),
    ("builtins", "frozenset", Class::FrozenSet),
    ("builtins", "bytes", Class::Bytes),
    ("builtins", "bytearray", Class::ByteArray),
    ("builtins", "list", Class::Factory),
    ("builtins", "dict", Class::Factory),
    ("builtins", "int", Class::Factory),
    ("builtins", "float", Class::Factory),
    ("builtins", "str", Class::Factory),
    ("builtins", "tuple", Class::Factory),
];

impl Class {
    /// Its name, for messages.
    pub fn name(self) -> &'static str {
        CLASSES.iter().find(|(.., class)| *class == self).map_or("?", |(_, name, _)| name)
    }

    /// The class of a name.
    pub fn find(module: &str, name: &str) -> Result<Self, Refusal> {
        // Protocol 2 writes the module's name of Python 2.
        let known = if module == "__builtin__" { "builtins" } else { module };
        let class = CLASSES.iter().find(|(home, own, _)| *home == known && *own == name);
        class.map(|(_, _, class)| *class).ok_or_else(|| {
            Refusal::new(format!(
                "it holds `{}.{}`, and only plain values can be read: numbers, text, bytes, lists, tuples, dicts, \
                 sets, None, datetimes, UUIDs, decimals",
                shown(module),
                shown(name)
            ))
        })
    }
}
