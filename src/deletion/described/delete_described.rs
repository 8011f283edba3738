//! `tikkun.delete(name, tenant)`: a described deletion as a job.
//!
//! The work is in [`run`](super::run).

use std::sync::Arc;

use serde::Deserialize;
use serde_json::json;

use super::endings::at_rest;
use super::run::{DescribedRun, DescribedSweep};
use super::team::DescribedTeam;
use crate::config::DeletionSettings;
use crate::deadline::answer_in;
use crate::deletion::batch_size::BatchSize;
use crate::deletion::pace::{Limits, Pace};
use crate::deletion::tracker_line::{Until, patiently};
use crate::job::{
    Completion, Job, JobContext, JobError, JobResult, JobSettings, OrphanPolicy, Retention, RetryPolicy,
};
use crate::store::{BeginDescribed, BegunDescribed, DescribedRow, FittedDeletion};
use crate::user_log::USER_LOG;

/// The kind of job.
pub struct DeleteDescribed {
    settings: DeletionSettings,
    team: DescribedTeam,
}

/// The arguments.
#[derive(Clone, Debug, Deserialize)]
pub struct DeleteDescribedArgs {
    /// The name of the deletion.
    pub name: String,
    /// The tenant, for a deletion that has one.
    #[serde(default)]
    pub tenant: Option<TenantArg>,
}

/// A tenant, as a number or as text.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum TenantArg {
    /// A number.
    Number(i64),
    /// A text or a uuid.
    Text(String),
}

impl DeleteDescribedArgs {
    fn tenant(&self) -> Option<String> {
        self.tenant.as_ref().map(|tenant| match tenant {
            TenantArg::Number(number) => number.to_string(),
            TenantArg::Text(text) => text.clone(),
        })
    }
}

impl Job for DeleteDescribed {
    const NAME: &'static str = "tikkun.delete";
    const PARAMETERS: &'static [&'static str] = &["name", "tenant"];
    type Args = DeleteDescribedArgs;

    fn settings(&self) -> JobSettings {
        JobSettings {
            queue: "maintenance",
            timeout: self.settings.timeout,
            // After a timeout the row has failed, so no retry could continue it.
            final_timeout: true,
            retry: RetryPolicy::exponential(3),
            retention: Retention { result: self.settings.result_ttl, failure: self.settings.failure_ttl },
            orphan: OrphanPolicy::RunAgain { at_most: self.settings.max_barren_attempts },
            ..JobSettings::default()
        }
    }

    async fn run(&self, args: DeleteDescribedArgs, ctx: &JobContext) -> JobResult {
        let label = format!("DELETE {}", args.name);
        let fitted = || self.team.descriptions.fitted(&args.name);
        let deletion = match patiently((ctx, &label), Until::Asked, fitted).await {
            Ok(fitted) => fitted.map_err(JobError::permanent)?,
            Err(stopped) => return stopped.into_result(),
        };
        let tenant = args.tenant();
        deletion.takes_tenant(tenant.as_deref()).map_err(JobError::permanent)?;
        let begin = BeginDescribed {
            deletion: Arc::clone(&deletion),
            tenant,
            queue_job: ctx.job.clone(),
            entry_at: ctx.created_at,
            stale_after: self.settings.stale_after,
        };
        let what = "begin a described deletion";
        let begun = || answer_in(self.team.transaction_deadline, what, self.team.described.begin(&begin));
        match patiently((ctx, &label), Until::Asked, begun).await {
            Ok(BegunDescribed::Started(row)) => self.delete(deletion, *row, label, ctx).await,
            Ok(BegunDescribed::Carried { by }) => {
                tracing::info!(target: USER_LOG, "🛑 [{label}] it is carried by the queue job {by} already - nothing to do");
                Ok(Completion::Finished(json!({ "duplicate": true, "of": by })))
            }
            Ok(BegunDescribed::AtRest(row)) => at_rest(&row, &label),
            Err(stopped) => stopped.into_result(),
        }
    }

    /// The queue job has failed for good, so its row fails too.
    async fn failed(&self, _: DeleteDescribedArgs, error: &JobError, ctx: &JobContext) {
        let (job, what) = (&ctx.job, "fail a described deletion");
        let fail = || answer_in(self.team.deadline, what, self.team.described.fail(job, &error.message));
        if let Err(stopped) = patiently((ctx, "DELETE"), Until::Drained, fail).await {
            tracing::error!(queue_job = %job, ?stopped, "the row of a failed deletion could not be marked as failed");
        }
    }
}

impl DeleteDescribed {
    /// The kind with its settings and ports.
    #[must_use]
    pub fn new(settings: DeletionSettings, team: DescribedTeam) -> Self {
        Self { settings, team }
    }

    async fn delete(
        &self,
        deletion: Arc<FittedDeletion>,
        row: DescribedRow,
        label: String,
        ctx: &JobContext,
    ) -> JobResult {
        tracing::info!(
            target: USER_LOG, { job.id = %ctx.job, tenant = row.tenant },
            "🧾 JOB start type=tikkun.delete name={} deletion={}", deletion.description().name, row.id
        );
        let limits = Limits {
            runtime: self.settings.runtime_limit,
            failures: self.settings.max_failures,
            outage: self.settings.outage_limit,
        };
        let run = DescribedRun {
            settings: &self.settings,
            team: &self.team,
            ctx,
            deletion,
            row,
            label,
            pace: Pace::new(limits),
            size: BatchSize::new(self.settings.batch, self.settings.target_time),
            sweep: DescribedSweep::default(),
            storage_rests: None,
        };
        run.run().await
    }
}
