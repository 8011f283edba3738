//! What lies on the machine's stack: values that refer to others by number.

use std::borrow::Cow;

use num_bigint::BigInt;

use super::classes::Class;
use crate::job::exact::{Exact, Zone};

/// Longest text of a decimal and longest name of a time zone that are kept.
pub const MOST_TEXT: usize = 10_000;

/// The number of a node.
pub type Id = u32;

/// A value under construction. Text and bytes still lie in the payload.
#[derive(Clone, Debug)]
pub enum Node<'a> {
    None,
    Bool(bool),
    Int(i64),
    /// Little-endian two's complement.
    Long(&'a [u8]),
    Float(f64),
    Str(&'a str),
    Bytes(Cow<'a, [u8]>),
    ByteArray(Cow<'a, [u8]>),
    List(Vec<Id>),
    Tuple(Vec<Id>),
    Set(Vec<Id>),
    FrozenSet(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Class(Class),
    /// Another class, or what came of one: nothing is done with it, and a value that holds it is refused by its name.
    Foreign(&'a str, &'a str),
    /// A time zone of a library, which is worth something beside a time.
    Zone(Zone),
    /// A datetime in a zone that is not known here: a value that holds it is refused.
    Elsewhere(Zone),
    /// A `dateutil.tz.tzoffset` whose attributes have not come yet.
    BlankZone,
    /// A `uuid.UUID` whose state has not come yet.
    BlankUuid,
    /// A value without others inside.
    Ready(Exact),
}

impl Node<'_> {
    /// The number that it is, if that fits.
    pub fn small(&self) -> Option<i64> {
        match self {
            Self::Int(int) => Some(*int),
            Self::Long(bytes) if bytes.len() <= 8 => i64::try_from(BigInt::from_signed_bytes_le(bytes)).ok(),
            _ => None,
        }
    }

    /// What it is, for messages.
    pub fn noun(&self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Bool(_) => "a bool",
            Self::Int(_) | Self::Long(_) => "an int",
            Self::Float(_) => "a float",
            Self::Str(_) => "a str",
            Self::Bytes(_) => "bytes",
            Self::ByteArray(_) => "a bytearray",
            Self::List(_) => "a list",
            Self::Tuple(_) => "a tuple",
            Self::Set(_) => "a set",
            Self::FrozenSet(_) => "a frozenset",
            Self::Dict(_) => "a dict",
            Self::Class(_) | Self::Foreign(..) => "a class",
            Self::Zone(_) => "a time zone",
            Self::Elsewhere(_) => "a datetime",
            Self::BlankZone => "an unfinished time zone",
            Self::BlankUuid => "an unfinished UUID",
            Self::Ready(_) => "a value",
        }
    }
}
