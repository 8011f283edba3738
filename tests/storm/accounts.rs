//! The counts, kept by triggers and read with plain SQL, by RQ's own program and in one look at all of Redis' lists.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use tikkun::job::{JobId, JobRecord, JobState};
use tikkun::queue::JobFilter;

use super::fleet::Fleet;
use super::ground::Ground;
use super::load::Load;
use super::place::Place;
use crate::lost_redis::registers;
use crate::torture::load::ending;

const LOOK: Duration = Duration::from_millis(200);

/// Each transactional effect leaves a line here, however often it happens.
const LEDGER: &str = "
    create table ledger (effect text not null, what text not null);
    create function ledger_receipt() returns trigger language plpgsql as $$ begin
        if new.is_deleted and not old.is_deleted then insert into ledger values ('receipt marked', new.id); end if;
        if old.is_deleted and not new.is_deleted then insert into ledger values ('receipt unmarked', new.id); end if;
        return null; end $$;
    create trigger ledger_receipt after update on receipts for each row execute function ledger_receipt();
    create function ledger_dropped() returns trigger language plpgsql as $$ begin
        insert into ledger values ('attachment dropped', old.id); return null; end $$;
    create trigger ledger_dropped after delete on attachments for each row execute function ledger_dropped();
    create function ledger_condemned() returns trigger language plpgsql as $$ begin
        insert into ledger values ('object condemned', new.key); return null; end $$;
    create trigger ledger_condemned after insert on tikkun_cleanup_outbox
        for each row execute function ledger_condemned();
    create table ledger_batches (job bigint not null, attempt bigint not null, process text not null);
    create function ledger_batch() returns trigger language plpgsql as $$ begin
        if new.processed > old.processed then
            insert into ledger_batches select new.id, attempt, current_setting('application_name')
            from tikkun_background_jobs where background_job_id = new.id;
        end if;
        return null; end $$;
    create trigger ledger_batch after update on background_jobs for each row execute function ledger_batch()";

/// Attempts of deletions under whose number more than one process has moved the cursor.
const TWO_WRITERS: &str = "
    select count(*) from (select from ledger_batches group by job, attempt having count(distinct process) > 1) as two";

pub async fn watch_effects(ground: &Ground<'_>) {
    ground.run(LEDGER).await;
}

