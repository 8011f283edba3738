//! The function of a job's `data`, found from its first bytes: for searches in thousands of jobs, and for jobs whose
//! arguments cannot be read.

use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::{
    TINFL_FLAG_PARSE_ZLIB_HEADER, TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF,
};
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};

use super::call::decode_call;
use super::limits::Limits;
use crate::job::KindName;

/// The decompressed bytes that are read: more than any function's name and the bytes before it need.
const HEAD: usize = 512;

/// Decodes one head after the other.
pub struct Heads {
    limits: Limits,
    inflater: Box<DecompressorOxide>,
    plain: [u8; HEAD],
}

impl Heads {
    /// The limits for a whole payload, needed if the head is not enough.
    pub fn new(limits: &Limits) -> Self {
        Self { limits: *limits, inflater: Box::default(), plain: [0; HEAD] }
    }

    /// The function; `None` if it cannot be found.
    pub fn kind(&mut self, data: &[u8]) -> Option<KindName> {
        if let Some(name) = self.name(data) {
            return Some(name);
        }
        decode_call(data, &self.limits).map_or_else(|error| error.kind, |call| Some(call.kind))
    }

    /// The function that the first bytes name, however long the rest is.
    pub fn name(&mut self, data: &[u8]) -> Option<KindName> {
        self.inflater.init();
        let flags = TINFL_FLAG_PARSE_ZLIB_HEADER | TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
        let (status, _, length) = decompress(&mut self.inflater, data, &mut self.plain, 0, flags);
        matches!(status, TINFLStatus::Done | TINFLStatus::HasMoreOutput).then_some(())?;
        let plain = self.plain.get(..length)?;
        let name = pickled(plain).map(KindName::from).or_else(|| in_json(plain))?;
        (!name.as_str().is_empty()).then_some(name)
    }
}

/// The first text in a pickled tuple.
fn pickled(plain: &[u8]) -> Option<&str> {
    let [0x80, 2..=5, rest @ ..] = plain else { return None };
    let rest = match rest {
        // A frame and its length.
        [0x95, rest @ ..] => rest.get(8..)?,
        rest => rest,
    };
    let (length, rest) = match rest {
        [b'(', 0x8c, length, rest @ ..] => (usize::from(*length), rest),
        [b'(', b'X', a, b, c, d, rest @ ..] => {
            (usize::try_from(u32::from_le_bytes([*a, *b, *c, *d])).ok()?, rest)
        }
        _ => return None,
    };
    std::str::from_utf8(rest.get(..length)?).ok()
}

/// The first text in a list in JSON.
fn in_json(plain: &[u8]) -> Option<KindName> {
    let rest = plain.trim_ascii_start().strip_prefix(b"[")?;
    let first = serde_json::Deserializer::from_slice(rest).into_iter::<String>().next()?;
    first.ok().map(KindName::from)
}

#[cfg(test)]
mod tests {
    use super::super::{Serializer, encode_call, zlib};
    use super::*;
    use crate::job::Args;
    use serde_json::json;

    #[test]
    fn the_head_says_what_the_whole_says() {
        let mut heads = Heads::new(&Limits::default());
        for kind in ["f", "server.jobs.משימה", &"long.".repeat(200)] {
            for args in [json!([]), json!([27, "x".repeat(5000)])] {
                let args = Args::positional(args.as_array().unwrap().clone());
                for serializer in [Serializer::Pickle, Serializer::Json] {
                    let data = encode_call(&kind.into(), &args, serializer).unwrap();
                    assert_eq!(heads.kind(&data), Some(kind.into()), "{serializer:?}");
                }
            }
        }
    }

    #[test]
    fn only_a_call_has_a_head() {
        let mut heads = Heads::new(&Limits::default());
        let data = encode_call(&"pkg.f".into(), &Args::default(), Serializer::Pickle).unwrap();
        assert_eq!(heads.name(&data), Some("pkg.f".into()));
        for other in [&b""[..], b"\x80\x04N.", b"garbage", &data[..9], br#"["pkg.f", null, [], {}]"#] {
            assert_eq!(heads.name(other), None, "{other:?}");
        }
        for other in ["{}", "[1, null, [], {}]", "[", "[\"pkg", "\"pkg.f\""] {
            assert_eq!(heads.name(&zlib::compress(other.as_bytes())), None, "{other}");
        }
        assert_eq!(heads.kind(b"garbage"), None);
        assert_eq!(pickled(b"\x80\x05\x95\x01\0\0\0\0\0\0\0(\x8c\x09short"), None);
        assert_eq!(pickled(b"\x80\x02(X\x01\0\0\0fN"), Some("f"));
    }
}
