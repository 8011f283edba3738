//! Errors of ports: the kind decides what the caller does, the context names the thing.

use std::error::Error;
use std::fmt;

/// What the caller should do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// Out of reach: wait and try again. It says nothing about the request itself.
    Unavailable,
    /// A transient error (a deadlock, a serialisation failure, a busy response): the same may succeed soon.
    Retryable,
    /// The same will fail again until a user changes something.
    Permanent,
}

/// An error of a broker, a store or a blob store.
#[derive(Debug)]
pub struct Fault {
    kind: FaultKind,
    context: String,
    smaller_may_do: bool,
    refuses_writes: bool,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl Fault {
    /// A fault of `kind`; `context` says what was tried, with names and without secrets.
    pub fn new(kind: FaultKind, context: impl Into<String>) -> Self {
        Self { kind, context: context.into(), smaller_may_do: false, refuses_writes: false, source: None }
    }

    /// Adds the cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Records that a limit in time or size was hit, which less work at once may keep.
    #[must_use]
    pub fn at_a_limit(mut self) -> Self {
        self.smaller_may_do = true;
        self
    }

    /// Whether the same may succeed at once with less work in one piece.
    #[must_use]
    pub fn smaller_may_do(&self) -> bool {
        self.smaller_may_do
    }

    /// Records that the back end answers but lacks what this write needs, such as room on its disk.
    #[must_use]
    pub fn of_refused_writes(mut self) -> Self {
        self.refuses_writes = true;
        self
    }

    /// Whether the back end answers but cannot do the work, whatever the rows of the request.
    #[must_use]
    pub fn refuses_writes(&self) -> bool {
        self.refuses_writes
    }

    /// What the caller should do.
    #[must_use]
    pub fn kind(&self) -> FaultKind {
        self.kind
    }

    /// Whether waiting or retrying can help.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.kind != FaultKind::Permanent
    }

    /// The context and all causes, joined with `: `.
    #[must_use]
    pub fn chain(&self) -> String {
        causes(self)
    }
}

/// An error and its causes, joined with `: `. A cause whose text is already there is not repeated.
#[must_use]
pub fn causes(error: &(dyn Error + 'static)) -> String {
    let (mut text, mut cause) = (error.to_string(), error.source());
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.context)
    }
}

impl Error for Fault {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chain_names_every_cause_once() {
        let inner = Fault::new(FaultKind::Unavailable, "connect to queue.db").because("disk is gone");
        let fault = Fault::new(FaultKind::Unavailable, "fetch from `maintenance`").because(inner);
        assert_eq!(fault.chain(), "fetch from `maintenance`: connect to queue.db: disk is gone");
        assert!(fault.is_retryable());
    }
}
