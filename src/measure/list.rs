//! The list of all metrics. Its help texts are shown at `/metrics` and in `config/METRICS.md`.

use super::metric::{Kind, Metric};

/// Bounds in seconds for the time a job waits or runs: from an immediate start to one hour.
const JOB_SECONDS: &[f64] = &[0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0];
/// Bounds in seconds for one batch, which should take about half a second.
const BATCH_SECONDS: &[f64] = &[0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0];
/// Bounds in seconds for one call to a back end.
const CALL_SECONDS: &[f64] = &[0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0];

macro_rules! list {
    ($($group:literal {
        $($const:ident = $kind:ident $name:literal [$($label:literal),*] $(in $buckets:ident)? $help:literal;)*
    })*) => {
        $($(
            #[doc = $help]
            pub const $const: Metric = Metric {
                name: $name,
                kind: Kind::$kind,
                labels: &[$($label),*],
                help: $help,
                buckets: list!(@buckets $($buckets)?),
            };
        )*)*

        /// All metrics, by group.
        pub const GROUPS: &[(&str, &[&Metric])] = &[$(($group, &[$(&$const),*])),*];
    };
    (@buckets) => { &[] };
    (@buckets $buckets:ident) => { $buckets };
}

list! {
    "Jobs" {
        JOB_ATTEMPTS = Counter "tikkun_job_attempts_total" ["queue", "function", "outcome"]
            "Attempts at jobs that this process ended, by outcome: finished, failed and stopped end the job; retried \
             and returned (a continuation, a drain, a runner lost) put it back; forwarded sends it to another queue; \
             fenced came too late, for the job had been given to somebody else, and does not count.";
        JOB_RUN = Histogram "tikkun_job_run_seconds" ["queue", "function"] in JOB_SECONDS
            "Time from the moment a job was taken out of its queue until its attempt ended, before the end is written \
             down. The slot is held for so long.";
        JOB_WAIT = Histogram "tikkun_job_wait_seconds" ["queue", "function"] in JOB_SECONDS
            "Time from the moment a job last came into its queue until it was taken out to run; for a delayed job or \
             a retry from the moment it was due and the scheduler had put it there. On Redis the beginning is the \
             enqueuer's clock.";
        JOBS_IN_FLIGHT = Gauge "tikkun_jobs_in_flight" ["queue"]
            "Jobs that hold a slot of this process now.";
        SLOTS = Gauge "tikkun_slots" []
            "Jobs that this process can run at the same time, as configured.";
        JOBS_RESCUED = Counter "tikkun_jobs_rescued_total" ["outcome"]
            "Jobs of Tikkun processes that died, brought back by this process: returned to their queue, retried, or \
             failed by the policy of their kind.";
        JOBS_ABANDONED = Counter "tikkun_jobs_abandoned_total" ["outcome"]
            "Jobs that workers other than Tikkun left behind in Redis, looked after by this process: returned, \
             retried or failed.";
        WEBHOOKS = Counter "tikkun_webhooks_total" ["outcome"]
            "HTTP requests that jobs asked for at their end and that this process was to make: sent, which were answered \
             well; failed, which were not, or not in time; dropped, because too many waited. Each is made once. Those of \
             Python jobs are made by their own processes and not counted here.";
        JOBS_ENQUEUED_ANEW = Counter "tikkun_jobs_enqueued_anew_total" []
            "Entries made for rows of background_jobs that had lost theirs in the queue.";
    }
    "Queues" {
        QUEUE_JOBS = Gauge "tikkun_queue_jobs" ["queue", "state"]
            "Jobs that the queue holds, by state, as read for this scrape or a few seconds before; every process tells \
             the same: take the maximum over instances. Queues that no configuration names are summed up as other. \
             NaN while the queue cannot be read.";
        QUEUE_PAUSED = Gauge "tikkun_queue_paused" ["queue"]
            "1 while people have paused the queue. The same in every process.";
        QUEUE_WORKERS = Gauge "tikkun_queue_workers" ["queue"]
            "Tikkun processes with a live lease that listen to the queue. The same in every process.";
        QUEUE_OUTAGE = Gauge "tikkun_queue_outage" ["queue"]
            "1 while this process's listener waits because the queue answers with faults, 0 while it is served.";
        LEASE_HELD = Gauge "tikkun_lease_held" []
            "1 while this process holds the lease under which it takes jobs, 0 while it cannot. Not there in the role \
             api, which needs none.";
    }
    "Supervision" {
        ACTOR_RESTARTS = Counter "tikkun_actor_restarts_total" ["actor"]
            "Times an actor was begun again by its supervisor, by the actor's role.";
        ACTOR_PANICS = Counter "tikkun_actor_panics_total" ["actor"]
            "Panics and hangs of actors, by role. A panic inside a job is an outcome of that job and not counted here.";
        ACTORS = Gauge "tikkun_actors" ["actor"]
            "Actors in the supervision tree now, by role; supervisors are listed too.";
        ACTOR_MESSAGES = Gauge "tikkun_actor_messages" ["actor"]
            "Messages sent to an actor that have no answer yet: those in its mailbox and those it works on. Actix does \
             not tell the length of a mailbox; this counts where messages are sent. Progress reports, which want no \
             answer, are left out, and job runners, which hold one job each.";
        STUCK_THREADS = Gauge "tikkun_stuck_threads" []
            "Threads that a job's code has held for too long. Each was replaced; at service.max_stuck the process leaves.";
        STOPPED_LOOPS = Gauge "tikkun_stopped_loops" []
            "Loops that have not turned for too long; while there are any, /healthz answers 503.";
        READY = Gauge "tikkun_ready" []
            "1 while /readyz answers 200: started, not leaving, every loop turns, and what it needs serves it.";
    }
    "Deletions and outbox" {
        DELETIONS = Gauge "tikkun_deletions" ["status"]
            "Deletions of receipts that are not over, by the status of their row, at most 200. The same in every process.";
        DELETION_RECEIPTS_LEFT = Gauge "tikkun_deletion_receipts_left" []
            "Receipts that these deletions still have to look at. The same in every process.";
        DELETION_SILENCE = Gauge "tikkun_deletion_silence_seconds" []
            "Longest time for which a running deletion has not moved, as far as this process has seen: it looks only \
             when it is scraped. 0 when none runs.";
        RECEIPTS = Counter "tikkun_receipts_total" ["outcome"]
            "Receipts that committed batches of this process have marked as deleted, or have set aside because the \
             database refuses to change them.";
        BATCH_SECONDS_TAKEN = Histogram "tikkun_deletion_batch_seconds" [] in BATCH_SECONDS
            "Time of one batch's transaction, of those that were committed.";
        BATCH_FAULTS = Counter "tikkun_deletion_batch_faults_total" ["kind"]
            "Batches that were not committed, by what to do about it: unavailable (wait), retryable (try again), \
             permanent (a person is needed). Each is tried again until deletion.max_failures.";
        OBJECTS = Counter "tikkun_objects_total" ["outcome"]
            "Objects of condemned attachments: deleted, or failed, which are still there after a try and go back to \
             the outbox. One object may fail several times. Their bytes are not known here.";
        CERTIFICATES = Counter "tikkun_certificates_total" ["state"]
            "Certificates of deletions that this process issued: final, or provisional while storage still owes objects; \
             then a final one follows.";
        OUTBOX_OBJECTS = Gauge "tikkun_outbox_objects" ["state"]
            "Objects that are still to be deleted: waiting for their turn, refused by the storage at their last try, \
             or parked by a person. The same in every process.";
        OUTBOX_OLDEST = Gauge "tikkun_outbox_oldest_seconds" []
            "How long the oldest object that is to be tried has waited; 0 when there is none. The same in every process.";
    }
    "Scheduler" {
        SCHEDULER_LEADS = Gauge "tikkun_scheduler_leads" []
            "1 in the process whose scheduler leads, 0 in those that stand by. Not there in the role api.";
        SCHEDULER_LED = Gauge "tikkun_scheduler_led" []
            "1 while some process holds the scheduler's leadership. The same in every process.";
        SCHEDULER_TICK_AGE = Gauge "tikkun_scheduler_tick_age_seconds" []
            "Time since the leader last renewed its leadership. The same in every process.";
        SCHEDULE_LAG = Gauge "tikkun_schedule_lag_seconds" ["schedule"]
            "How long ago a schedule of this process's configuration was due without a decision; 0 when it is in time. \
             Of one that never ran nothing is known.";
    }
    "Back ends" {
        CALLS = Histogram "tikkun_backend_call_seconds" ["backend", "engine", "operation"] in CALL_SECONDS
            "Time of one call to the queue, the database or the storage that was answered, well or not. Calls that \
             wait for work on purpose are left out.";
        FAULTS = Counter "tikkun_backend_faults_total" ["backend", "engine", "operation", "kind"]
            "Calls that did not go well, and objects that one of them could not delete, by what to do about it: unavailable (out of reach), retryable (unlucky), \
             permanent (a person is needed), unanswered (given up before an answer, mostly at a deadline).";
        READABLE = Gauge "tikkun_backend_readable" ["backend"]
            "1 when the queue and the database answered the look for these figures, 0 when not: then what was to be \
             read there is NaN.";
    }
    "Python" {
        PYTHON_PROCESSES = Gauge "tikkun_python_processes" ["state"]
            "Python processes in which this process runs jobs, by state: ready for a job, busy with one, or leaving. \
             0 where no Python jobs are served.";
        PYTHON_STARTED = Counter "tikkun_python_processes_started_total" []
            "Python processes that were forked.";
        PYTHON_ENDED = Counter "tikkun_python_processes_ended_total" ["reason"]
            "Python processes that ended: left after their last job; jobs, lifetime, memory, timeout, dirty or other \
             when they gave that reason for leaving, dirty because of what a job left behind; died in any other way, \
             killed ones included.";
        PYTHON_FORK_FAILURES = Counter "tikkun_python_fork_failures_total" []
            "Forks of Python processes that failed. Each is tried again after a pause; jobs wait.";
        PYTHON_MEMORY = Gauge "tikkun_python_memory_bytes" []
            "Memory that the Python processes which run jobs have for themselves alone, in sum; what they share with \
             the process that forked them is left out. As it was a few seconds before. 0 where no Python jobs are \
             served.";
    }
    "Process" {
        BUILD_INFO = Gauge "tikkun_build_info" ["version", "role"]
            "Always 1: which version this is, and what it is there for.";
        START_TIME = Gauge "process_start_time_seconds" []
            "When this process started, in seconds since 1970.";
        RESIDENT_MEMORY = Gauge "process_resident_memory_bytes" []
            "Memory of this process that is in RAM. Only on Linux.";
        OPEN_FDS = Gauge "process_open_fds" []
            "Files and sockets that this process has open. Only on Linux.";
    }
}

