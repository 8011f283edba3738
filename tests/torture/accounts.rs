//! The counts, kept by triggers and read with plain SQL.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, SqliteConnection};

use super::fleet::Fleet;
use super::ground::Ground;
use super::load::{Load, ending};

/// Only a failing test waits so long for the end.
const DEADLINE: Duration = Duration::from_secs(240);
const LOOK: Duration = Duration::from_millis(100);

/// Each transactional effect leaves a line here, however often it happens.
const LEDGER: &str = "
    create table ledger (effect text not null, what text not null);
    create trigger ledger_marked after update of is_deleted on receipts
        when new.is_deleted and not old.is_deleted
        begin insert into ledger values ('receipt marked', new.id); end;
    create trigger ledger_unmarked after update of is_deleted on receipts
        when old.is_deleted and not new.is_deleted
        begin insert into ledger values ('receipt unmarked', new.id); end;
    create trigger ledger_dropped after delete on attachments
        begin insert into ledger values ('attachment dropped', old.id); end;
    create trigger ledger_condemned after insert on tikkun_cleanup_outbox
        begin insert into ledger values ('object condemned', new.key); end;";

/// The same for the final ends of plain jobs, in the queue's own file.
const LEDGER_OF_ENDS: &str = "
    create table ledger (job text not null);
    create trigger ledger_ended after update of ended_at on tikkun_jobs
        when new.ended_at is not null and new.id like 'plain-%'
        begin insert into ledger values (new.id); end;";

pub async fn watch_effects(ground: &Ground) {
    ground.run(LEDGER).await;
    let mut queue = ground.connect("queue.db").await;
    sqlx::raw_sql(LEDGER_OF_ENDS).execute(&mut queue).await.unwrap();
}

/// Waits until nothing is under way any more.
pub async fn all_has_ended(ground: &Ground, fleet: &Fleet<'_>, load: &Load) {
    let began = Instant::now();
    let mut queue = ground.connect("queue.db").await;
    // Objects that a dead process had claimed are held back for a minute; the test lets it pass at once.
    let rush = "update tikkun_cleanup_outbox set next_try_at = '2026-01-01 00:00:00.000000'
                where last_error is null";
    let left = "select (select count(*) from background_jobs where status in ('queued', 'running', 'paused'))
                     + (select count(*) from tikkun_cleanup_outbox)";
    loop {
        fleet.look_after();
        let open = one(&mut queue, "select count(*) from tikkun_jobs where ended_at is null").await;
        if open == 0 {
            ground.run(rush).await;
            if ground.number(left).await == 0 {
                return;
            }
        }
        assert!(
            began.elapsed() < DEADLINE,
            "waited in vain for the end of {} jobs: {open} are open; the logs' ends:\n{}",
            load.plain.len(),
            fleet.tails()
        );
        tokio::time::sleep(LOOK).await;
    }
}

/// What is found in the end.
pub struct Accounts {
    pub finished: usize,
    pub failed: usize,
    /// Enqueued, and not to be found in a final state.
    pub lost: Vec<String>,
    /// In another final state than they should be, or with another's result.
    pub wrong: Vec<String>,
    /// How often plain jobs were delivered, and how often that was more than their first.
    pub deliveries: i64,
    pub redeliveries: i64,
    /// Attempts of all deletions together.
    pub attempts: i64,
    /// Effects by name: how many, and how many of them more than once.
    pub effects: BTreeMap<String, (i64, i64)>,
    /// Deletions whose cursor is not at the end of what they covered.
    pub short_cursors: i64,
    /// Deletions whose queue entry did not end as finished.
    pub bad_carriers: i64,
    pub miscounted_queues: i64,
    pub deletions: i64,
    pub receipts: i64,
    pub files: usize,
}

