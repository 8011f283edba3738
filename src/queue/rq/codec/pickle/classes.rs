//! The classes with plain values. Nothing else is ever looked up, let alone called.

use crate::queue::rq::codec::refusal::{Refusal, shown};

/// A class, or one of a few functions, that a pickle of plain values may name.
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
    /// `_codecs.encode`, by which protocol 2 writes bytes.
    Encode,
    /// The factory of a `defaultdict`; no value by itself.
    Factory,
    /// `getattr`, which pickles of `zoneinfo` call to get a method.
    GetAttr,
    ZoneInfo,
    /// `zoneinfo.ZoneInfo._unpickle`.
    UnpickleZoneInfo,
    /// `pytz._p`: a zone by its name.
    Pytz,
    PytzUtc,
    PytzFixed,
    DateutilUtc,
    DateutilOffset,
    DateutilFile,
    /// `dateutil.tz._tzfile._unpickle`.
    UnpickleDateutilFile,
}

const CLASSES: [(&str, &str, Class); 39] = [
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
    ("builtins", "getattr", Class::GetAttr),
    ("zoneinfo", "ZoneInfo", Class::ZoneInfo),
    ("backports.zoneinfo", "ZoneInfo", Class::ZoneInfo),
    ("zoneinfo", "ZoneInfo._unpickle", Class::UnpickleZoneInfo),
    ("pytz", "_p", Class::Pytz),
    ("pytz", "_UTC", Class::PytzUtc),
    ("pytz", "FixedOffset", Class::PytzFixed),
    ("dateutil.tz.tz", "tzutc", Class::DateutilUtc),
    ("dateutil.tz", "tzutc", Class::DateutilUtc),
    ("dateutil.tz.tz", "tzoffset", Class::DateutilOffset),
    ("dateutil.tz", "tzoffset", Class::DateutilOffset),
    ("dateutil.tz.tz", "tzfile", Class::DateutilFile),
    ("dateutil.tz", "tzfile", Class::DateutilFile),
    ("dateutil.zoneinfo", "tzfile", Class::DateutilFile),
    ("dateutil.tz._tzfile", "tzfile", Class::DateutilFile),
    // The functions that find a zone by its name.
    ("dateutil.tz", "gettz", Class::DateutilFile),
    ("dateutil.tz.tz", "gettz", Class::DateutilFile),
    ("dateutil.zoneinfo", "gettz", Class::DateutilFile),
    ("dateutil.tz._tzfile", "_unpickle", Class::UnpickleDateutilFile),
];

impl Class {
    /// Its name, for errors.
    pub fn name(self) -> &'static str {
        CLASSES.iter().find(|(.., class)| *class == self).map_or("?", |(_, name, _)| name)
    }

    /// The error if it is used as a value.
    pub fn as_value(self) -> Refusal {
        let (module, name) = CLASSES
            .iter()
            .find(|(.., class)| *class == self)
            .map_or(("?", "?"), |(module, name, _)| (*module, *name));
        foreign(module, name)
    }

    /// The class with a name; `None` if its values are not plain.
    pub fn find(module: &str, name: &str) -> Option<Self> {
        // Protocol 2 uses the module names of Python 2.
        let known = if module == "__builtin__" { "builtins" } else { module };
        let class = CLASSES.iter().find(|(home, own, _)| *home == known && *own == name);
        class.map(|(_, _, class)| *class)
    }
}

/// The error for a value of an unknown class.
pub fn foreign(module: &str, name: &str) -> Refusal {
    Refusal::new(format!(
        "it holds `{}.{}`, and only plain values can be read: numbers, text, bytes, lists, tuples, dicts, sets, None, \
         datetimes, UUIDs, decimals",
        shown(module),
        shown(name)
    ))
}
