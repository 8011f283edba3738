//! Time zones of zoneinfo, pytz and dateutil in pickles.

use super::classes::Class;
use super::node::{Id, MOST_TEXT, Node};
use crate::job::exact::{Exact, Zone};

/// The zone that a call of a library's class creates.
pub fn made(class: Class, given: &[&Node<'_>]) -> Option<Zone> {
    Some(match (class, given) {
        (Class::UnpickleZoneInfo, [Node::Str(name), Node::Bool(cached)]) => {
            Zone::ZoneInfo(short(name)?, *cached)
        }
        // Written by the implementation in C.
        (Class::UnpickleZoneInfo, [Node::Str(name), Node::Int(cached @ (0 | 1))]) => {
            Zone::ZoneInfo(short(name)?, *cached == 1)
        }
        (Class::ZoneInfo, [Node::Str(name)]) => Zone::ZoneInfo(short(name)?, true),
        (Class::Pytz, [Node::Str(name)]) => Zone::Pytz(short(name)?, None),
        (Class::Pytz, [Node::Str(name), offset, summer, Node::Str(abbreviation)]) => {
            Zone::Pytz(short(name)?, Some((offset.small()?, summer.small()?, short(abbreviation)?)))
        }
        (Class::PytzUtc, []) => Zone::PytzUtc,
        (Class::PytzFixed, [minutes]) => Zone::PytzFixed(minutes.small()?),
        (Class::DateutilUtc, []) => Zone::DateutilUtc,
        (Class::DateutilOffset, [name, offset]) => offset_zone(name, offset)?,
        // Its data follow as attributes.
        (Class::DateutilFile, [Node::None, Node::Str(file)] | [Node::Str(file)]) => {
            Zone::DateutilFile(short(file)?)
        }
        // The arguments: class, IANA name, file, data.
        (Class::UnpickleDateutilFile, [_, Node::Str(name), ..]) => Zone::DateutilFile(short(name)?),
        (Class::UnpickleDateutilFile, [_, Node::None, Node::Str(file), _]) => {
            Zone::DateutilFile(short(file)?)
        }
        _ => return None,
    })
}

/// A `dateutil.tz.tzoffset` of older releases: created empty, then given its attributes.
pub fn stated(state: &Node<'_>, nodes: &[Node<'_>]) -> Option<Zone> {
    let Node::Dict(pairs) = state else { return None };
    let node = |id: Id| nodes.get(id as usize);
    let attribute = |wanted: &str| {
        // It has these two attributes, and possibly a few more.
        let mut pairs = pairs.iter().take(4);
        pairs.find_map(|(key, value)| match node(*key)? {
            Node::Str(name) if *name == wanted => node(*value),
            _ => None,
        })
    };
    offset_zone(attribute("_name")?, attribute("_offset")?)
}

fn offset_zone(name: &Node<'_>, offset: &Node<'_>) -> Option<Zone> {
    let name = match name {
        Node::None => None,
        Node::Str(name) => Some(short(name)?),
        _ => return None,
    };
    let micros = match offset {
        Node::Ready(Exact::TimeDelta(span)) => span.total_micros()?,
        seconds => seconds.small()?.checked_mul(1_000_000)?,
    };
    Some(Zone::DateutilOffset(name, micros))
}

fn short(text: &str) -> Option<Box<str>> {
    (text.len() <= MOST_TEXT).then(|| text.into())
}

/// The Python call that creates a zone.
pub fn call_of(zone: &Zone) -> ([&'static str; 2], Vec<Exact>) {
    let text = |text: &str| Exact::Str(text.to_owned());
    match zone {
        Zone::ZoneInfo(name, cached) => {
            (["zoneinfo", "ZoneInfo._unpickle"], vec![text(name), Exact::Bool(*cached)])
        }
        Zone::Pytz(name, None) => (["pytz", "_p"], vec![text(name)]),
        Zone::Pytz(name, Some((offset, summer, abbreviation))) => {
            let span = [Exact::Int(*offset), Exact::Int(*summer), text(abbreviation)];
            (["pytz", "_p"], [text(name)].into_iter().chain(span).collect())
        }
        Zone::PytzUtc => (["pytz", "_UTC"], Vec::new()),
        Zone::PytzFixed(minutes) => (["pytz", "FixedOffset"], vec![Exact::Int(*minutes)]),
        Zone::DateutilUtc => (["dateutil.tz", "tzutc"], Vec::new()),
        Zone::DateutilOffset(name, micros) => {
            let name = name.as_deref().map_or(Exact::None, text);
            let offset = crate::job::exact::Offset::new(*micros, None);
            (
                ["dateutil.tz", "tzoffset"],
                vec![name, offset.map_or(Exact::None, |o| Exact::TimeDelta(o.span()))],
            )
        }
        Zone::DateutilFile(file) if file.starts_with('/') => (["dateutil.tz", "tzfile"], vec![text(file)]),
        Zone::DateutilFile(name) => (["dateutil.tz", "gettz"], vec![text(name)]),
    }
}
