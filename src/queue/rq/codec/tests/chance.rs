//! Random tests of the codec: values of every kind, random bytes, and damaged pickles.

use chrono::{NaiveDate, NaiveDateTime, NaiveTime};
use num_bigint::BigInt;
use proptest::prelude::*;
use uuid::Uuid;

use super::{bytes, read};
use crate::job::exact::{Clock, Exact, Moment, Offset, Span};
use crate::queue::rq::codec::limits::Limits;
use crate::queue::rq::codec::serializer::Serializer;
use crate::queue::rq::codec::{decode_call, decode_exc, decode_meta, decode_result, json, pickle, zlib};

fn offset() -> impl Strategy<Value = Offset> {
    let day = 86_400_000_000_i64 - 1;
    (-day..=day, proptest::option::of("[A-Z]{1,4}"))
        .prop_map(|(micros, name)| Offset::new(micros, name.as_deref()).unwrap())
}

fn date() -> impl Strategy<Value = NaiveDate> {
    (1..=9999_i32, 1..=366_u32).prop_filter_map("a day of the year", |(y, d)| NaiveDate::from_yo_opt(y, d))
}

fn time() -> impl Strategy<Value = NaiveTime> {
    (0..86_400_u32, 0..1_000_000_u32)
        .prop_map(|(s, us)| NaiveTime::from_num_seconds_from_midnight_opt(s, us * 1000).unwrap())
}

/// A value without others inside.
fn leaf() -> impl Strategy<Value = Exact> {
    let zone = || proptest::option::of(offset());
    prop_oneof![
        Just(Exact::None),
        any::<bool>().prop_map(Exact::Bool),
        any::<i64>().prop_map(Exact::Int),
        (-300..300_i64).prop_map(Exact::Int),
        proptest::collection::vec(any::<u8>(), 0..300)
            .prop_map(|bytes| Exact::int(BigInt::from_signed_bytes_le(&bytes))),
        any::<f64>().prop_filter("NaN is not itself", |float| !float.is_nan()).prop_map(Exact::Float),
        ".{0,20}".prop_map(Exact::Str),
        prop_oneof![Just("$int"), Just("$dict"), Just("$")].prop_map(|tag| Exact::Str(tag.to_owned())),
        proptest::collection::vec(any::<u8>(), 0..300).prop_map(Exact::Bytes),
        date().prop_map(Exact::Date),
        (date(), time(), any::<bool>(), zone()).prop_map(|(date, time, fold, offset)| {
            Exact::DateTime(Box::new(Moment { local: NaiveDateTime::new(date, time), fold, offset }))
        }),
        (time(), any::<bool>(), zone()).prop_map(|(local, fold, offset)| Exact::Time(Box::new(Clock {
            local,
            fold,
            offset
        }))),
        (-999_999_999..=999_999_999_i64, 0..86_400_i64, 0..1_000_000_i64)
            .prop_map(|(d, s, us)| Exact::TimeDelta(Span::new(d, s, us).unwrap())),
        offset().prop_map(Exact::TimeZone),
        any::<u128>().prop_map(|id| Exact::Uuid(Uuid::from_u128(id))),
        "-?[0-9]{1,30}(\\.[0-9]{1,5})?(E[+-][0-9]{1,3})?".prop_map(|text| Exact::decimal(&text).unwrap()),
    ]
}

/// A value of any kind.
fn value() -> impl Strategy<Value = Exact> {
    let key =
        leaf().prop_recursive(2, 6, 3, |inner| proptest::collection::vec(inner, 0..3).prop_map(Exact::Tuple));
    leaf().prop_recursive(5, 60, 5, move |inner| {
        let items = || proptest::collection::vec(inner.clone(), 0..5);
        let keys = || proptest::collection::vec(key.clone(), 0..4);
        let named = proptest::collection::btree_map(".{0,5}", inner.clone(), 0..4);
        prop_oneof![
            items().prop_map(Exact::List),
            items().prop_map(Exact::Tuple),
            keys().prop_map(Exact::Set),
            keys().prop_map(Exact::FrozenSet),
            proptest::collection::vec((key.clone(), inner.clone()), 0..4).prop_map(|mut pairs| {
                // Text keys are unique, as in Python.
                let mut seen = std::collections::BTreeSet::new();
                pairs.retain(|(key, _)| seen.insert(format!("{key:?}")));
                Exact::Dict(pairs)
            }),
            named.prop_map(|named| {
                Exact::Dict(named.into_iter().map(|(key, value)| (Exact::Str(key), value)).collect())
            }),
            proptest::collection::vec(any::<u8>(), 0..20).prop_map(Exact::ByteArray),
        ]
    })
}

