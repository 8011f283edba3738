//! The atomic steps, each a script on the server: one round trip for many jobs, and all or nothing.

use redis::Script;

/// The text of a script: first the shared functions, then those of some scripts, then its own.
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
        /// All scripts, called by their digests; the server gets the text if it does not know a digest.
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
    /// Enqueues jobs.
    enqueue = "jobs/enqueue";
    /// Settles deliveries, and takes jobs for free slots.
    exchange = "proof", "jobs/settle", "jobs/take", "jobs/exchange";
    /// Checks, on keys of no job, that the server does everything that is needed.
    prove = "proof", "prove";
    /// Lists the deliveries of a process.
    held = "jobs/held";
    /// Creates or renews a lease.
    renew = "processes/renew";
    /// Ends a lease.
    end_lease = "processes/end_lease";
    /// Lists the live processes.
    processes = "processes/processes";
    /// Lists deliveries without a live process.
    orphans = "processes/orphans";
    /// Moves due jobs.
    promote = "jobs/promote";
    /// Deletes expired jobs.
    expire = "jobs/expire";
    /// Deletes unique keys that are not held.
    free_keys = "jobs/free_keys";
    /// Releases dependents that were too many for one script.
    release = "jobs/release";
    /// Deletes jobs beyond the budget.
    trim = "jobs/trim";
    /// Takes care of jobs that foreign workers abandoned.
    tend = "foreign/tend";
    /// Removes deleted jobs from groups.
    tend_groups = "foreign/tend_groups";
    /// Frees places under rate limits that are not needed any more.
    tend_limits = "foreign/tend_limits";
    /// Takes one step of a schedule.
    mark_schedule = "jobs/mark_schedule";
    /// Takes or renews a leader lease.
    lead = "processes/lead";
    /// Gives up a leader lease.
    resign = "processes/resign";
    /// Returns the state of a leader lease.
    leadership = "processes/leadership";
    /// Cancels a job.
    cancel = "jobs/cancel";
    /// Puts ended jobs back into their queues.
    requeue = "jobs/requeue";
    /// Counts jobs by state.
    counts = "jobs/counts";
    /// Registers RQ workers.
    birth = "processes/birth";
    /// Writes heartbeats of RQ workers.
    beat = "processes/beat";
    /// Records that workers were asked to leave.
    asked_to_leave = "processes/asked_to_leave";
    /// Removes workers from the registries.
    death = "processes/death";
    /// Restores the lost data of a process.
    write_back = "processes/write_back";
    /// Returns the mark of a memory whose data must be restored from the database.
    forgotten = "processes/forgotten";
    /// Records that the data is restored.
    brought_back = "processes/brought_back";
}
