//! `tikkun plan`: shows what deleting all receipts of a business would do, without doing it.

use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::ending::{Complaint, finish};
use super::table::{Cell, Fit, Table, text};
use super::{Common, page};
use crate::config::Settings;
use crate::job::BusinessId;
use crate::runtime::{JobPorts, open_attachments};
use crate::store::{DeletionPlan, Estimate};

/// The time limit for opening the storage, whose name the plan needs.
const DEADLINE: Duration = Duration::from_secs(30);

/// Options of `plan`.
#[derive(Debug, Args)]
pub(super) struct Plan {
    /// The business whose receipts would be deleted.
    business_id: i64,
}

impl Plan {
    pub(super) fn run(self, common: &Common) -> u8 {
        let json = common.json;
        finish(common.with_found_ports(async move |settings, ports| self.look(&settings, &ports, json).await))
    }

    async fn look(self, settings: &Settings, ports: &JobPorts, json: bool) -> Result<(), Complaint> {
        let blobs = open_attachments(settings, DEADLINE).await?;
        let plan = ports.store.receipts.plan(BusinessId(self.business_id), blobs.target()).await?;
        let estimate = plan.estimate(settings.deletion.batch, settings.deletion.throttle);
        if json {
            let mut body = plan.to_json(&estimate);
            if let Some(body) = body.as_object_mut() {
                body.insert("business_id".to_owned(), json!(self.business_id));
            }
            page::json(&body);
        } else {
            let columns = [text("WHAT", Fit::Whole), text("HOW MANY", Fit::Shorter)];
            Table::list(columns, rows(&plan, &estimate)).wrapped().print();
            if plan.receipts == 0 {
                page::note(&format!("business {} has no receipt to delete", self.business_id));
            }
        }
        Ok(())
    }
}

fn rows(plan: &DeletionPlan, estimate: &Estimate) -> Vec<Vec<Cell>> {
    let row = |what: &str, many: String| vec![Cell::from(what), many.into()];
    let mut rows = vec![
        row("receipts to delete", plan.receipts.to_string()),
        row("attachments to drop", plan.attachments.to_string()),
        row("objects to delete", plan.objects.to_string()),
        row("bytes to free", plan.bytes.to_string()),
        row("batches", estimate.batches.to_string()),
        row("estimated time", time(estimate)),
    ];
    let kept = plan
        .kept
        .iter()
        .map(|(reason, count)| row(&format!("attachments kept: {}", reason.in_words()), count.to_string()));
    rows.extend(kept);
    rows.extend(plan.left_alone.as_ref().map(|left| row("the last deletion", left.to_string())));
    rows
}

fn time(estimate: &Estimate) -> String {
    match estimate.basis {
        "last_rate" => format!("{:.0} s, at the rate of the last deletion", estimate.seconds),
        _ => format!("more than {:.0} s of rests; no earlier deletion tells the rate", estimate.seconds),
    }
}
