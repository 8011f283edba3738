//! Creates values of the known classes from the arguments of their constructors.

use std::borrow::Cow;

use chrono::{NaiveDate, NaiveDateTime, NaiveTime};
use num_bigint::{BigInt, Sign};
use uuid::Uuid;

use super::classes::Class;
use super::node::{Id, MOST_TEXT, Node};
use super::zones;
use crate::job::exact::{Clock, Exact, Moment, Offset, Span, Zone};
use crate::queue::rq::codec::limits::Budget;
use crate::queue::rq::codec::refusal::Refusal;

/// The most arguments of a constructor of plain values.
const MOST_ARGUMENTS: usize = 4;
/// The bit in a month or an hour for the second of two equal times.
const FOLD: u8 = 0x80;

/// The result of calling a class. Copied data is counted, because references may be repeated often.
pub fn call<'a>(
    class: Class,
    args: &[Id],
    nodes: &[Node<'a>],
    budget: &mut Budget,
) -> Result<Node<'a>, Refusal> {
    let wrong = || Refusal::new(format!("`{}` is called in a way that is not known", class.name()));
    if args.len() > MOST_ARGUMENTS {
        return Err(wrong());
    }
    let given: Vec<_> = args.iter().filter_map(|arg| nodes.get(*arg as usize)).collect();
    budget.take(given.iter().map(|node| weight(node)).sum())?;
    if let Some(foreign) = given.iter().find(|node| matches!(node, Node::Foreign(..))) {
        return Ok((*foreign).clone());
    }
    let made = match (class, given.as_slice()) {
        (Class::OrderedDict, []) | (Class::DefaultDict, [] | [Node::Class(_) | Node::None]) => {
            Some(Node::Dict(Vec::new()))
        }
        (Class::Set, []) => Some(Node::Set(Vec::new())),
        (Class::FrozenSet, []) => Some(Node::FrozenSet(Vec::new())),
        (Class::Set, [Node::List(items)]) => Some(Node::Set(items.clone())),
        (Class::FrozenSet, [Node::List(items)]) => Some(Node::FrozenSet(items.clone())),
        (Class::Bytes, []) => Some(Node::Bytes(Cow::Borrowed(&[]))),
        (Class::ByteArray, []) => Some(Node::ByteArray(Cow::Borrowed(&[]))),
        (Class::ByteArray, [Node::Bytes(bytes)]) => Some(Node::ByteArray(bytes.clone())),
        (Class::ByteArray, [Node::Str(text), Node::Str("latin-1" | "latin1")]) => {
            latin1(text).map(Node::ByteArray)
        }
        (Class::Encode, [Node::Str(text), Node::Str("latin-1" | "latin1")]) => latin1(text).map(Node::Bytes),
        (Class::GetAttr, [Node::Class(Class::ZoneInfo), Node::Str("_unpickle")]) => {
            Some(Node::Class(Class::UnpickleZoneInfo))
        }
        (Class::GetAttr, _) => Some(Node::Foreign("builtins", "getattr")),
        (Class::DateTime, [Node::Bytes(state), Node::Zone(zone)]) => {
            let known = in_zone(state, zone)?;
            Some(known.map_or_else(|| Node::Elsewhere(zone.clone()), Node::Ready))
        }
        (Class::Time, [Node::Bytes(state), Node::Zone(zone)]) => {
            let offset = zone.fixed_micros().and_then(|micros| Offset::of_zone(micros, zone.clone()));
            let offset = offset.ok_or_else(|| {
                Refusal::new(format!(
                    "it holds a time of day in {}, which has no offset without a date",
                    zone.shown()
                ))
            })?;
            clock(state, Some(offset)).map(Node::Ready)
        }
        (class, given) => match zones::made(class, given) {
            Some(zone) => Some(Node::Zone(zone)),
            None => plain(class, given).map(Node::Ready),
        },
    };
    made.ok_or_else(wrong)
}

/// The most memory that copying a node takes, in bytes.
fn weight(node: &Node<'_>) -> usize {
    match node {
        Node::Str(text) => text.len(),
        Node::Bytes(bytes) => bytes.len(),
        Node::List(items) => items.len() * size_of::<Id>(),
        Node::Ready(Exact::TimeZone(offset)) => offset.text(),
        Node::Zone(zone) | Node::Elsewhere(zone) => zone.text(),
        _ => size_of::<Node<'_>>(),
    }
}

/// The bytes in a text of protocol 2, in which each character is one byte.
fn latin1<'a>(text: &str) -> Option<Cow<'a, [u8]>> {
    text.chars().map(|char| u8::try_from(u32::from(char)).ok()).collect::<Option<Vec<_>>>().map(Cow::Owned)
}

