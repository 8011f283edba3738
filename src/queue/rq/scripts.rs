//! The atomic steps, each one script on the server: a round trip for many jobs, and nothing half done.

use redis::Script;

/// Script text behind the functions that all share, and behind those that only some do.
macro_rules! script {
    ($($part:literal),+) => {
        Script::new(concat!(
            include_str!("scripts/prelude.lua"),
            $(include_str!(concat!("scripts/", $part, ".lua"))),+
        ))
    };
}

macro_rules! scripts {
    ($($(#[$doc:meta])* $field:ident = $($part:literal),+;)*) => {
        /// Every script, ready to be called by its digest; the server is given the text when it does not know it.
        pub(super) struct Scripts {
            $($(#[$doc])* pub(super) $field: Script,)*
        }

        impl Scripts {
            pub(super) fn new() -> Self {
                Self { $($field: script!($($part),+),)* }
            }
        }
    };
}

scripts! {
    /// Puts jobs in.
    enqueue = "enqueue";
    /// Takes jobs for free slots.
    take = "take";
    /// Ends deliveries.
    settle = "proof", "settle";
    /// Tries, on keys of no job, whether the server does all that is needed.
    prove = "proof", "prove";
    /// What a process holds.
    held = "held";
    /// Makes or renews a lease.
    renew = "renew";
    /// Ends a lease.
    end_lease = "end_lease";
    /// Who lives.
    processes = "processes";
    /// Deliveries without a live process.
    orphans = "orphans";
    /// Moves due jobs.
    promote = "promote";
    /// Drops what has been kept long enough.
    expire = "expire";
    /// Forgets unique keys that nobody holds.
    free_keys = "free_keys";
    /// Lets go dependents that were too many for one script.
    release = "release";
    /// Drops what is beyond the budget.
    trim = "trim";
    /// Brings back what workers of others left behind.
    tend = "tend";
    /// Takes what is gone out of groups.
    tend_groups = "tend_groups";
    /// Takes back places under limits that nobody needs any more.
    tend_limits = "tend_limits";
    /// Takes one step of a schedule.
    mark_schedule = "mark_schedule";
    /// Takes a leadership.
    lead = "lead";
    /// Gives it up.
    resign = "resign";
    /// Tells who has it.
    leadership = "leadership";
    /// Takes a job out.
    cancel = "cancel";
    /// Puts ended jobs back.
    requeue = "requeue";
    /// Counts jobs by state.
    counts = "counts";
    /// Registers RQ workers.
    birth = "birth";
    /// Keeps them alive.
    beat = "beat";
    /// Notes that they were asked to leave.
    asked_to_leave = "asked_to_leave";
    /// Takes them off the registers.
    death = "death";
    /// Writes back what a server has forgotten of a process.
    write_back = "write_back";
    /// Whether something is to be brought back from the database.
    forgotten = "forgotten";
    /// Notes that it is back.
    brought_back = "brought_back";
}
