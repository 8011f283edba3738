//! Writes pickles: protocol 4, which every Python 3 can read, without memo and frames, which are optional.

use chrono::{Datelike as _, NaiveDate, NaiveTime, Timelike as _};
use num_bigint::BigInt;

use super::opcode as op;
use super::zones;
use crate::job::exact::{Exact, Offset, Span};

const PROTOCOL: u8 = 4;
/// The bit in a month or an hour for the second of two equal times.
const FOLD: u8 = 0x80;

/// The pickle of a value.
pub fn write(value: &Exact) -> Vec<u8> {
    let mut out = vec![op::PROTO, PROTOCOL];
    put(value, &mut out);
    out.push(op::STOP);
    out
}

/// The pickle of an object of a class without arguments, with these fields.
pub fn write_object((module, name): (&str, &str), fields: Exact) -> Vec<u8> {
    let mut out = vec![op::PROTO, PROTOCOL];
    new_object((module, name), &fields, &mut out);
    out.push(op::STOP);
    out
}

fn new_object((module, name): (&str, &str), fields: &Exact, out: &mut Vec<u8>) {
    global(module, name, out);
    opcode(op::EMPTY_TUPLE, &[op::NEWOBJ], out);
    put(fields, out);
    out.push(op::BUILD);
}

fn put(value: &Exact, out: &mut Vec<u8>) {
    match value {
        Exact::None => out.push(op::NONE),
        Exact::Bool(bool) => out.push(if *bool { op::NEWTRUE } else { op::NEWFALSE }),
        Exact::Int(int) => int_of(*int, out),
        Exact::Big(int) => long(int, out),
        Exact::Float(float) => opcode(op::BINFLOAT, &float.to_be_bytes(), out),
        Exact::Str(text) => {
            sized([op::SHORT_BINUNICODE, op::BINUNICODE, op::BINUNICODE8], text.as_bytes(), out);
        }
        Exact::Bytes(bytes) => sized([op::SHORT_BINBYTES, op::BINBYTES, op::BINBYTES8], bytes, out),
        Exact::ByteArray(bytes) => {
            // The instruction for it exists only since protocol 5.
            call("builtins", "bytearray", out, |out| put(&Exact::Bytes(bytes.clone()), out));
        }
        Exact::List(items) => filled(op::EMPTY_LIST, items, op::APPENDS, out),
        Exact::Set(items) => filled(op::EMPTY_SET, items, op::ADDITEMS, out),
        Exact::Tuple(items) => group(items, op::TUPLE, out),
        Exact::FrozenSet(items) => group(items, op::FROZENSET, out),
        Exact::Dict(pairs) => {
            opcode(op::EMPTY_DICT, &[op::MARK], out);
            for (key, value) in pairs {
                put(key, out);
                put(value, out);
            }
            out.push(op::SETITEMS);
        }
        beyond => object(beyond, out),
    }
}

/// Writes a value of a class.
fn object(value: &Exact, out: &mut Vec<u8>) {
    match value {
        Exact::DateTime(at) => call("datetime", "datetime", out, |out| {
            let mut state = date(at.local.date()).to_vec();
            state.extend(time(at.local.time()));
            fold(at.fold, state.get_mut(2));
            stated(state, at.offset.as_ref(), out);
        }),
        Exact::Time(at) => call("datetime", "time", out, |out| {
            let mut state = time(at.local).to_vec();
            fold(at.fold, state.get_mut(0));
            stated(state, at.offset.as_ref(), out);
        }),
        Exact::Date(day) => call("datetime", "date", out, |out| stated(date(*day).to_vec(), None, out)),
        Exact::TimeDelta(span) => delta(*span, out),
        Exact::TimeZone(offset) => zone(offset, out),
        Exact::Uuid(uuid) => {
            let number = Exact::int(uuid.as_u128().into());
            let fields = Exact::Dict(vec![(Exact::Str("int".to_owned()), number)]);
            new_object(("uuid", "UUID"), &fields, out);
        }
        Exact::Decimal(digits) => {
            call("decimal", "Decimal", out, |out| put(&Exact::Str(digits.clone()), out));
        }
        _ => {}
    }
}

