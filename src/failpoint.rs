//! Named points at which tests break a process. Without the feature `failpoints` they do nothing.
//!
//! The variable `FAILPOINTS` sets what happens where, as in `job_runner.run=1*panic` or
//! `deletion.before_commit=2*off->return`: `panic` panics, `sleep(ms)` and `pause` stall, and `return` kills
//! the process as `kill -9` would.

/// Reaches a named point.
#[cfg(feature = "failpoints")]
pub fn reach(name: &'static str) {
    fail::fail_point!(name, |_| kill_this_process());
}

/// Reaches a named point, which does nothing in this build.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub fn reach(_: &'static str) {}

/// Applies the variable `FAILPOINTS` as long as the returned value exists.
#[cfg(feature = "failpoints")]
#[must_use]
pub fn arm() -> impl Sized {
    fail::FailScenario::setup()
}

/// Does nothing: this build has no failpoints.
#[cfg(not(feature = "failpoints"))]
pub fn arm() -> impl Sized {}

#[cfg(feature = "failpoints")]
fn kill_this_process() {
    use rustix::process::{Signal, getpid, kill_process};
    while kill_process(getpid(), Signal::KILL).is_ok() {
        std::thread::yield_now();
    }
}
