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
    enqueue = "jobs/enqueue";
    /// Takes jobs for free slots.
    take = "jobs/take";
    /// Ends deliveries.
    settle = "proof", "jobs/settle";
    /// Tries, on keys of no job, whether the server does all that is needed.
    prove = "proof", "prove";
    /// What a process holds.
    held = "jobs/held";
    /// Makes or renews a lease.
    renew = "processes/renew";
    /// Ends a lease.
    end_lease = "processes/end_lease";
    /// Who lives.
    processes = "processes/processes";
    /// Deliveries without a live process.
    orphans = "processes/orphans";
    /// Moves due jobs.
    promote = "jobs/promote";
    /// Drops what has been kept long enough.
    expire = "jobs/expire";
    /// Forgets unique keys that nobody holds.
    free_keys = "jobs/free_keys";
    /// Lets go dependents that were too many for one script.
    release = "jobs/release";
    /// Drops what is beyond the budget.
    trim = "jobs/trim";
    /// Brings back what workers of others left behind.
    tend = "foreign/tend";
    /// Takes what is gone out of groups.
    tend_groups = "foreign/tend_groups";
    /// Takes back places under limits that nobody needs any more.
    tend_limits = "foreign/tend_limits";
    /// Takes one step of a schedule.
    mark_schedule = "jobs/mark_schedule";
    /// Takes a leadership.
    lead = "processes/lead";
    /// Gives it up.
    resign = "processes/resign";
    /// Tells who has it.
    leadership = "processes/leadership";
    /// Takes a job out.
    cancel = "jobs/cancel";
    /// Puts ended jobs back.
    requeue = "jobs/requeue";
    /// Counts jobs by state.
    counts = "jobs/counts";
    /// Registers RQ workers.
    birth = "processes/birth";
    /// Keeps them alive.
    beat = "processes/beat";
    /// Notes that they were asked to leave.
    asked_to_leave = "processes/asked_to_leave";
    /// Takes them off the registers.
    death = "processes/death";
    /// Writes back what a server has forgotten of a process.
    write_back = "processes/write_back";
    /// Whether something is to be brought back from the database.
    forgotten = "processes/forgotten";
    /// Notes that it is back.
    brought_back = "processes/brought_back";
}