fn opcode(op: u8, operand: &[u8], out: &mut Vec<u8>) {
    out.push(op);
    out.extend_from_slice(operand);
}

/// Uses the shortest of three instructions, with a length of one, four or eight bytes.
fn sized([byte, word, long]: [u8; 3], content: &[u8], out: &mut Vec<u8>) {
    let length = content.len();
    match (u8::try_from(length), u32::try_from(length)) {
        (Ok(length), _) => opcode(byte, &[length], out),
        (_, Ok(length)) => opcode(word, &length.to_le_bytes(), out),
        _ => opcode(long, &(length as u64).to_le_bytes(), out),
    }
    out.extend_from_slice(content);
}

fn int_of(int: i64, out: &mut Vec<u8>) {
    match (u8::try_from(int), u16::try_from(int), i32::try_from(int)) {
        (Ok(int), ..) => opcode(op::BININT1, &[int], out),
        (_, Ok(int), _) => opcode(op::BININT2, &int.to_le_bytes(), out),
        (.., Ok(int)) => opcode(op::BININT, &int.to_le_bytes(), out),
        _ => long(&int.into(), out),
    }
}

fn long(int: &BigInt, out: &mut Vec<u8>) {
    let bytes = int.to_signed_bytes_le();
    match u8::try_from(bytes.len()) {
        Ok(length) => opcode(op::LONG1, &[length], out),
        Err(_) => opcode(op::LONG4, &u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes(), out),
    }
    out.extend_from_slice(&bytes);
}

fn group(items: &[Exact], close: u8, out: &mut Vec<u8>) {
    out.push(op::MARK);
    items.iter().for_each(|item| put(item, out));
    out.push(close);
}

fn filled(empty: u8, items: &[Exact], close: u8, out: &mut Vec<u8>) {
    out.push(empty);
    group(items, close, out);
}

fn global(module: &str, name: &str, out: &mut Vec<u8>) {
    for text in [module, name] {
        sized([op::SHORT_BINUNICODE, op::BINUNICODE, op::BINUNICODE8], text.as_bytes(), out);
    }
    out.push(op::STACK_GLOBAL);
}

/// Writes a call of a class with arguments.
fn call(module: &str, name: &str, out: &mut Vec<u8>, arguments: impl FnOnce(&mut Vec<u8>)) {
    global(module, name, out);
    out.push(op::MARK);
    arguments(out);
    opcode(op::TUPLE, &[op::REDUCE], out);
}

fn stated(state: Vec<u8>, offset: Option<&Offset>, out: &mut Vec<u8>) {
    put(&Exact::Bytes(state), out);
    if let Some(offset) = offset {
        zone(offset, out);
    }
}

fn zone(offset: &Offset, out: &mut Vec<u8>) {
    if let Some(zone) = offset.zone() {
        let ([module, name], arguments) = zones::call_of(zone);
        call(module, name, out, |out| arguments.iter().for_each(|argument| put(argument, out)));
        return;
    }
    call("datetime", "timezone", out, |out| {
        delta(offset.span(), out);
        if let Some(name) = offset.name() {
            put(&Exact::Str(name.to_owned()), out);
        }
    });
}

fn delta(span: Span, out: &mut Vec<u8>) {
    call("datetime", "timedelta", out, |out| span.parts().into_iter().for_each(|part| int_of(part, out)));
}

/// An [`Exact`] never has a year outside Python's range.
fn date(day: NaiveDate) -> [u8; 4] {
    let [high, low] = u16::try_from(day.year()).unwrap_or(1).to_be_bytes();
    [high, low, byte(day.month()), byte(day.day())]
}

fn time(time: NaiveTime) -> [u8; 6] {
    let [_, high, middle, low] = (time.nanosecond() / 1000 % 1_000_000).to_be_bytes();
    [byte(time.hour()), byte(time.minute()), byte(time.second()), high, middle, low]
}

fn byte(small: u32) -> u8 {
    u8::try_from(small).unwrap_or(0)
}

fn fold(fold: bool, byte: Option<&mut u8>) {
    if let Some(byte) = byte.filter(|_| fold) {
        *byte |= FOLD;
    }
}
