//! Derives findings from facts, without side effects. The order of the questions: does each back end answer,
//! does a process listen, is the queue paused, is a job lost.

use std::collections::BTreeSet;

use super::facts::{Facts, Queues};
use super::finding::{Finding, Severity, age, finding, whole_seconds};
use super::{described, job, leases, timekeeping};
use crate::job::QueueName;
use crate::operations::{CleanupAlarm, cleanup_alarm};
use crate::queue::{ProcessRecord, Risk};
use crate::runtime::{ELSEWHERE_TO_DO, hindrances_in_words, risk_in_words};

/// All findings, the worst first, else in the order of the questions.
pub(super) fn diagnose(facts: &Facts) -> Vec<Finding> {
    let mut findings = unreachable(facts);
    if let Ok(queues) = &facts.queues {
        let concerned = concerned(facts, queues);
        findings.extend(concerned.iter().filter_map(|queue| unheard(facts, queues, queue)));
        findings.extend(concerned.iter().filter_map(|queue| paused(facts, queues, queue)));
        findings.extend(leases::not_renewed(facts, queues, &concerned));
        findings.extend(leases::lost(facts, queues, &concerned));
        findings.extend(unknown(facts, queues));
        findings.extend(risks(facts, queues, &concerned));
        findings.extend(timekeeping::scheduler(queues));
        findings.extend(timekeeping::schedules(facts, queues));
    }
    findings.extend(hindrances(facts));
    findings.extend(described::deletions(facts));
    findings.extend(outbox(facts));
    findings.extend(one_by_one(facts));
    findings.extend(elsewhere(facts));
    findings.extend(configuration(facts));
    findings.extend(job::nobody(facts));
    findings.extend(facts.patients.iter().flat_map(|patient| job::diagnose(facts, patient)));
    findings.sort_by_key(|finding| finding.severity);
    findings
}

/// The warnings about the configuration. They do not matter for a single job.
fn configuration(facts: &Facts) -> Vec<Finding> {
    let told = facts.warnings.iter().filter(|_| facts.asked.is_none()).map(|text| {
        finding(
            (Severity::Notice, "configuration"),
            "configuration",
            text,
            "correct the setting, or leave it if it is meant; `tikkun config` shows what is in force",
        )
    });
    told.collect()
}

fn unreachable(facts: &Facts) -> Vec<Finding> {
    let ports = [
        (
            "database",
            "database_unreachable",
            facts.database.as_ref().err(),
            "jobs wait until it answers and go on by themselves. A server: is it up, does the network reach it, are \
             user, password and database those that were meant (`DATABASE_URL`). A file: is it there (`--data`), may \
             this user write to it, is the disk full, does another program hold it locked. Tables of Tikkun: \
             `tikkun migrate`, or RUN_MIGRATIONS_ON_START=1",
        ),
        (
            "queue",
            "queue_unreachable",
            facts.queues.as_ref().err().filter(|unserved| !unserved.refuses).map(|unserved| &unserved.why),
            "nothing is fetched until it answers. Redis: is it up, does the network reach it, are user, password and \
             database those that were meant (`REDIS_URL`). A file: is it there (`--data`; `tikkun serve` makes it), \
             may this user write to it, is the disk full, does another program hold it locked",
        ),
        (
            "attachments",
            "attachments_unreachable",
            facts.attachments.as_ref().err(),
            "receipts are deleted all the same, but their objects stay in the clean-up outbox until the storage \
             is back; mount or make the folder again, or correct `attachments.folder`; for a bucket do what the \
             store's answer asks for (the check writes and deletes an object under `.tikkun-check/`)",
        ),
    ];
    let found = |(subject, code, error, to_do): (&str, _, Option<&String>, &str)| {
        Some(finding((Severity::Error, code), subject, error?, to_do))
    };
    ports.into_iter().filter_map(found).chain(refused(facts)).collect()
}

/// The queue answers, but refuses what jobs need.
fn refused(facts: &Facts) -> Option<Finding> {
    let unserved = facts.queues.as_ref().err().filter(|unserved| unserved.refuses)?;
    Some(finding(
        (Severity::Error, "queue_refuses"),
        "queue",
        &unserved.why,
        "it answers and refuses: mend what its answer names. What wants another server, user or password is set in \
         `REDIS_URL`; everything else is waited out, and jobs go on by themselves",
    ))
}