/// The fixture's pickles, to be damaged.
pub(super) fn fixture() -> Vec<Vec<u8>> {
    let lines = include_str!("../../../../../tests/rq/pickles.tsv").lines();
    lines.map(|line| bytes(line.rsplit('\t').next().unwrap())).collect()
}

/// Limits with which a payload of these tests takes almost no resources.
pub(super) fn tight() -> Limits {
    Limits { stored: 1 << 16, plain: 1 << 16, depth: 30, values: 2000, memory: 1 << 20 }
}

/// Instructions with small operands, from which random programs are made.
const INSTRUCTIONS: &[&[u8]] = &[
    b"(",
    b"N",
    b"]",
    b"}",
    b")",
    b"\x8f",
    b"a",
    b"e",
    b"s",
    b"u",
    b"\x90",
    b"\x91",
    b"t",
    b"\x85",
    b"\x86",
    b"\x87",
    b"\x94",
    b"h\x00",
    b"h\x01",
    b"q\x01",
    b"K\x05",
    b"\x8c\x01a",
    b"C\x04\x07\xea\x01\x02",
    b"R",
    b"b",
    b"\x81",
    b"cdatetime\ndate\n",
    b"cbuiltins\nset\n",
    b"cuuid\nUUID\n",
    b"\x8c\x03int",
    b"c_codecs\nencode\n",
    b"ccollections\nOrderedDict\n",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_value_survives_pickle(value in value()) {
        prop_assert_eq!(read(&pickle::write(&value)).unwrap(), value);
    }

    #[test]
    fn a_value_survives_its_json_form(value in value()) {
        let json = value.clone().into_value();
        let text = json.to_string();
        prop_assert_eq!(Exact::of(&json).unwrap(), value);
        prop_assert_eq!(&serde_json::from_str::<serde_json::Value>(&text).unwrap(), &json);
    }

    #[test]
    fn what_rqs_json_can_hold_survives_it(value in value()) {
        // Values that JSON lacks become text, once.
        let once = json::read(json::write(&value).as_bytes(), &Limits::default()).unwrap();
        let twice = json::read(json::write(&once).as_bytes(), &Limits::default()).unwrap();
        prop_assert_eq!(once, twice);
    }

    #[test]
    fn no_bytes_panic(payload in proptest::collection::vec(any::<u8>(), 0..400)) {
        let limits = tight();
        let _ = decode_call(&payload, &limits);
        let _ = decode_call(&zlib::compress(&payload), &limits);
        let _ = decode_meta(&payload, &limits);
        let text = String::from_utf8_lossy(&payload);
        let _ = (decode_result(&text, &limits), decode_exc(&text, &limits));
        for start in [&b"\x80\x04"[..], b"[", b"{"] {
            let whole = [start, &payload].concat();
            let _ = decode_call(&whole, &limits);
        }
    }

    #[test]
    fn instructions_in_any_order_stay_within_the_limits(
        ops in proptest::collection::vec(
            proptest::sample::select(INSTRUCTIONS),
            0..200,
        )
    ) {
        let payload = [&b"\x80\x04"[..], &ops.concat(), b"."].concat();
        if let Ok(value) = pickle::read(&payload, &tight()) {
            prop_assert!(value.clone().into_value().to_string().len() < 1 << 20);
            // A value that was read can be written, and is read again unchanged.
            prop_assert_eq!(read(&pickle::write(&value)).unwrap(), value);
        }
    }

    #[test]
    fn a_damaged_pickle_is_refused_or_read_never_worse(
        which in any::<prop::sample::Index>(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let pickles = fixture();
        let mut payload = which.get(&pickles).clone();
        prop_assert!(read(&payload[..cut.index(payload.len())]).is_err(), "a pickle ends with its last byte");
        for (at, byte) in damage {
            *at.get_mut(&mut payload) ^= byte;
        }
        let _ = pickle::read(&payload, &tight());
        let _ = decode_call(&payload, &tight());
    }
}

#[test]
fn every_truncation_of_every_fixture_is_refused() {
    for payload in fixture() {
        for cut in 0..payload.len() {
            assert!(read(&payload[..cut]).is_err());
        }
    }
}

#[test]
fn every_single_bit_flip_of_every_fixture_is_survived() {
    for payload in fixture() {
        for place in 0..payload.len() * 8 {
            let mut flipped = payload.clone();
            flipped[place / 8] ^= 1 << (place % 8);
            let _ = Serializer::Pickle.read(&flipped, &tight());
        }
    }
}