/// All metrics.
pub fn all() -> impl Iterator<Item = &'static Metric> {
    GROUPS.iter().flat_map(|(_, metrics)| metrics.iter().copied())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_say_unit_and_kind_and_every_help_is_a_sentence() {
        let mut seen = BTreeSet::new();
        for metric in all() {
            let Metric { name, kind, help, buckets, .. } = *metric;
            assert!(seen.insert(name), "{name} is there twice");
            assert!(name.starts_with("tikkun_") || name.starts_with("process_"), "{name}");
            assert_eq!(name.ends_with("_total"), kind == Kind::Counter, "{name}");
            assert_eq!(!buckets.is_empty(), kind == Kind::Histogram, "{name}");
            assert!(buckets.is_sorted(), "{name}");
            assert!(help.ends_with('.') && !help.contains("  "), "{name}: {help}");
            for unit in ["_ms", "_millis", "_minutes", "_kilobytes"] {
                assert!(!name.contains(unit), "{name}");
            }
        }
    }

    #[test]
    fn no_label_can_name_a_tenant_a_job_or_a_key() {
        const CLOSED: [&str; 13] = [
            "queue",
            "function",
            "outcome",
            "state",
            "actor",
            "status",
            "kind",
            "schedule",
            "backend",
            "engine",
            "operation",
            "version",
            "reason",
        ];
        for metric in all() {
            for label in metric.labels {
                assert!(CLOSED.contains(label) || *label == "role", "{}: {label}", metric.name);
            }
        }
    }
}