/// The relevant queues: those of the job in question, else all with waiting or started jobs, all paused ones,
/// and that of deletions.
fn concerned(facts: &Facts, queues: &Queues) -> BTreeSet<QueueName> {
    if facts.asked.is_some() {
        return facts.patients.iter().map(|patient| patient.queue(&facts.rules)).collect();
    }
    let used =
        queues.counts.iter().filter(|(_, counts)| counts.queued + counts.scheduled + counts.started > 0);
    let used = used.map(|(queue, _)| queue);
    used.chain(queues.paused.keys()).chain([&facts.rules.deletion_queue]).cloned().collect()
}

fn unheard(facts: &Facts, queues: &Queues, queue: &QueueName) -> Option<Finding> {
    let waiting = queues.waiting(queue);
    if queues.listened_to(queue)
        || queues.is_awaited(queue)
        || (waiting == 0 && *queue != facts.rules.deletion_queue)
    {
        return None;
    }
    let each = |process: &ProcessRecord| {
        let heard: Vec<_> = process.queues.iter().map(QueueName::as_str).collect();
        format!("process {} on {} listens to [{}]", process.pid, process.host, heard.join(", "))
    };
    let silent = queues.overdue.iter().map(|silent| &silent.overdue.process);
    let known: Vec<_> = queues.processes.iter().chain(silent).map(each).collect();
    let who = if known.is_empty() {
        "no process lives there, as far as the queue shows".to_owned()
    } else {
        known.join("; ")
    };
    let severity = if waiting > 0 { Severity::Error } else { Severity::Warning };
    Some(finding(
        (severity, "nobody_listens"),
        format!("queue {queue}"),
        format!("nobody listens to it, and {waiting} jobs wait there: {who}"),
        format!(
            "start `tikkun serve --queues {queue}`, or add `{queue}` to RQ_QUEUES of a worker and restart it"
        ),
    ))
}

fn paused(facts: &Facts, queues: &Queues, queue: &QueueName) -> Option<Finding> {
    let pause = queues.paused.get(queue)?;
    let since = age(facts.now, pause.since).unwrap_or_default();
    Some(finding(
        (Severity::Warning, "queue_paused"),
        format!("queue {queue}"),
        format!(
            "paused by {} {} ago; {} jobs wait there",
            pause.by,
            humantime::format_duration(since),
            queues.waiting(queue)
        ),
        format!("`tikkun queues resume {queue}` lets it go on"),
    ))
}

fn unknown(facts: &Facts, queues: &Queues) -> Vec<Finding> {
    if facts.asked.is_some() {
        return Vec::new();
    }
    let found = queues.unknown.iter().map(|unknown| {
        let queue = &unknown.queue;
        let ours = queues.listened_to(queue) || queues.is_awaited(queue) || facts.rules.own_queues.contains(queue);
        let severity = if ours { Severity::Warning } else { Severity::Notice };
        finding(
            (severity, "unknown_function"),
            format!("queue {queue}"),
            format!(
                "{} waiting jobs (of those looked at) ask for `{}`, which this build has not registered",
                unknown.jobs, unknown.function
            ),
            format!(
                "a worker of this build fails them: leave `{queue}` to the worker that has the function, correct \
                 the name, or take the jobs out with `tikkun jobs cancel`{}",
                if unknown.function.as_str().starts_with("tikkun.") {
                    "; functions of that name come with `diagnostics.enabled`"
                } else {
                    ""
                }
            ),
        )
    });
    found.collect()
}

fn risks(facts: &Facts, queues: &Queues, concerned: &BTreeSet<QueueName>) -> Vec<Finding> {
    let concerns = |risk: &&Risk| match risk {
        Risk::Misused { queue, .. } => queue.as_ref().is_none_or(|queue| concerned.contains(queue)),
        Risk::Evicts { .. } | Risk::Forgets => false,
    };
    let risks = queues.risks.iter().filter(|risk| facts.asked.is_none() || concerns(risk));
    let found = risks.map(|risk| {
        let subject = match risk {
            Risk::Misused { queue: Some(queue), .. } => format!("queue {queue}"),
            _ => "queue".to_owned(),
        };
        let (graded, to_do) = match risk {
            Risk::Evicts { .. } => (
                (Severity::Warning, "queue_evicts"),
                "give that Redis `maxmemory-policy noeviction`, and enough memory: then a full one refuses what is new \
                 instead of dropping what it has",
            ),
            Risk::Forgets => (
                (Severity::Notice, "queue_forgets"),
                "give that Redis `appendonly yes`, or live with it: deletions come back from the database by themselves",
            ),
            Risk::Misused { .. } => (
                (Severity::Error, "queue_not_served"),
                "find out who writes there (another program on the same Redis database?), then move the key away with \
                 `RENAME`: jobs go on by themselves",
            ),
        };
        finding(graded, subject, risk_in_words(risk), to_do)
    });
    found.collect()
}

