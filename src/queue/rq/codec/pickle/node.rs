//! The values on the machine's stack, which refer to others by number.

use std::borrow::Cow;

use num_bigint::BigInt;

use super::classes::Class;
use crate::job::exact::{Exact, Zone};

/// The longest text of a decimal and name of a time zone, in bytes.
pub const MOST_TEXT: usize = 10_000;

/// The number of a node.
pub type Id = u32;

/// A value under construction. Text and bytes refer to the payload.
#[derive(Clone, Debug)]
pub enum Node<'a> {
    None,
    Bool(bool),
    Int(i64),
    /// An integer in little-endian two's complement.
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
    /// An unknown class, or something made with one: a value that contains it is refused with its name.
    Foreign(&'a str, &'a str),
    /// A time zone of a library, used only in a time.
    Zone(Zone),
    /// A datetime in an unknown zone: a value that contains it is refused.
    Elsewhere(Zone),
    /// A `dateutil.tz.tzoffset` before its attributes are set.
    BlankZone,
    /// A `uuid.UUID` before its state is set.
    BlankUuid,
    /// A value without others inside.
    Ready(Exact),
}

impl Node<'_> {
    /// The number, if it is one and fits.
    pub fn small(&self) -> Option<i64> {
        match self {
            Self::Int(int) => Some(*int),
            Self::Long(bytes) if bytes.len() <= 8 => i64::try_from(BigInt::from_signed_bytes_le(bytes)).ok(),
            _ => None,
        }
    }

    /// What it is, for errors.
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
