//! Processes that are killed, crash or panic at a named point.

#[cfg(feature = "failpoints")]
mod crashes;
mod kills;
#[cfg(feature = "failpoints")]
mod panics;
#[cfg(feature = "failpoints")]
mod transitions;