fn one_by_one(facts: &Facts) -> Option<Finding> {
    let words = facts.attachments.as_ref().ok()?.as_ref().filter(|_| facts.asked.is_none())?;
    Some(finding(
        (Severity::Notice, "attachments_one_by_one"),
        "attachments",
        format!("the store takes no request that deletes many objects: {words}"),
        "every object costs a request of its own, so that clean-up takes longer and may cost more; allow bulk deletions \
         (DeleteObjects) there, or live with it",
    ))
}

fn elsewhere(facts: &Facts) -> Option<Finding> {
    let elsewhere = facts.elsewhere.as_ref().filter(|_| facts.asked.is_none())?;
    let graded = (Severity::Warning, "attachments_elsewhere");
    Some(finding(graded, "attachments", elsewhere.in_words(), ELSEWHERE_TO_DO))
}

fn hindrances(facts: &Facts) -> Option<Finding> {
    let found = Some(&facts.hindrances).filter(|found| !found.is_empty() && facts.asked.is_none())?;
    // Many triggers only set `updated_at`, so a trigger is no fault in itself.
    Some(finding(
        (Severity::Notice, "database_hinders"),
        "database",
        hindrances_in_words(found),
        "nothing, where they are meant so and touch no receipt that shall go; else change them, or give this service a \
         role that row security does not bind (`alter role … bypassrls`) or whose policies show and allow all rows; of views \
         and parts of tables, docs/postgresql.md says which can be locked, and which rights their tables need",
    ))
}

