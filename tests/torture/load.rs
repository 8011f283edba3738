//! The load while processes die: plain jobs with every outcome, and deletions, requested in both ways.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tikkun::job::{Args, Limit, NewJob, Retries};
use tikkun::queue::Broker;

use super::client;
use super::fleet::Fleet;
use super::ground::{Ground, Tenant};
use super::plan::Plan;
use super::process::SECRET;

/// Plain jobs in one call.
const SLICE: usize = 25;

pub struct Load {
    pub plain: Vec<NewJob>,
    pub tenants: Vec<Tenant>,
    broker: Arc<dyn Broker>,
    span: Duration,
}

/// How the plain job of this number must end.
pub fn ending(number: usize) -> &'static str {
    if number % 10 < 8 { "finished" } else { "failed" }
}

/// Who dies with a process is tried again, as often as it takes.
pub fn plain(number: usize, chance: &mut fastrand::Rng) -> NewJob {
    let mut left = 1000;
    let (kind, args): (_, Vec<Value>) = match number % 10 {
        0..=3 => ("tikkun.echo", vec![json!(number)]),
        4 | 5 => ("tikkun.noop", vec![]),
        6 | 7 => ("tikkun.sleep", vec![json!(f64::from(chance.u32(50..500)) / 1000.0)]),
        8 => ("tikkun.fail", vec![json!("no such luck"), json!(true)]),
        _ => {
            left = 2;
            ("tikkun.fail", vec![json!("no luck yet")])
        }
    };
    let intervals = if number.is_multiple_of(3) { vec![Duration::from_millis(200)] } else { vec![] };
    NewJob {
        retries: Some(Retries { left, intervals }),
        delay: (number.is_multiple_of(7)).then(|| Duration::from_millis(chance.u64(1..2000))),
        result_ttl: Some(Limit::Never),
        failure_ttl: Some(Limit::Never),
        ..NewJob::new(format!("plain-{number}"), "default", kind, Args::positional(args))
    }
}

impl Load {
    /// Seeds the tenants.
    pub async fn new(plan: &Plan, ground: &Ground) -> Self {
        let mut chance = fastrand::Rng::with_seed(plan.seed);
        let mut tenants = Vec::new();
        for number in 1..=plan.deletions {
            tenants.push(ground.tenant(number * 10, plan.receipts).await);
        }
        let plain = (0..plan.plain_jobs).map(|number| plain(number, &mut chance)).collect();
        Self { plain, tenants, broker: ground.broker().await, span: plan.fire.mul_f64(0.95) }
    }

    /// Brings everything in, evenly over the fire.
    pub async fn come_in(&self, fleet: &Fleet<'_>) {
        tokio::join!(self.plain_jobs(), self.deletions_come_in(fleet));
    }

    async fn plain_jobs(&self) {
        let slices = self.plain.chunks(SLICE);
        let mut beat = tokio::time::interval(self.span / u32::try_from(slices.len()).unwrap());
        for slice in slices {
            beat.tick().await;
            self.enqueue(slice).await;
        }
    }

    /// An id that is there already is passed over, so asking again is safe.
    async fn enqueue(&self, jobs: &[NewJob]) {
        while let Err(fault) = self.broker.enqueue(jobs).await {
            assert!(fault.is_retryable(), "{}", fault.chain());
        }
    }

    async fn deletions_come_in(&self, fleet: &Fleet<'_>) {
        let mut beat = tokio::time::interval(self.span / u32::try_from(self.tenants.len()).unwrap());
        for (number, tenant) in self.tenants.iter().enumerate() {
            beat.tick().await;
            match number % 2 {
                0 => self.as_the_web_application(fleet.ground, tenant).await,
                _ => by_http(fleet, tenant.id).await,
            }
        }
    }

    async fn as_the_web_application(&self, ground: &Ground, tenant: &Tenant) {
        let row = ground.plain_row(tenant).await;
        let entry = NewJob {
            result_ttl: Some(Limit::Never),
            ..NewJob::new(
                format!("row-{row}"),
                "maintenance",
                super::ground::FUNCTION,
                Args::positional([json!(row)]),
            )
        };
        self.enqueue(&[entry]).await;
    }

    /// Each tenant with the row of its deletion.
    pub async fn deletions(&self, ground: &Ground) -> Vec<(&Tenant, i64)> {
        let mut found = Vec::new();
        for tenant in &self.tenants {
            let rows =
                format!("from background_jobs where business_id = {} and status <> 'failed'", tenant.id);
            assert_eq!(
                ground.number(format!("select count(*) {rows}")).await,
                1,
                "rows of tenant {}",
                tenant.id
            );
            found.push((tenant, ground.number(format!("select id {rows}")).await));
        }
        found
    }
}

/// Asks whoever serves, until somebody has answered that the deletion is there.
async fn by_http(fleet: &Fleet<'_>, tenant: i64) {
    loop {
        let answer = match fleet.somebody() {
            None => None,
            Some(at) => tokio::task::spawn_blocking(move || {
                let tenant = tenant.to_string();
                let headers = [
                    ("X-Internal-Secret", SECRET),
                    ("X-Business-Id", tenant.as_str()),
                    ("X-User-Id", "5"),
                    ("X-User-Role", "owner"),
                ];
                client::try_call(at, "POST", "/api/receipts/delete_all", &headers)
            })
            .await
            .unwrap(),
        };
        // 429: it was there before, and its answer was lost.
        if answer.is_some_and(|answer| matches!(answer.status, 200 | 202 | 429)) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
