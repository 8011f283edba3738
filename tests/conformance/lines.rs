//! The checklist.

use crate::ground::Ground;
use crate::python::{ALL, ONLY_3, SINCE_2, Version};
use crate::{control, failures, queues, results, running, workers};

/// A line of the checklist.
pub struct Line {
    pub number: u8,
    /// What its test is called.
    pub name: &'static str,
    /// What the table says.
    pub claim: &'static str,
    /// The versions that it is held against, with functions in Rust and in Python.
    pub on: &'static [Version],
    pub check: fn(Ground),
}

const fn holds(
    number: u8,
    (name, claim): (&'static str, &'static str),
    on: &'static [Version],
    check: fn(Ground),
) -> Line {
    Line { number, name, claim, on, check }
}

pub const LINES: &[Line] = &[
    holds(
        1,
        ("values_and_times", "a result comes back with its type; created ≤ enqueued ≤ started ≤ ended"),
        ALL,
        results::value_and_times,
    ),
    holds(
        2,
        (
            "finished_registry_and_ttl",
            "it is in the finished registry alone, and job and results live as long as asked",
        ),
        ALL,
        results::registry_and_ttl,
    ),
    holds(
        3,
        ("latest_result", "the latest result is successful and names worker and execution"),
        ALL,
        results::latest_result,
    ),
    holds(
        4,
        ("plain_values", "None, bool, huge int, float, text, lists and nested dicts come back as they were"),
        ALL,
        results::plain_values,
    ),
    holds(
        5,
        ("python_values", "datetimes, UUID and Decimal come back as they were"),
        ALL,
        results::python_values,
    ),
    holds(
        6,
        ("json_serializer", "the same with the JSON serializer; meta is unchanged"),
        ALL,
        results::json_serializer,
    ),
    holds(7, ("nothing_returned", "no return value is still a success"), ALL, results::nothing_returned),
    holds(
        8,
        ("result_ttl_0", "with result_ttl 0 nothing of the job is left, and the worker counts it"),
        ALL,
        results::dropped_at_once,
    ),
    holds(
        9,
        ("result_ttl_never", "with result_ttl -1 job and results are kept for ever"),
        ALL,
        results::kept_for_ever,
    ),
    holds(
        10,
        ("result_ttl_default", "without result_ttl the job lives 500 s"),
        ALL,
        results::kept_by_default,
    ),
    holds(
        11,
        ("blocked_client", "a client that waits for the result wakes when it is there"),
        ALL,
        results::blocked_client,
    ),
    holds(
        12,
        ("failure", "a failure ends with its message and is in the failed registry alone"),
        ALL,
        failures::failure_is_recorded,
    ),
    holds(
        13,
        ("failure_ttl", "failed jobs and their results expire together: as asked, else after a year"),
        ALL,
        failures::failure_ttl,
    ),
    holds(
        14,
        ("retries_used_up", "two retries are three runs, each counted, then failed"),
        ALL,
        failures::retries_are_used_up,
    ),
    holds(
        15,
        ("retry_intervals", "retries wait in the scheduled registry, each for its interval"),
        ALL,
        failures::retries_wait,
    ),
    holds(
        16,
        ("retry_succeeds", "a retry that succeeds ends in the finished registry alone"),
        ALL,
        failures::retry_succeeds,
    ),
    holds(17, ("timeout", "a job over its timeout fails and says so"), ALL, failures::timeout),
    holds(
        18,
        ("unknown_function", "an unknown function fails with its name; the worker lives on"),
        ALL,
        failures::unknown_function,
    ),
    holds(
        19,
        (
            "unreadable_payload",
            "a strange class or garbage fails readably, `data` unchanged; the worker lives on",
        ),
        ALL,
        failures::unreadable_payload,
    ),
    holds(
        20,
        ("requeue", "a failed job that is requeued runs again and has two results"),
        ALL,
        failures::requeue,
    ),
    holds(
        21,
        ("seen_running", "a running job shows worker, started registry and execution"),
        ALL,
        running::seen_running,
    ),
    holds(22, ("busy_worker", "its worker is busy with it, and idle afterwards"), ALL, running::worker_busy),
    holds(
        23,
        (
            "cleanup",
            "registry clean-up every 5 s, for 35 s, leaves a running job where it is; its heartbeat moves",
        ),
        ALL,
        running::cleanup_leaves_it,
    ),
    holds(
        24,
        ("stop_job", "stop-job stops it without a retry; dependents stay deferred"),
        ALL,
        control::stop_job,
    ),
    holds(25, ("stop_other_job", "stop-job for another job changes nothing"), ALL, control::stop_other_job),
    holds(26, ("kill_horse", "kill-horse fails the job; the worker goes on"), ALL, control::kill_horse),
    holds(
        27,
        ("cancel", "a canceled job never runs and is in the canceled registry alone"),
        ALL,
        running::cancel_waiting,
    ),
    holds(
        28,
        ("delete_running", "a job deleted while it runs leaves no key behind"),
        ALL,
        running::delete_running,
    ),
    holds(
        29,
        (
            "kills",
            "20 times kill -9, on one queue and on two: no job is ever in no list, each ends by its retries",
        ),
        ONLY_3,
        running::kills,
    ),
    holds(30, ("order", "100 jobs start in their order; one at the front starts first"), ALL, queues::order),
    holds(
        31,
        ("priority", "no job of the second queue starts while the first has one, with one slot or four"),
        ALL,
        queues::priority,
    ),
    holds(
        32,
        ("due", "a scheduled job starts when it is due; one due in the past at once"),
        ALL,
        queues::due,
    ),
    holds(
        33,
        ("dependents", "a dependent waits for its dependency; after a failure only where that is allowed"),
        ALL,
        queues::dependents,
    ),
    holds(
        34,
        ("two_dependencies", "a dependent of two, in different queues, runs once after both"),
        ALL,
        queues::two_dependencies,
    ),
    holds(
        35,
        ("ttl", "a job whose ttl passed never runs; the intermediate list is empty"),
        ALL,
        queues::ttl_of_waiting,
    ),
    holds(
        36,
        ("repeats", "a job repeated twice runs three times and ends finished"),
        SINCE_2,
        queues::repeats,
    ),
    holds(
        37,
        ("beside_python", "200 scheduled jobs beside a Python worker with a scheduler run once each"),
        ONLY_3,
        queues::beside_a_python_worker,
    ),
    holds(
        38,
        ("info", "`rq info` shows name, pid, state; queues and counters are right"),
        ALL,
        workers::info,
    ),
    holds(
        39,
        ("shutdown", "shutdown lets the job end; the worker takes no other and leaves"),
        ALL,
        control::shutdown,
    ),
    holds(
        40,
        (
            "terminated",
            "after SIGTERM the date of the request is shown, the job ends, the worker leaves; killed, it is gone in 90 s",
        ),
        ALL,
        control::terminated,
    ),
    holds(
        41,
        ("suspended", "suspended workers say so and start nothing until resumed"),
        ALL,
        control::suspended,
    ),
    holds(
        42,
        ("dashboard", "every page of rq-dashboard answers 200, before, during and after"),
        SINCE_2,
        workers::dashboard,
    ),
    holds(43, ("scheduler_pid", "the scheduler of a queue has a pid"), ALL, workers::scheduler_pid),
    holds(
        44,
        (
            "rate_limit",
            "jobs under a rate limit of one run one after another; a failure, a cancel, a death make room",
        ),
        ONLY_3,
        control::rate_limited,
    ),
];
