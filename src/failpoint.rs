//! Named points at which a test breaks a process. Without the feature `failpoints` they are nothing.
//!
//! The variable `FAILPOINTS` says what happens where, as in `job_runner.run=1*panic` or
//! `deletion.before_commit=2*off->return`: `panic` panics, `sleep(ms)` and `pause` stall, and `return`
//! kills the process as `kill -9` would.

/// Passes a named point.
#[cfg(feature = "failpoints")]
pub fn reach(name: &'static str) {
    fail::fail_point!(name, |_| kill_this_process());
}

/// Passes a named point.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub fn reach(_: &'static str) {}

/// Makes the points listen to the variable `FAILPOINTS`, for as long as the answer lives.
#[cfg(feature = "failpoints")]
#[must_use]
pub fn arm() -> impl Sized {
    fail::FailScenario::setup()
}

/// Makes the points listen to the variable `FAILPOINTS`: there are none in this build.
#[cfg(not(feature = "failpoints"))]
pub fn arm() -> impl Sized {}

#[cfg(feature = "failpoints")]
fn kill_this_process() {
    use rustix::process::{Signal, getpid, kill_process};
    while kill_process(getpid(), Signal::KILL).is_ok() {
        std::thread::yield_now();
    }
}
