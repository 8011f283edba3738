//! How much a payload may cost before it is refused.

use super::refusal::Refusal;

/// Ceilings for what is read. Settings of the broker; the defaults suit payloads written by people's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes as stored.
    pub stored: usize,
    /// Bytes after decompression.
    pub plain: usize,
    /// Levels of nesting. At most 200 can be written back.
    pub depth: usize,
    /// Values, each repetition counted.
    pub values: usize,
    /// Bytes of memory, roughly, that building the values may take.
    pub memory: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { stored: 1 << 20, plain: 16 << 20, depth: 100, values: 500_000, memory: 64 << 20 }
    }
}

/// What is left of the limits while one payload is read.
#[derive(Debug)]
pub struct Budget {
    limits: Limits,
    values: usize,
    memory: usize,
}

/// A value in all the forms it passes through until it is an argument, with the slack of its list.
const VALUE: usize = 160;
/// What a dictionary adds for each of its entries, and what a tag costs: it is a dictionary of one.
const ENTRY: usize = 240;
const TAG: usize = 640;

/// What a value weighs beside its text.
#[derive(Clone, Copy, Debug)]
pub enum Weight {
    /// A value that JSON has.
    Plain,
    /// A value that needs a tag.
    Tagged,
    /// An entry of a dictionary, beside its key and value.
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

    /// Pays for memory.
    pub fn take(&mut self, bytes: usize) -> Result<(), Refusal> {
        self.memory = self.memory.checked_sub(bytes).ok_or_else(|| {
            Refusal::new(format!("its values would take more than {} bytes of memory", self.limits.memory))
        })?;
        Ok(())
    }

    /// Counts and pays for one value with so many bytes of text.
    pub fn value(&mut self, weight: Weight, text: usize) -> Result<(), Refusal> {
        self.count()?;
        let form = match weight {
            Weight::Plain => VALUE,
            Weight::Tagged => VALUE + TAG,
            Weight::Entry => ENTRY,
        };
        self.take(text.saturating_add(form))
    }

    /// One level further down.
    pub fn below(&self, depth: usize) -> Result<usize, Refusal> {
        depth
            .checked_sub(1)
            .ok_or_else(|| Refusal::new(format!("it is nested more than {} levels deep", self.limits.depth)))
    }
}
