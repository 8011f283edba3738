//! Named points at which tests break a process. Without the feature `failpoints` they do nothing.
//!
//! The variable `FAILPOINTS` sets what happens where, as in `job_runner.run=1*panic` or
//! `deletion.before_commit=2*off->return`: `panic` panics, `sleep(ms)` and `pause` stall, and `return` kills
//! the process as `kill -9` would.
//!
//! A check of the service can be switched off by its name, too, as in `check.fence=return`. Then what it prevents must be
//! found by the tests that look for it: otherwise they would prove nothing.

/// Reaches a named point.
#[cfg(feature = "failpoints")]
pub fn reach(name: &'static str) {
    fail::fail_point!(name, |_| kill_this_process());
}

/// Reaches a named point, which does nothing in this build.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub fn reach(_: &'static str) {}

/// Whether this check of the service is switched off.
#[cfg(feature = "failpoints")]
#[must_use]
pub fn is_off(check: &'static str) -> bool {
    fail::fail_point!(check, |_| true);
    false
}

/// Checks cannot be switched off in this build.
#[cfg(not(feature = "failpoints"))]
#[must_use]
#[inline(always)]
pub fn is_off(_: &'static str) -> bool {
    false
}

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
