//! The bytes of a pickle, read from front to back and never past the end.

use crate::queue::rq::codec::refusal::Refusal;

pub struct Input<'a> {
    rest: &'a [u8],
    length: usize,
}

impl<'a> Input<'a> {
    pub fn new(payload: &'a [u8]) -> Self {
        Self { rest: payload, length: payload.len() }
    }

    /// The number of bytes read.
    pub fn position(&self) -> usize {
        self.length - self.rest.len()
    }

    /// This many bytes; if there are fewer, it is refused before anything is allocated.
    pub fn take(&mut self, count: u64) -> Result<&'a [u8], Refusal> {
        let split = usize::try_from(count).ok().and_then(|count| self.rest.split_at_checked(count));
        let (taken, rest) = split.ok_or_else(|| {
            Refusal::new(format!("it is cut off: {count} bytes announced, {} left", self.rest.len()))
        })?;
        self.rest = rest;
        Ok(taken)
    }

    /// The next bytes, as an array.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Refusal> {
        let cut = || Refusal::new("it is cut off in the middle of a value");
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or_else(cut)?;
        self.rest = rest;
        Ok(*taken)
    }

    pub fn byte(&mut self) -> Result<u8, Refusal> {
        self.array().map(|[byte]| byte)
    }

    pub fn u16(&mut self) -> Result<u16, Refusal> {
        self.array().map(u16::from_le_bytes)
    }

    pub fn u32(&mut self) -> Result<u32, Refusal> {
        self.array().map(u32::from_le_bytes)
    }

    pub fn i32(&mut self) -> Result<i32, Refusal> {
        self.array().map(i32::from_le_bytes)
    }

    pub fn u64(&mut self) -> Result<u64, Refusal> {
        self.array().map(u64::from_le_bytes)
    }

    pub fn f64(&mut self) -> Result<f64, Refusal> {
        self.array().map(f64::from_be_bytes)
    }

    /// Checks a length without reading.
    pub fn announce(&self, count: u64) -> Result<(), Refusal> {
        Self { rest: self.rest, length: self.length }.take(count).map(|_| ())
    }

    /// Text of a known length, in bytes.
    pub fn text(&mut self, count: u64) -> Result<&'a str, Refusal> {
        let at = self.position();
        std::str::from_utf8(self.take(count)?).map_err(|error| {
            let at = at + error.valid_up_to();
            Refusal::new(format!("a text is no Unicode at byte {at} (a lone surrogate?)"))
        })
    }

    /// Text up to the end of its line.
    pub fn line(&mut self) -> Result<&'a str, Refusal> {
        let end = self.rest.iter().position(|byte| *byte == b'\n');
        let end = end.ok_or_else(|| Refusal::new("it is cut off in the middle of a name"))?;
        let text = self.text(end as u64)?;
        self.take(1)?;
        Ok(text)
    }
}
