//! Values that a single instruction creates.

use std::borrow::Cow;

use super::input::Input;
use super::node::Node;
use super::opcode as op;
use crate::queue::rq::codec::refusal::Refusal;

/// Reads the operand of an instruction; `None` for other instructions.
pub fn read<'a>(op: u8, input: &mut Input<'a>) -> Result<Option<Node<'a>>, Refusal> {
    Ok(Some(match op {
        op::NONE => Node::None,
        op::NEWTRUE => Node::Bool(true),
        op::NEWFALSE => Node::Bool(false),
        op::BININT => Node::Int(input.i32()?.into()),
        op::BININT1 => Node::Int(input.byte()?.into()),
        op::BININT2 => Node::Int(input.u16()?.into()),
        op::LONG1 | op::LONG4 => {
            let length = length_of_int(op, input)?;
            Node::Long(input.take(length)?)
        }
        op::BINFLOAT => Node::Float(input.f64()?),
        op::SHORT_BINUNICODE | op::BINUNICODE | op::BINUNICODE8 => {
            let length = length(op, input)?;
            Node::Str(input.text(length)?)
        }
        op::SHORT_BINBYTES | op::BINBYTES | op::BINBYTES8 => {
            let length = length(op, input)?;
            Node::Bytes(Cow::Borrowed(input.take(length)?))
        }
        op::BYTEARRAY8 => {
            let length = length(op, input)?;
            Node::ByteArray(Cow::Borrowed(input.take(length)?))
        }
        op::EMPTY_LIST => Node::List(Vec::new()),
        op::EMPTY_TUPLE => Node::Tuple(Vec::new()),
        op::EMPTY_DICT => Node::Dict(Vec::new()),
        op::EMPTY_SET => Node::Set(Vec::new()),
        _ => return Ok(None),
    }))
}

fn length(op: u8, input: &mut Input<'_>) -> Result<u64, Refusal> {
    match op {
        op::SHORT_BINUNICODE | op::SHORT_BINBYTES => input.byte().map(u64::from),
        op::BINUNICODE | op::BINBYTES => input.u32().map(u64::from),
        _ => input.u64(),
    }
}

fn length_of_int(op: u8, input: &mut Input<'_>) -> Result<u64, Refusal> {
    if op == op::LONG1 {
        return input.byte().map(u64::from);
    }
    let length = input.i32()?;
    u64::try_from(length).map_err(|_| Refusal::new(format!("an int of {length} bytes cannot be")))
}