fn plain(class: Class, given: &[&Node<'_>]) -> Option<Exact> {
    match (class, given) {
        (Class::Decimal, [Node::Str(text)]) if text.len() <= MOST_TEXT => Exact::decimal(text),
        (Class::DateTime, [Node::Bytes(state), zone @ ..]) => moment(state, offset(zone)?),
        (Class::Time, [Node::Bytes(state), zone @ ..]) => clock(state, offset(zone)?),
        (Class::Date, [Node::Bytes(state)]) => match **state {
            [high, low, month, day] => date([high, low, month, day]).map(Exact::Date),
            _ => None,
        },
        (Class::TimeDelta, [days, seconds, micros]) => {
            Span::new(days.small()?, seconds.small()?, micros.small()?).map(Exact::TimeDelta)
        }
        (Class::TimeZone, [Node::Ready(Exact::TimeDelta(span))]) => {
            Offset::new(span.total_micros()?, None).map(Exact::TimeZone)
        }
        (Class::TimeZone, [Node::Ready(Exact::TimeDelta(span)), Node::Str(name)])
            if name.len() <= MOST_TEXT =>
        {
            Offset::new(span.total_micros()?, Some(name)).map(Exact::TimeZone)
        }
        _ => None,
    }
}

/// The time zone that may follow a state. The outer `None`: it is something else.
#[expect(clippy::option_option, reason = "naive, aware, or neither")]
fn offset(rest: &[&Node<'_>]) -> Option<Option<Offset>> {
    match rest {
        [] | [Node::None] => Some(None),
        [Node::Ready(Exact::TimeZone(offset))] => Some(Some(offset.clone())),
        _ => None,
    }
}

/// A datetime in a library's zone, with the zone's offset at that time; `None` if the zone is unknown.
fn in_zone(state: &[u8], zone: &Zone) -> Result<Option<Exact>, Refusal> {
    let Some(Exact::DateTime(naive)) = moment(state, None) else {
        return Err(Refusal::new("it holds a datetime that is none"));
    };
    let micros = zone.micros_at(naive.local, naive.fold);
    let offset = micros.and_then(|micros| Offset::of_zone(micros, zone.clone()));
    Ok(offset.map(|offset| Exact::DateTime(Box::new(Moment { offset: Some(offset), ..*naive }))))
}

fn moment(state: &[u8], offset: Option<Offset>) -> Option<Exact> {
    let [high, low, month, day, hour, minute, second, micros @ ..] = state else { return None };
    let date = date([*high, *low, month & !FOLD, *day])?;
    let time = time([*hour, *minute, *second], micros)?;
    let local = NaiveDateTime::new(date, time);
    Some(Exact::DateTime(Box::new(Moment { local, fold: month & FOLD != 0, offset })))
}

fn clock(state: &[u8], offset: Option<Offset>) -> Option<Exact> {
    let [hour, minute, second, micros @ ..] = state else { return None };
    let local = time([hour & !FOLD, *minute, *second], micros)?;
    Some(Exact::Time(Box::new(Clock { local, fold: hour & FOLD != 0, offset })))
}

fn date([high, low, month, day]: [u8; 4]) -> Option<NaiveDate> {
    let year = i32::from(u16::from_be_bytes([high, low]));
    (1..=9999).contains(&year).then(|| NaiveDate::from_ymd_opt(year, month.into(), day.into()))?
}

fn time([hour, minute, second]: [u8; 3], micros: &[u8]) -> Option<NaiveTime> {
    let [high, middle, low] = micros else { return None };
    let micros = u32::from_be_bytes([0, *high, *middle, *low]);
    if micros >= 1_000_000 {
        return None;
    }
    NaiveTime::from_hms_micro_opt(hour.into(), minute.into(), second.into(), micros)
}

/// The UUID with this state: a dict with its number under `int`.
pub fn uuid(state: &Node<'_>, nodes: &[Node<'_>]) -> Option<Uuid> {
    let Node::Dict(pairs) = state else { return None };
    let node = |id: Id| nodes.get(id as usize);
    // Python has only ever written the number and `is_safe`.
    let number = pairs.iter().take(4).find_map(|(key, value)| match node(*key)? {
        Node::Str("int") => node(*value),
        _ => None,
    })?;
    match number {
        Node::Int(int) => u128::try_from(*int).ok(),
        Node::Long(bytes) if bytes.len() <= 17 => match BigInt::from_signed_bytes_le(bytes).into_parts() {
            (Sign::Minus, _) => None,
            (_, int) => u128::try_from(int).ok(),
        },
        _ => None,
    }
    .map(Uuid::from_u128)
}
