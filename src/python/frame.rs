//! Frames: a length, a kind and fields of bytes, as Tikkun and its Python processes exchange them.
//!
//! `u32` length (little endian, of all that follows), `u8` kind, then for each field `u32` length and its bytes.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// The longest frame: what Redis itself allows for one value, 512 MiB.
pub const MAX_FRAME: usize = 512 * 1024 * 1024;

/// Length of the prefix that says how much follows.
const PREFIX: usize = 4;

/// The most that one read asks for, so that memory grows with what arrives, not with what a prefix claims.
const READ_AT_ONCE: usize = 1024 * 1024;

/// The least that one read asks for.
const READ_AT_LEAST: usize = 8 * 1024;

/// Why bytes are no frame, or why none came.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// Longer than the limit of this connection.
    #[error("a frame of {size} bytes is larger than the {limit} bytes that are allowed")]
    TooLarge {
        /// The length that was announced or asked for.
        size: u64,
        /// The length that is allowed.
        limit: usize,
    },
    /// A field reaches over the end of its frame, or the frame has no kind.
    #[error("a frame of {size} bytes is malformed: {what}")]
    Malformed {
        /// Length of the frame.
        size: usize,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The other side went away within a frame.
    #[error("the connection ended within a frame, after {received} bytes")]
    CutOff {
        /// How many bytes of the frame had come, its prefix included.
        received: usize,
    },
    /// A well-formed frame that says nothing that is understood.
    #[error("a frame of kind {kind} is not understood: {what}")]
    NotUnderstood {
        /// The kind of the frame.
        kind: u8,
        /// What was expected.
        what: String,
    },
    /// The connection failed.
    #[error("the connection failed")]
    Connection(#[from] io::Error),
}

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it says; the numbers are in `messages`.
    pub kind: u8,
    /// Its fields, in order.
    pub fields: Vec<Vec<u8>>,
}

/// The bytes of a frame of `kind` with `fields`.
///
/// # Errors
/// [`FrameError::TooLarge`] above [`MAX_FRAME`]; nothing is built then.
pub fn encode(kind: u8, fields: &[&[u8]]) -> Result<Vec<u8>, FrameError> {
    let size = 1 + fields.iter().map(|field| PREFIX as u64 + field.len() as u64).sum::<u64>();
    let length = u32::try_from(size).ok().filter(|length| *length as usize <= MAX_FRAME);
    let length = length.ok_or(FrameError::TooLarge { size, limit: MAX_FRAME })?;
    let mut bytes = Vec::with_capacity(PREFIX + length as usize);
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.push(kind);
    for field in fields {
        // No field is longer than the frame, whose length fits.
        bytes.extend_from_slice(&u32::try_from(field.len()).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend_from_slice(field);
    }
    Ok(bytes)
}

/// Reads frames from a connection, and keeps what has come of the next one.
#[derive(Debug)]
pub struct FrameReader<R> {
    source: R,
    received: Vec<u8>,
    limit: usize,
}

impl<R> FrameReader<R> {
    /// A reader that refuses frames of more than `limit` bytes, and never takes more than [`MAX_FRAME`].
    pub fn new(source: R, limit: usize) -> Self {
        Self { source, received: Vec::new(), limit: limit.min(MAX_FRAME) }
    }

    /// Where the frames come from.
    pub fn source(&self) -> &R {
        &self.source
    }

    /// Adds bytes that were read from the connection by other means.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.received.extend_from_slice(bytes);
    }

    /// The next frame if all of it has come.
    ///
    /// # Errors
    /// As [`FrameReader::next`], without the connection's own.
    pub fn buffered(&mut self) -> Result<Option<Frame>, FrameError> {
        let Some(size) = self.announced()? else { return Ok(None) };
        let Some(body) = self.received.get(PREFIX..PREFIX + size) else { return Ok(None) };
        let frame = decode(body)?;
        self.received.drain(..PREFIX + size);
        if self.received.capacity() > READ_AT_ONCE {
            self.received.shrink_to(READ_AT_LEAST);
        }
        Ok(Some(frame))
    }

    /// The length of the frame that is coming, if its prefix is there.
    fn announced(&self) -> Result<Option<usize>, FrameError> {
        let Some(prefix) = self.received.first_chunk::<PREFIX>() else { return Ok(None) };
        let size = u32::from_le_bytes(*prefix);
        if size as usize > self.limit {
            return Err(FrameError::TooLarge { size: size.into(), limit: self.limit });
        }
        Ok(Some(size as usize))
    }
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// The next frame, or `None` when the other side closed the connection between two frames.
    ///
    /// Cancel safe: what has come of a frame is kept for the next call.
    ///
    /// # Errors
    /// A frame that is too large or malformed, a connection that ended within a frame or failed. The connection
    /// cannot be used after an error: where the next frame begins is not known any more.
    pub async fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        loop {
            if let Some(frame) = self.buffered()? {
                return Ok(Some(frame));
            }
            let missing = match self.announced()? {
                Some(size) => (PREFIX + size).saturating_sub(self.received.len()),
                None => PREFIX,
            };
            self.received.reserve(missing.clamp(READ_AT_LEAST, READ_AT_ONCE));
            if self.source.read_buf(&mut self.received).await? == 0 {
                return match self.received.len() {
                    0 => Ok(None),
                    received => Err(FrameError::CutOff { received }),
                };
            }
        }
    }
}

