//! zlib streams, decompressed up to a limit.

use std::borrow::Cow;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::ZlibEncoder;
// Without flate2's window of 32 KiB, which costs more than a small payload.
use miniz_oxide::inflate::{TINFLStatus, decompress_to_vec_zlib_with_limit};
use miniz_oxide::{MZ_ADLER32_INIT, mz_adler32_oxide};

use super::refusal::Refusal;

/// Up to this many bytes, setting up a compressor takes longer than it saves.
const STORED: u16 = 128;

/// Why a stream was not decompressed.
#[derive(Debug, PartialEq, Eq)]
enum Failed {
    TooLong,
    Truncated,
    NotZlib,
}

/// Decompresses a stream. Bytes that are no stream are returned unchanged, as in RQ. Data after the end of
/// the stream is ignored, as in Python.
pub fn expand(stored: &[u8], limit: usize) -> Result<Cow<'_, [u8]>, Refusal> {
    let too_long = || Refusal::new(format!("expanded it is longer than {limit} bytes"));
    match inflate(stored, limit) {
        Ok(plain) => Ok(Cow::Owned(plain)),
        Err(Failed::TooLong) => Err(too_long()),
        Err(Failed::Truncated) if is_header(stored) => {
            Err(Refusal::new("its zlib stream is cut off before its end"))
        }
        Err(Failed::NotZlib) if is_header(stored) => Err(Refusal::new("its zlib stream is damaged")),
        Err(_) if stored.len() > limit => Err(too_long()),
        Err(_) => Ok(Cow::Borrowed(stored)),
    }
}

/// A stream as from Python's `zlib.compress` by default; short data is stored uncompressed.
pub fn compress(plain: &[u8]) -> Vec<u8> {
    if let Ok(length @ ..=STORED) = u16::try_from(plain.len()) {
        return store(plain, length);
    }
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    // Writing into memory cannot fail; if it did, uncompressed bytes would be read as well.
    match encoder.write_all(plain).and_then(|()| encoder.finish()) {
        Ok(stream) => stream,
        Err(_) => plain.to_vec(),
    }
}

/// A single stored block (RFC 1951, 3.2.4) in a zlib stream (RFC 1950).
fn store(plain: &[u8], length: u16) -> Vec<u8> {
    let sum = mz_adler32_oxide(MZ_ADLER32_INIT, plain);
    let parts: [&[u8]; 5] =
        [&[0x78, 0x9c, 1], &length.to_le_bytes(), &(!length).to_le_bytes(), plain, &sum.to_be_bytes()];
    parts.concat()
}

/// Whether this is the first byte of a deflate stream with a 32 KiB window; no pickle or JSON begins with it.
fn is_header(stored: &[u8]) -> bool {
    stored.first() == Some(&0x78)
}

fn inflate(stored: &[u8], limit: usize) -> Result<Vec<u8>, Failed> {
    // One byte more than the limit shows whether a payload is too long.
    match decompress_to_vec_zlib_with_limit(stored, limit.saturating_add(1)) {
        Ok(plain) if plain.len() > limit => Err(Failed::TooLong),
        Ok(plain) => Ok(plain),
        Err(failed) => Err(match failed.status {
            TINFLStatus::HasMoreOutput => Failed::TooLong,
            TINFLStatus::FailedCannotMakeProgress | TINFLStatus::NeedsMoreInput => Failed::Truncated,
            _ => Failed::NotZlib,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_expanded_up_to_the_limit() {
        let plain = vec![7_u8; 100_000];
        let stream = compress(&plain);
        assert!(stream.starts_with(&[0x78, 0x9c]), "python's default level");
        assert_eq!(expand(&stream, 100_000).unwrap(), plain);
        let told = expand(&stream, 99_999).unwrap_err().to_string();
        assert_eq!(told, "expanded it is longer than 99999 bytes");
    }

    #[test]
    fn streams_short_and_long_are_read_back() {
        for length in [0, 1, 127, 128, 129, 5000] {
            let plain: Vec<u8> = (0..length).map(|byte| byte as u8).collect();
            let stream = compress(&plain);
            assert!(stream.starts_with(&[0x78, 0x9c]), "{length}");
            assert_eq!(expand(&stream, 5000).unwrap(), plain);
        }
    }

    #[test]
    fn a_bomb_stops_at_the_limit() {
        let bomb = compress(&vec![0_u8; 50 << 20]);
        assert!(bomb.len() < 64 << 10);
        assert!(expand(&bomb, 1 << 16).is_err());
    }

    #[test]
    fn bytes_that_are_no_stream_are_taken_as_they_are() {
        for raw in [&b"\x80\x04N."[..], b"[]", b"", b"\xff"] {
            assert!(matches!(expand(raw, 10).unwrap(), Cow::Borrowed(same) if same == raw));
        }
        assert!(expand(b"[1, 2]", 3).is_err());
    }

    #[test]
    fn what_follows_a_stream_is_ignored_and_what_is_missing_is_told() {
        let stream = compress(b"abc");
        assert_eq!(*expand(&[&stream[..], b"junk"].concat(), 10).unwrap(), *b"abc");
        assert_eq!(*expand(&[&stream[..], &stream[..]].concat(), 10).unwrap(), *b"abc");
        for cut in 1..stream.len() {
            let told = expand(&stream[..cut], 10).unwrap_err().to_string();
            assert!(told.contains("cut off"), "{cut}: {told}");
        }
        let mut damaged = stream;
        *damaged.last_mut().unwrap() ^= 1;
        assert!(expand(&damaged, 10).unwrap_err().to_string().contains("damaged"));
    }
}