/// Waits until nothing is under way any more; says what is, if that lasts for too long.
pub async fn all_has_ended(place: &Place<'_>, fleet: &Fleet<'_>, patience: Duration) -> Result<(), String> {
    let began = Instant::now();
    // Objects that a dead process had claimed are held back for a minute, and those that were refused for longer; the
    // test lets it pass at once.
    let rush = "update tikkun_cleanup_outbox set next_try_at = '2026-01-01'";
    let left = "select (select count(*) from background_jobs where status in ('queued', 'running', 'paused'))
                     + (select count(*) from tikkun_cleanup_outbox)";
    loop {
        let counts = place.broker.counts().await.unwrap();
        let open: u64 = counts.values().map(|one| one.queued + one.scheduled + one.started).sum();
        place.ground.run(rush).await;
        let rows = place.ground.number(left).await;
        if open == 0 && rows == 0 {
            return Ok(());
        }
        if began.elapsed() > patience {
            let (tails, left) = (fleet.tails(), what_is_left(place).await);
            let what = format!("not all has ended: {open} jobs and {rows} rows: {left:#?}");
            return Err(format!("{what}; the logs' ends:\n{tails}"));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The jobs and rows that have not ended, in words.
async fn what_is_left(place: &Place<'_>) -> Vec<String> {
    let open = [JobState::Queued, JobState::Scheduled, JobState::Started].map(Some);
    let mut left = Vec::new();
    for state in open {
        let filter = JobFilter { state, limit: 9, ..JobFilter::default() };
        let jobs = place.broker.search(&filter).await.map_or_else(|_| Vec::new(), |found| found.jobs);
        for JobRecord { id, kind, state, attempt, started_at, .. } in jobs {
            left.push(format!("{id} ({kind}) is {state} in attempt {attempt}, since {started_at:?}"));
        }
    }
    let mut connection = place.ground.connect().await;
    let rows = "select format('row %s is %s in attempt %s, at %s of %s, heartbeat %s, by %s', j.id, j.status, n.attempt,
                       j.processed, j.total, j.heartbeat_at, n.queue_job)
                from background_jobs j left join tikkun_background_jobs n on n.background_job_id = j.id
                where j.status in ('queued', 'running', 'paused')
                union all select format('object %s after %s tries: %s', key, attempts, last_error) from tikkun_cleanup_outbox";
    left.extend(sqlx::query_scalar::<_, String>(rows).fetch_all(&mut connection).await.unwrap());
    left
}

/// What is found in the end.
pub struct Accounts {
    pub finished: usize,
    pub failed: usize,
    /// Put in, and not to be found in a final state.
    pub lost: Vec<String>,
    /// Forgotten by Redis, with everything else.
    pub wiped: usize,
    /// In another final state than they should be.
    pub wrong: Vec<String>,
    /// In no list of Redis, or in two.
    pub astray: Vec<String>,
    /// Deliveries of plain jobs beyond what each needed.
    pub redeliveries: u64,
    /// Deliveries that are noted as under way, but for those of schedules.
    pub under_way: usize,
    /// Attempts of deletions with more than one writer.
    pub two_writers: i64,
    /// Effects by name: how many, and how many of them more than once.
    pub effects: BTreeMap<String, (i64, i64)>,
    /// Deletions by status.
    pub deletions: BTreeMap<String, i64>,
    /// Starts of all deletions together.
    pub attempts: i64,
    /// What RQ's own program finds in the registries of the queue of plain jobs: finished, failed, started, deferred,
    /// scheduled, and what waits.
    pub by_rq: [u64; 6],
}

impl Accounts {
    pub async fn take(place: &Place<'_>, load: &Load<'_>) -> Self {
        let (mut lost, mut wrong, mut finished, mut failed, mut redeliveries) = (vec![], vec![], 0, 0, 0);
        let mut wiped = 0;
        for (number, job) in load.plain.iter().enumerate() {
            let found = place.broker.job(&job.id).await.unwrap();
            if found.is_none() && load.was_wiped(&job.id) {
                wiped += 1;
                continue;
            }
            let Some(found) = found else {
                lost.push(job.id.to_string());
                continue;
            };
            // The last kind fails three times by itself.
            let needs = if number % 10 == 9 { 3 } else { 1 };
            redeliveries += u64::from(found.attempt).saturating_sub(needs);
            match found.state {
                JobState::Finished | JobState::Failed if found.state.as_str() != ending(number) => {
                    wrong.push(format!("{found:?}"));
                }
                JobState::Finished => finished += 1,
                JobState::Failed => failed += 1,
                _ => lost.push(format!("{found:?}")),
            }
        }
        let carriers =
            load.rows.lock().iter().map(|row| JobId::from(format!("row-{row}"))).collect::<Vec<_>>();
        let entries = load.plain.iter().map(|job| &job.id).chain(&carriers);
        let ids: Vec<_> = entries.filter(|id| !load.was_wiped(id)).map(ToString::to_string).collect();
        let url = place.redis.lock().url();
        let seen = registers::look(&mut registers::connect(&url).await, &ids).await;
        let statuses = ["queued", "running", "paused", "completed", "failed", "cancelled"];
        let mut deletions = BTreeMap::new();
        for status in statuses {
            let count = place
                .ground
                .number(format!("select count(*) from background_jobs where status = '{status}'"))
                .await;
            deletions.insert(status.to_owned(), count);
        }
        Self {
            finished,
            failed,
            lost,
            wiped,
            wrong,
            astray: seen.astray,
            redeliveries,
            // Schedules come due even now.
            under_way: seen.deliveries.keys().filter(|member| !member.starts_with("cron-")).count(),
            two_writers: place.ground.number(TWO_WRITERS).await,
            effects: effects(&place.ground).await,
            deletions,
            attempts: place
                .ground
                .number("select coalesce(sum(attempt), 0)::bigint from tikkun_background_jobs")
                .await,
            by_rq: by_rq(place),
        }
    }

    /// What is not as it must be: something lost, twice, or left over.
    pub fn violations(&self) -> Vec<String> {
        let of = |effect: &str| self.effects.get(effect).copied().unwrap_or_default();
        let twice = |effect: &&str| of(effect).1 > 0;
        let (finished, failed) = (self.finished as u64, self.failed as u64);
        let (dropped, condemned) = (of("attachment dropped").0, of("object condemned").0);
        let expected = [finished, failed, 0, 0, 0, 0];
        let all = [
            (!self.lost.is_empty(), format!("lost: {:#?}", self.lost)),
            (!self.wrong.is_empty(), format!("ended wrongly: {:#?}", self.wrong)),
            (!self.astray.is_empty(), format!("not in exactly one list: {:#?}", self.astray)),
            (self.under_way > 0, format!("{} deliveries are under way", self.under_way)),
            (EFFECTS.iter().any(twice), format!("more than once: {:?}", self.effects)),
            (of("receipt unmarked").0 > 0, format!("unmarked: {:?}", self.effects)),
            (dropped != condemned, format!("{dropped} attachments dropped, {condemned} objects condemned")),
            (self.two_writers > 0, format!("{} attempts of deletions with two writers", self.two_writers)),
            (self.by_rq != expected, format!("RQ counts {:?}, and not {expected:?}", self.by_rq)),
        ];
        all.into_iter().filter_map(|(is_there, what)| is_there.then_some(what)).collect()
    }
}

const EFFECTS: [&str; 4] = ["receipt marked", "receipt unmarked", "attachment dropped", "object condemned"];

async fn effects(ground: &Ground<'_>) -> BTreeMap<String, (i64, i64)> {
    let mut found = BTreeMap::new();
    for effect in EFFECTS {
        let of = format!("from ledger where effect = '{effect}'");
        let all = ground.number(format!("select count(*) {of}")).await;
        let different = ground.number(format!("select count(distinct what) {of}")).await;
        if all > 0 {
            found.insert(effect.to_owned(), (all, all - different));
        }
    }
    found
}

/// The queue of plain jobs as RQ 2 sees it.
fn by_rq(place: &Place<'_>) -> [u64; 6] {
    let python = Path::new(env!("CARGO_TARGET_TMPDIR")).join("rq2/bin/python");
    let client = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rq/client.py");
    let url = format!("unix://{}", place.redis.lock().socket().display());
    let words = ["registries", "--queue", "default", "--redis", &url];
    let done = Command::new(python).arg(client).args(words).output().unwrap();
    let document: Value = serde_json::from_slice(&done.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&done.stderr)));
    let count = |name: &str| document["registries"][name]["count"].as_u64().unwrap();
    let [finished, failed, started, deferred, scheduled] =
        ["finished", "failed", "started", "deferred", "scheduled"].map(count);
    let waiting = document["queued"].as_array().unwrap().len() as u64;
    [finished, failed, started, deferred, scheduled, waiting]
}