/// A frame from what follows its length.
fn decode(body: &[u8]) -> Result<Frame, FrameError> {
    let malformed = |what| FrameError::Malformed { size: body.len(), what };
    let (kind, mut rest) = body.split_first().ok_or_else(|| malformed("it has no kind"))?;
    let mut fields = Vec::new();
    while !rest.is_empty() {
        let (length, after) = rest
            .split_first_chunk::<PREFIX>()
            .ok_or_else(|| malformed("the length of a field is cut off"))?;
        let (field, after) = after
            .split_at_checked(u32::from_le_bytes(*length) as usize)
            .ok_or_else(|| malformed("a field reaches over its end"))?;
        fields.push(field.to_vec());
        rest = after;
    }
    Ok(Frame { kind: *kind, fields })
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use proptest::prelude::*;
    use tokio::io::AsyncWriteExt;

    fn bytes_of(frame: &Frame) -> Vec<u8> {
        let fields: Vec<&[u8]> = frame.fields.iter().map(Vec::as_slice).collect();
        encode(frame.kind, &fields).unwrap()
    }

    fn any_frame() -> impl Strategy<Value = Frame> {
        let fields = proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..8);
        (any::<u8>(), fields).prop_map(|(kind, fields)| Frame { kind, fields })
    }

    fn read_all(pieces: &[&[u8]], limit: usize) -> (Vec<Frame>, Option<FrameError>) {
        let mut reader = FrameReader::new(tokio::io::empty(), limit);
        let mut frames = Vec::new();
        for piece in pieces {
            reader.feed(piece);
            loop {
                match reader.buffered() {
                    Ok(Some(frame)) => frames.push(frame),
                    Ok(None) => break,
                    Err(error) => return (frames, Some(error)),
                }
            }
        }
        match reader.next().now_or_never().unwrap() {
            Ok(None) => (frames, None),
            Ok(Some(_)) => unreachable!("nothing was left"),
            Err(error) => (frames, Some(error)),
        }
    }

    proptest! {
        #[test]
        fn frames_come_back_as_they_were_however_they_are_cut(
            frames in proptest::collection::vec(any_frame(), 0..5), cut in 1..64_usize,
        ) {
            let bytes: Vec<u8> = frames.iter().flat_map(bytes_of).collect();
            let pieces: Vec<&[u8]> = bytes.chunks(cut).collect();
            let (read, error) = read_all(&pieces, MAX_FRAME);
            prop_assert!(error.is_none(), "{error:?}");
            prop_assert_eq!(read, frames);
        }

        #[test]
        fn torn_frame_is_an_error_and_never_a_frame(frame in any_frame(), at in any::<prop::sample::Index>()) {
            let bytes = bytes_of(&frame);
            let torn = at.index(bytes.len());
            let (read, error) = read_all(&[&bytes[..torn]], MAX_FRAME);
            prop_assert!(read.is_empty());
            match error {
                None => prop_assert_eq!(torn, 0),
                Some(FrameError::CutOff { received }) => prop_assert_eq!(received, torn),
                Some(other) => prop_assert!(false, "{other}"),
            }
        }

        #[test]
        fn bytes_of_a_stranger_never_bring_the_reader_down(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            read_all(&[&bytes], 4096);
        }
    }

    #[test]
    fn too_large_a_frame_is_refused_with_its_size_before_it_comes() {
        let (_, error) = read_all(&[&[0, 0, 0, 64]], MAX_FRAME);
        assert_eq!(
            error.unwrap().to_string(),
            "a frame of 1073741824 bytes is larger than the 536870912 bytes that are allowed"
        );
        let (_, error) = read_all(&[&bytes_of(&Frame { kind: 1, fields: vec![vec![7; 100]] })], 64);
        assert_eq!(
            error.unwrap().to_string(),
            "a frame of 105 bytes is larger than the 64 bytes that are allowed"
        );
    }

    #[test]
    fn too_large_a_frame_is_not_built() {
        let field = vec![0_u8; MAX_FRAME / 8];
        let fields = [field.as_slice(); 8];
        assert!(matches!(encode(32, &fields), Err(FrameError::TooLarge { size: 536_870_945, .. })));
    }

    #[test]
    fn field_over_the_end_and_frame_without_a_kind_are_malformed() {
        for bytes in [vec![0, 0, 0, 0], vec![3, 0, 0, 0, 1, 0, 0], vec![6, 0, 0, 0, 1, 2, 0, 0, 0, 9]] {
            let (read, error) = read_all(&[&bytes], MAX_FRAME);
            assert!(read.is_empty());
            assert!(matches!(error, Some(FrameError::Malformed { .. })), "{error:?}");
        }
    }

    #[tokio::test]
    async fn dropped_read_loses_nothing() {
        let frame = Frame { kind: 50, fields: vec![b"attributes".to_vec(), vec![1; 100_000]] };
        let bytes = bytes_of(&frame);
        let (mut writer, read_end) = tokio::io::duplex(1 << 20);
        let mut reader = FrameReader::new(read_end, MAX_FRAME);
        for piece in bytes.chunks(33_333) {
            assert!(reader.next().now_or_never().is_none());
            writer.write_all(piece).await.unwrap();
        }
        assert_eq!(reader.next().await.unwrap(), Some(frame));
        drop(writer);
        assert!(reader.next().await.unwrap().is_none());
    }
}
