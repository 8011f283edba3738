//! What comes in meanwhile: plain jobs with every outcome, and deletions that a web application asks for, some of which it
//! cancels again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tikkun::job::{Args, JobId, Limit, NewJob};

use super::Plan;
use super::ground::{FUNCTION, Tenant};
use super::place::Place;
use crate::torture::load::plain;

/// Receipts of each tenant.
const RECEIPTS: i64 = 200;
/// Plain jobs of one call.
const SLICE: usize = 25;
/// Every so many a deletion is canceled.
const CANCELED: usize = 4;

pub struct Load<'a> {
    place: &'a Place<'a>,
    span: Duration,
    pub plain: Vec<NewJob>,
    tenants: Vec<Tenant>,
    /// The row of each tenant's deletion.
    pub rows: Mutex<Vec<i64>>,
    /// Rows whose cancellation was answered.
    canceled: Mutex<BTreeSet<i64>>,
    /// When each entry was first put into the queue, or tried to be.
    put_in: Mutex<BTreeMap<JobId, Instant>>,
}

impl<'a> Load<'a> {
    /// Seeds the tenants.
    pub async fn new(place: &'a Place<'a>, plan: &Plan) -> Self {
        let Plan { seed, span, .. } = *plan;
        let mut chance = fastrand::Rng::with_seed(seed ^ 1);
        let mut tenants = Vec::new();
        for number in 1..=i64::try_from(span.as_secs() / plan.seconds_a_deletion).unwrap() {
            tenants.push(place.ground.tenant(number * 10, RECEIPTS).await);
        }
        let count = usize::try_from(plan.jobs_a_second * span.as_secs()).unwrap();
        let plain = (0..count).map(|number| plain(number, &mut chance)).collect();
        Self {
            place,
            span,
            plain,
            tenants,
            rows: Mutex::default(),
            canceled: Mutex::default(),
            put_in: Mutex::default(),
        }
    }

    /// Brings everything in, evenly over the time.
    pub async fn comes_in(&self) {
        tokio::join!(self.plain_jobs(), self.deletions());
    }

    async fn plain_jobs(&self) {
        if self.plain.is_empty() {
            return;
        }
        let slices = self.plain.chunks(SLICE);
        let mut beat = tokio::time::interval(self.span / u32::try_from(slices.len()).unwrap());
        for slice in slices {
            beat.tick().await;
            self.enqueue(slice).await;
        }
    }

    /// An id that is there already is passed over, so asking again is safe.
    async fn enqueue(&self, jobs: &[NewJob]) {
        let now = Instant::now();
        self.put_in.lock().extend(jobs.iter().map(|job| (job.id.clone(), now)));
        let ask = async || self.place.broker.enqueue(jobs).await.ok().map(drop);
        self.place.until("the queue to take jobs", ask).await;
    }

    async fn deletions(&self) {
        let mut beat = tokio::time::interval(self.span / u32::try_from(self.tenants.len()).unwrap());
        for (number, tenant) in self.tenants.iter().enumerate() {
            beat.tick().await;
            let row = self.request(tenant).await;
            let entry = NewJob {
                result_ttl: Some(Limit::Never),
                ..NewJob::new(format!("row-{row}"), "maintenance", FUNCTION, Args::positional([json!(row)]))
            };
            self.enqueue(&[entry]).await;
            let before = self.rows.lock().last().copied();
            self.rows.lock().push(row);
            if let Some(before) = before.filter(|_| number % CANCELED == 0) {
                self.cancel(before).await;
            }
        }
    }

    /// The row as the web application makes it. One whose commit was not answered is found again.
    async fn request(&self, tenant: &Tenant) -> i64 {
        let id = tenant.id;
        let sql = format!(
            "with made as (
                 insert into background_jobs (business_id, requested_by_user_id, job_type, status, created_at, updated_at)
                 select {id}, 5, 'delete_receipts_all', 'queued', now() at time zone 'utc', now() at time zone 'utc'
                 where not exists (select 1 from background_jobs where business_id = {id}) returning id)
             select id::bigint from made union select id from background_jobs where business_id = {id}"
        );
        self.place.until("a row of a deletion", async || self.application(&sql).await).await
    }

    /// As the web application cancels, without a word to the service.
    async fn cancel(&self, row: i64) {
        let sql = format!(
            "with done as (
                 update background_jobs set status = 'cancelled', finished_at = now() at time zone 'utc',
                        updated_at = now() at time zone 'utc'
                 where id = {row} and status in ('queued', 'running', 'paused') returning id)
             select count(*) from done"
        );
        // One that finds nothing came too late, or its answer was lost before.
        if self.place.until("a row to be canceled", async || self.application(&sql).await).await == 1 {
            self.canceled.lock().insert(row);
        }
    }

    /// Whether Redis has forgotten an entry with everything else.
    pub fn was_wiped(&self, entry: &JobId) -> bool {
        let wiped = *self.place.wiped.lock();
        wiped.is_some_and(|at| self.put_in.lock()[entry] < at)
    }

    /// A statement of the web application; none when the database does not take it just now.
    async fn application(&self, sql: &str) -> Option<i64> {
        let url = self.place.ground.server.url(&self.place.ground.database);
        let mut connection = PgConnection::connect(&url).await.ok()?;
        sqlx::raw_sql("set default_transaction_read_only = off; set lock_timeout = '1s'")
            .execute(&mut connection)
            .await
            .ok()?;
        let asked = sqlx::query_scalar(AssertSqlSafe(sql.to_owned()));
        match asked.fetch_one(&mut connection).await {
            Ok(answer) => Some(answer),
            Err(sqlx::Error::Io(_) | sqlx::Error::Protocol(_)) => None,
            Err(sqlx::Error::Database(error)) if !error.code().is_some_and(|code| code.starts_with("42")) => {
                None
            }
            Err(error) => panic!("{error}: {sql}"),
        }
    }

    /// Deletions that were canceled and are something else by now.
    pub async fn canceled_in_vain(&self, place: &Place<'_>) -> Vec<String> {
        let canceled = self.canceled.lock().clone();
        let mut found = Vec::new();
        for row in canceled {
            let status = place.ground.row(row).await.status;
            if status != "cancelled" {
                found.push(format!("row {row} was canceled, and is {status}"));
            }
        }
        found
    }

    /// Every deletion is done whole, unless it was canceled; a canceled one left nothing behind and took nothing with it.
    pub async fn deletions_are_whole(&self, place: &Place<'_>) {
        let (rows, canceled) = (self.rows.lock().clone(), self.canceled.lock().clone());
        for (tenant, row) in self.tenants.iter().zip(rows) {
            let found = place.ground.row(row).await;
            match found.status.as_str() {
                "completed" if !canceled.contains(&row) => place.ground.is_deleted(tenant, &found).await,
                "cancelled" => place.ground.neighbour_is_whole(tenant).await,
                _ => panic!("the deletion of {} ended in another way: {found:?}", tenant.id),
            }
        }
        place.ground.files_and_rows_agree().await;
    }
}