impl Accounts {
    pub async fn take(ground: &Ground, load: &Load) -> Self {
        let mut queue = ground.connect("queue.db").await;
        let entries: BTreeMap<_, _> =
            ground.entries().await.into_iter().map(|entry| (entry.id.clone(), entry)).collect();
        let (mut lost, mut wrong, mut finished, mut failed) = (Vec::new(), Vec::new(), 0, 0);
        for (number, job) in load.plain.iter().enumerate() {
            match entries.get(job.id.as_str()) {
                Some(entry) if entry.state == ending(number) => match entry.state.as_str() {
                    "finished" => finished += 1,
                    _ => failed += 1,
                },
                Some(entry) if ["finished", "failed"].contains(&entry.state.as_str()) => {
                    wrong.push(format!("{entry:?}"));
                }
                other => lost.push(format!("{}: {other:?}", job.id)),
            }
        }
        let plain = "from tikkun_jobs where id like 'plain-%'";
        let carriers = "from tikkun_jobs where queue = 'maintenance'";
        Self {
            finished,
            failed,
            lost,
            wrong,
            deliveries: one(&mut queue, &format!("select sum(attempt) {plain}")).await,
            redeliveries: one(
                &mut queue,
                // A job that fails three times by itself is delivered three times.
                &format!("select sum(attempt - iif(error = 'no luck yet', 3, 1)) {plain}"),
            )
            .await,
            attempts: ground.number("select sum(attempt) from tikkun_background_jobs").await,
            effects: effects(ground, &mut queue).await,
            short_cursors: ground
                .number(
                    "select count(*) from background_jobs j where status = 'completed'
                     and cursor ->> 'last_id' <> (select max(id) from receipts r where r.business_id = j.business_id)",
                )
                .await,
            bad_carriers: one(&mut queue, &format!("select count(*) {carriers} and state <> 'finished'")).await,
            miscounted_queues: one(&mut queue, MISCOUNTED).await,
            deletions: ground.number("select count(*) from background_jobs where status = 'completed'").await,
            receipts: load.tenants.iter().map(|tenant| tenant.receipts).sum(),
            files: ground.files(),
        }
    }

    /// What is not as it must be: something lost, twice, or left over.
    pub fn violations(&self) -> Vec<String> {
        let of = |effect: &str| self.effects.get(effect).map_or(0, |(all, _)| *all);
        let (dropped, condemned) = (of("attachment dropped"), of("object condemned"));
        let marked = of("receipt marked");
        let left = (self.short_cursors, self.bad_carriers, self.miscounted_queues);
        let all = [
            (!self.lost.is_empty(), format!("lost: {:#?}", self.lost)),
            (!self.wrong.is_empty(), format!("ended wrongly: {:#?}", self.wrong)),
            (marked != self.receipts, format!("{marked} receipts marked of {}", self.receipts)),
            (of("receipt unmarked") > 0, format!("unmarked: {:?}", self.effects)),
            (dropped != condemned, format!("{dropped} attachments dropped, {condemned} objects condemned")),
            (left != (0, 0, 0), format!("short cursors, bad carriers, miscounted queues: {left:?}")),
        ];
        let twice = self.effects.iter().filter(|(_, (_, twice))| *twice > 0);
        let twice = twice.map(|(effect, (_, twice))| format!("more than once: {effect}, {twice} times"));
        all.into_iter().filter_map(|(is_there, what)| is_there.then_some(what)).chain(twice).collect()
    }
}

/// Queues whose counts, kept by triggers, differ from what is there.
const MISCOUNTED: &str = "
    select count(*) from tikkun_queues q where (q.queued, q.scheduled, q.started, q.finished, q.failed) <>
        (select count(*) filter (where state = 'queued'), count(*) filter (where state = 'scheduled'),
                count(*) filter (where state = 'started'), count(*) filter (where state = 'finished'),
                count(*) filter (where state = 'failed') from tikkun_jobs where queue = q.name)";

async fn effects(ground: &Ground, queue: &mut SqliteConnection) -> BTreeMap<String, (i64, i64)> {
    let mut found = BTreeMap::new();
    for effect in ["receipt marked", "receipt unmarked", "attachment dropped", "object condemned"] {
        let of = format!("from ledger where effect = '{effect}'");
        let all = ground.number(format!("select count(*) {of}")).await;
        let different = ground.number(format!("select count(distinct what) {of}")).await;
        if all > 0 {
            found.insert(effect.to_owned(), (all, all - different));
        }
    }
    let ends = one(queue, "select count(*) from ledger").await;
    let different = one(queue, "select count(distinct job) from ledger").await;
    found.insert("job ended".to_owned(), (ends, ends - different));
    found
}

async fn one(connection: &mut SqliteConnection, sql: &str) -> i64 {
    sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(connection).await.unwrap()
}