fn outbox(facts: &Facts) -> Option<Finding> {
    let outbox = facts.database.as_ref().ok()?;
    let CleanupAlarm::Old(waited) = cleanup_alarm(outbox, facts.rules.cleanup_age, facts.now)? else {
        let error = outbox.last_error.as_deref().unwrap_or("no error is noted");
        return Some(finding(
            (Severity::Warning, "outbox_refused"),
            "clean-up outbox",
            format!("the storage refuses to delete {} objects; the last error: {error}", outbox.refused),
            "mend what the error names; they are tried again by themselves, or at once with `tikkun outbox drain`; \
             `tikkun outbox park ID` sets aside what shall stay",
        ));
    };
    let error = outbox.last_error.as_ref().map_or_else(
        || "no try has failed, so nobody has tried".to_owned(),
        |error| format!("the last error: {error}"),
    );
    Some(finding(
        (Severity::Warning, "outbox_old"),
        "clean-up outbox",
        format!(
            "{} objects wait to be deleted, the oldest for {}; {error}",
            outbox.pending,
            humantime::format_duration(whole_seconds(waited))
        ),
        "make the storage take deletions again, and let a worker run: the Rescuer goes on trying; no receipt is \
         affected",
    ))
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::facts::{ForeignSchedule, Patient, Rules, Silent, UnknownFunction, Unserved};
    use std::time::Duration;

    use chrono::DateTime;

    use super::*;
    use crate::job::background::{BackgroundJob, Cursor, Note, Status};
    use crate::job::{Args, BackgroundJobId, BusinessId, JobRecord, JobState, NewJob, Progress};
    use crate::operations::{StuckAfter, stuck};
    use crate::queue::{LeadershipState, Overdue, PausedQueue, QueueCounts};
    use crate::store::OutboxSummary;

    /// A service without faults.
    pub(in crate::cli::doctor) fn well() -> Facts {
        let now = DateTime::UNIX_EPOCH + chrono::TimeDelta::days(1);
        let process = ProcessRecord {
            id: "p".into(),
            host: "here".into(),
            pid: 7,
            queues: vec!["maintenance".into()],
            started_at: now,
            lease_until: now,
        };
        let leader =
            LeadershipState { holder: "p".into(), ttl: Duration::from_secs(9), last_tick: Some(now) };
        Facts {
            warnings: Vec::new(),
            now,
            rules: Rules {
                deletion_queue: "maintenance".into(),
                own_queues: vec!["maintenance".into()],
                stuck_after: StuckAfter {
                    unpicked: Duration::from_secs(60),
                    silent: Duration::from_secs(120),
                },
                cleanup_age: Some(Duration::from_secs(3600)),
                reconcile_grace: Duration::from_secs(30),
                stuck_grace: Duration::from_secs(30),
                foreign_schedules: Vec::new(),
            },
            database: Ok(OutboxSummary::default()),
            hindrances: Vec::new(),
            deletions: Ok(Vec::new()),
            queues: Ok(Queues { processes: vec![process], scheduler: Some(leader), ..Queues::default() }),
            attachments: Ok(None),
            elsewhere: None,
            asked: None,
            patients: Vec::new(),
        }
    }

    fn sick(change: impl FnOnce(&mut Queues)) -> Vec<(Severity, &'static str)> {
        let mut facts = well();
        change(facts.queues.as_mut().unwrap());
        told(&facts)
    }

    fn told(facts: &Facts) -> Vec<(Severity, &'static str)> {
        diagnose(facts).iter().map(|finding| (finding.severity, finding.code)).collect()
    }

    #[test]
    fn a_service_that_works_has_no_findings() {
        assert_eq!(diagnose(&well()), []);
    }

    #[test]
    fn an_unheard_queue_is_an_error_only_when_something_waits() {
        let maintenance = || QueueName::from("maintenance");
        assert_eq!(sick(|queues| queues.processes.clear()), [(Severity::Warning, "nobody_listens")]);
        let waiting = QueueCounts { queued: 1, ..QueueCounts::default() };
        let all = sick(|queues| {
            queues.processes.clear();
            queues.counts.insert(maintenance(), waiting);
        });
        assert_eq!(all, [(Severity::Error, "nobody_listens")]);
        let used_once = QueueCounts { finished: 1, ..QueueCounts::default() };
        assert_eq!(sick(|queues| queues.counts.extend([("mail".into(), used_once)])), []);
    }

    #[test]
    fn what_cannot_be_reached_comes_first_and_hides_nothing_else() {
        let mut facts = well();
        facts.attachments = Err("gone".into());
        facts.queues.as_mut().unwrap().scheduler = None;
        let expected = [(Severity::Error, "attachments_unreachable"), (Severity::Warning, "no_scheduler")];
        assert_eq!(told(&facts), expected);
        facts.queues = Err(Unserved { why: "locked".into(), refuses: false });
        facts.database = Err("locked".into());
        let codes: Vec<_> = told(&facts).into_iter().map(|(_, code)| code).collect();
        assert_eq!(codes, ["database_unreachable", "queue_unreachable", "attachments_unreachable"]);
    }

    #[test]
    fn a_store_that_takes_objects_one_by_one_is_mentioned_with_its_words() {
        let facts = Facts { attachments: Ok(Some("501 NotImplemented".into())), ..well() };
        let found = diagnose(&facts);
        assert_eq!(told(&facts), [(Severity::Notice, "attachments_one_by_one")]);
        assert!(found[0].what.contains("501 NotImplemented"), "{found:?}");
    }

    #[test]
    fn a_queue_that_answers_and_refuses_is_not_called_unreachable() {
        let mut facts = well();
        facts.queues = Err(Unserved { why: "NOPERM".into(), refuses: true });
        assert_eq!(told(&facts), [(Severity::Error, "queue_refuses")]);
    }

    #[test]
    fn that_a_job_runs_is_believed_of_a_lease_and_of_no_status() {
        let mut facts = well();
        let new = NewJob::new("a", "maintenance", "f", Args::default());
        let entry = JobRecord {
            state: JobState::Started,
            attempt: 1,
            started_at: Some(facts.now),
            ..JobRecord::of(new, facts.now)
        };
        facts.asked = Some("a".to_owned());
        facts.patients = vec![Patient { entry: Some(entry.clone()), registered: true, ..Patient::default() }];
        assert_eq!(told(&facts), [(Severity::Error, "held_by_nobody")]);
        facts.queues.as_mut().unwrap().held.insert(entry.id.clone());
        assert_eq!(told(&facts), [(Severity::Notice, "runs")]);
        facts.queues.as_mut().unwrap().held.clear();
        facts.queues.as_mut().unwrap().lost.push(entry);
        let found = diagnose(&facts);
        assert_eq!(told(&facts), [(Severity::Error, "worker_died")]);
        assert!(found[0].to_do.contains("a live process brings it back"), "{found:?}");
        facts.queues.as_mut().unwrap().processes[0].queues = vec!["other".into()];
        let found = diagnose(&facts);
        let died = found.iter().find(|finding| finding.code == "worker_died").unwrap();
        assert!(died.to_do.contains("start a process that serves its queue"), "{found:?}");
    }

    /// A service whose only process did not renew its lease. It leads, and holds the started job `a`.
    fn overdue(lives: bool) -> Facts {
        let mut facts = well();
        let now = facts.now;
        let queues = facts.queues.as_mut().unwrap();
        let process = queues.processes.remove(0);
        let process = ProcessRecord { lease_until: now - chrono::TimeDelta::minutes(2), ..process };
        queues.scheduler.as_mut().unwrap().ttl = Duration::ZERO;
        queues.overdue = vec![Silent { overdue: Overdue { process, lives }, jobs: vec!["a".into()] }];
        let waiting = QueueCounts { queued: 3, started: 1, ..QueueCounts::default() };
        queues.counts.insert("maintenance".into(), waiting);
        facts
    }

    #[test]
    fn a_process_that_may_live_without_a_lease_is_named_and_nothing_else_is_blamed() {
        let job = |facts: &Facts, state| {
            let new = NewJob::new("a", "maintenance", "f", Args::default());
            JobRecord {
                state,
                attempt: u32::from(state == JobState::Started),
                started_at: Some(facts.now),
                enqueued_at: Some(facts.now - chrono::TimeDelta::hours(1)),
                due_at: Some(facts.now - chrono::TimeDelta::hours(1)),
                ..JobRecord::of(new, facts.now)
            }
        };
        let states = [JobState::Started, JobState::Queued, JobState::Scheduled];
        for lives in [true, false] {
            for asked in [None, Some(states[0]), Some(states[1]), Some(states[2])] {
                let mut facts = overdue(lives);
                if let Some(state) = asked {
                    facts.asked = Some("a".to_owned());
                    let entry = Some(job(&facts, state));
                    facts.patients = vec![Patient { entry, registered: true, ..Patient::default() }];
                }
                let found = diagnose(&facts);
                assert_eq!(told(&facts), [(Severity::Error, "lease_not_renewed")], "{asked:?}: {found:#?}");
                let Finding { subject, what, to_do, .. } = &found[0];
                assert_eq!(subject, "process 7 on here");
                assert!(what.contains("ran out 2m ago") && what.contains("1 jobs: `a`"), "{what}");
                assert_eq!(what.starts_with("it lives, and"), lives, "{what}");
                assert_eq!(to_do.contains("start `tikkun serve`"), !lives, "{to_do}");
            }
        }
        // A deletion that it runs, and whose row it may be unable to write as well.
        let mut facts = overdue(true);
        let mut deletion = patient(&facts, Status::Running, 600_000);
        deletion.entry = Some(job(&facts, JobState::Started));
        facts.patients = vec![deletion];
        assert_eq!(told(&facts), [(Severity::Error, "lease_not_renewed")]);
    }

    #[test]
    fn a_process_without_a_lease_stands_in_for_no_other() {
        let mut facts = overdue(true);
        let queues = facts.queues.as_mut().unwrap();
        queues.counts.insert("mail".into(), QueueCounts { queued: 1, ..QueueCounts::default() });
        queues.scheduler.as_mut().unwrap().holder = "another".into();
        let new = NewJob::new("b", "maintenance", "f", Args::default());
        queues.lost.push(JobRecord { attempt: 1, ..JobRecord::of(new, facts.now) });
        let found = diagnose(&facts);
        let codes: Vec<_> = found.iter().map(|finding| finding.code).collect();
        assert_eq!(codes, ["nobody_listens", "lease_not_renewed", "worker_died", "no_scheduler"]);
        assert!(found[0].what.contains("process 7 on here listens to [maintenance]"), "{}", found[0].what);
        assert!(!found[2].to_do.contains("start `tikkun serve`"), "{}", found[2].to_do);
    }

    #[test]
    fn a_lock_that_has_run_out_is_nobodys() {
        let over = |queues: &mut Queues| queues.scheduler.as_mut().unwrap().ttl = Duration::ZERO;
        assert_eq!(sick(over), [(Severity::Warning, "no_scheduler")]);
    }

    #[test]
    fn a_schedule_whose_jobs_would_fail_here_is_a_warning_and_any_other_a_notice() {
        let of = |queue: &str| {
            let mut facts = well();
            let schedule =
                ForeignSchedule { name: "weekly".into(), function: "f".into(), queue: queue.into() };
            facts.rules.foreign_schedules.push(schedule);
            told(&facts)
        };
        assert_eq!(of("maintenance"), [(Severity::Warning, "schedule_unknown_function")]);
        assert_eq!(of("python"), [(Severity::Notice, "schedule_unknown_function")]);
    }

    #[test]
    fn functions_of_queues_that_are_not_ours_are_only_mentioned() {
        let unknown = |queue: &str| UnknownFunction { queue: queue.into(), function: "f".into(), jobs: 1 };
        let of = |queue: &'static str| sick(move |queues| queues.unknown.push(unknown(queue)));
        assert_eq!(of("maintenance"), [(Severity::Warning, "unknown_function")]);
        assert_eq!(of("python"), [(Severity::Notice, "unknown_function")]);
    }

    #[test]
    fn a_broker_that_cannot_serve_is_an_error_one_that_drops_a_warning_and_one_that_forgets_a_notice() {
        let risky = |risk: Risk| sick(move |queues| queues.risks.push(risk));
        let evicts = Risk::Evicts { policy: "allkeys-lru".into() };
        assert_eq!(risky(evicts), [(Severity::Warning, "queue_evicts")]);
        assert_eq!(risky(Risk::Forgets), [(Severity::Notice, "queue_forgets")]);
        let misused = Risk::Misused { queue: Some("mail".into()), what: "a hash".into() };
        assert_eq!(risky(misused), [(Severity::Error, "queue_not_served")]);
    }

    #[test]
    fn a_pause_names_who_and_since_when() {
        let mut facts = well();
        let pause = PausedQueue { by: "Dana".into(), since: facts.now - chrono::TimeDelta::minutes(5) };
        facts.queues.as_mut().unwrap().paused.insert("mail".into(), pause);
        let found = diagnose(&facts);
        assert_eq!((found.len(), found[0].code), (1, "queue_paused"));
        assert!(found[0].what.contains("Dana 5m ago"), "{}", found[0].what);
    }

    #[test]
    fn the_outbox_is_old_after_its_alarm_and_not_before() {
        let mut facts = well();
        let since = |hours| Some(facts.now - chrono::TimeDelta::hours(hours));
        let young = OutboxSummary { pending: 1, oldest: since(1), ..OutboxSummary::default() };
        let old = OutboxSummary { oldest: since(2), ..young.clone() };
        facts.database = Ok(young);
        assert_eq!(told(&facts), []);
        facts.database = Ok(old);
        assert_eq!(told(&facts), [(Severity::Warning, "outbox_old")]);
        facts.database = Ok(OutboxSummary { pending: 1, refused: 1, ..OutboxSummary::default() });
        assert_eq!(told(&facts), [(Severity::Warning, "outbox_refused")]);
        facts.rules.cleanup_age = None;
        assert_eq!(told(&facts), [], "they stay on purpose");
    }

    /// A deletion that has had this status for so many milliseconds, with a job that was enqueued just now.
    fn patient(facts: &Facts, status: Status, millis: i64) -> Patient {
        let then = Some(facts.now - chrono::TimeDelta::milliseconds(millis));
        let row = BackgroundJob {
            id: BackgroundJobId(27),
            business_id: BusinessId(1),
            requested_by_user_id: None,
            job_type: "delete_receipts_all".into(),
            status,
            progress: Progress { total: 3, processed: 1, succeeded: 1, failed: 0 },
            last_error: None,
            cursor: Cursor::default(),
            created_at: then,
            updated_at: then,
            started_at: then,
            finished_at: None,
            heartbeat_at: then,
            note: Note::default(),
        };
        let job = NewJob::new("carrier", "maintenance", "f", Args::default());
        let enqueued_at = Some(facts.now);
        let entry = JobRecord { state: JobState::Queued, enqueued_at, ..JobRecord::of(job, facts.now) };
        Patient { row: Some(row), entry: Some(entry), registered: true }
    }

    #[test]
    fn a_deletion_is_stuck_here_exactly_when_the_page_says_so() {
        let table = [
            (Status::Queued, 60_000, None),
            (Status::Queued, 60_500, Some("workers_busy")),
            (Status::Running, 120_000, None),
            (Status::Running, 120_500, Some("no_heartbeat")),
        ];
        for (status, millis, code) in table {
            let mut facts = well();
            facts.patients = vec![patient(&facts, status, millis)];
            assert_eq!(told(&facts).first().map(|(_, code)| *code), code, "{status} for {millis} ms");
            let row = facts.patients[0].row.as_ref().unwrap();
            assert_eq!(stuck(row, facts.now, facts.rules.stuck_after).is_some(), code.is_some());
        }
    }
}
