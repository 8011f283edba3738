//! The limits of a payload, beyond which it is refused.

use super::refusal::Refusal;

/// Limits for decoding, from the broker's settings; the defaults suit payloads of normal code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Stored bytes.
    pub stored: usize,
    /// Bytes after decompression.
    pub plain: usize,
    /// Levels of nesting. Values deeper than 200 levels cannot be written back.
    pub depth: usize,
    /// The number of values, with every repetition counted.
    pub values: usize,
    /// The approximate memory for building the values, in bytes.
    pub memory: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { stored: 1 << 20, plain: 16 << 20, depth: 100, values: 500_000, memory: 64 << 20 }
    }
}

/// The remaining limits while one payload is decoded.
#[derive(Debug)]
pub struct Budget {
    limits: Limits,
    values: usize,
    memory: usize,
}

/// The memory of a value in all forms until it is an argument, with the spare capacity of its list.
const VALUE: usize = 160;
/// The memory of a dictionary entry, and of a tag, which is a dictionary with one entry.
const ENTRY: usize = 240;
const TAG: usize = 640;

/// The memory of a value besides its text.
#[derive(Clone, Copy, Debug)]
pub enum Weight {
    /// A value that JSON has.
    Plain,
    /// A value that needs a tag.
    Tagged,
    /// An entry of a dictionary, besides its key and value.
    Entry,
}

impl Budget {
    pub fn new(limits: &Limits) -> Self {
        Self { limits: *limits, values: limits.values, memory: limits.memory }
    }

    /// The deepest nesting.
    pub fn depth(&self) -> usize {
        self.limits.depth
    }

    /// Counts one value or reference.
    pub fn count(&mut self) -> Result<(), Refusal> {
        self.values = self.values.checked_sub(1).ok_or_else(|| {
            Refusal::new(format!("it holds more than {} values, repetitions counted", self.limits.values))
        })?;
        Ok(())
    }

    /// Subtracts memory.
    pub fn take(&mut self, bytes: usize) -> Result<(), Refusal> {
        self.memory = self.memory.checked_sub(bytes).ok_or_else(|| {
            Refusal::new(format!("its values would take more than {} bytes of memory", self.limits.memory))
        })?;
        Ok(())
    }

    /// Counts one value, and subtracts its memory with this many bytes of text.
    pub fn value(&mut self, weight: Weight, text: usize) -> Result<(), Refusal> {
        self.count()?;
        let form = match weight {
            Weight::Plain => VALUE,
            Weight::Tagged => VALUE + TAG,
            Weight::Entry => ENTRY,
        };
        self.take(text.saturating_add(form))
    }

    /// Goes one level deeper.
    pub fn below(&self, depth: usize) -> Result<usize, Refusal> {
        depth
            .checked_sub(1)
            .ok_or_else(|| Refusal::new(format!("it is nested more than {} levels deep", self.limits.depth)))
    }
}
