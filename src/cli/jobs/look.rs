//! `jobs list`, `jobs show` and `jobs failed-rows`.

use clap::Args;
use serde_json::{Value, json};

use super::super::ending::Complaint;
use super::super::page;
use super::super::views::{background_job, queue_job, time};
use super::chosen::{Matching, Meant, Named, meant};
use crate::job::JobRecord;
use crate::runtime::Ports;

/// Options of `jobs list`.
#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    matching: Matching,
    /// At most so many.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

/// Options of `jobs failed-rows`.
#[derive(Debug, Args)]
pub(super) struct FailedRows {
    #[command(flatten)]
    named: Named,
    /// At most so many.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

impl List {
    pub(super) async fn list(self, ports: &Ports, json: bool) -> Result<(), Complaint> {
        let jobs = ports.broker.jobs(&self.matching.filter(None, self.limit)).await?;
        if json {
            page::json(&jobs.iter().map(|job| page::object(queue_job(job))).collect());
        } else if jobs.is_empty() {
            eprintln!("tikkun: no job matches");
        } else {
            let header = ["ID", "QUEUE", "STATE", "ATTEMPT", "CREATED", "FUNCTION"];
            page::line(&page::table(&header, &jobs.iter().map(row).collect::<Vec<_>>()));
        }
        Ok(())
    }
}

fn row(job: &JobRecord) -> Vec<String> {
    let args = job.args.as_ref().map_or_else(|_| "(?)".to_owned(), ToString::to_string);
    vec![
        job.id.to_string(),
        job.queue.to_string(),
        job.state.to_string(),
        job.attempt.to_string(),
        time(job.created_at),
        format!("{}{args}", job.kind),
    ]
}

/// All that is known of one job.
pub(super) async fn show(named: &Named, ports: &Ports, json: bool) -> Result<(), Complaint> {
    match meant(&named.id, ports).await? {
        Meant::Nothing(why) => Err(Complaint::failed(why)),
        Meant::Entry(entry) => {
            let entry = queue_job(&entry);
            if json {
                page::json(&page::object(entry))
            } else {
                page::line(&page::facts(&entry))
            }
            Ok(())
        }
        Meant::Row(row, entry) => {
            let mut facts = background_job(&row);
            let entry = entry.as_ref().map(queue_job);
            if json {
                facts.push(("queue_entry", entry.map_or(Value::Null, page::object)));
                page::json(&page::object(facts));
                return Ok(());
            }
            page::line(&page::facts(&facts));
            match entry {
                Some(entry) => page::line(&format!("\nin its queue:\n{}", page::facts(&entry))),
                None => page::line("\nin its queue: nothing is known of it there any more"),
            }
            if row.progress.failed > 0 {
                page::line(&format!("\n`tikkun jobs failed-rows {}` lists the rows that failed", row.id));
            }
            Ok(())
        }
    }
}

impl FailedRows {
    pub(super) async fn list(self, ports: &Ports, json: bool) -> Result<(), Complaint> {
        let id = match meant(&self.named.id, ports).await? {
            Meant::Row(row, _) => row.id,
            Meant::Entry(entry) => {
                let why = "is a job of a queue; give the number of a background job";
                return Err(Complaint::failed(format!("`{}` {why}", entry.id)));
            }
            Meant::Nothing(why) => return Err(Complaint::failed(why)),
        };
        let rows = ports.store.receipts.set_aside(id, self.limit).await?;
        if json {
            let row =
                |row: &crate::store::SetAside| json!({ "receipt_id": row.receipt, "reason": row.reason });
            page::json(&rows.iter().map(row).collect());
        } else if rows.is_empty() {
            eprintln!("tikkun: background job {id} left no receipt behind that it could not change");
        } else {
            let rows: Vec<_> =
                rows.into_iter().map(|row| vec![row.receipt.to_string(), row.reason]).collect();
            page::line(&page::table(&["RECEIPT", "REASON"], &rows));
        }
        Ok(())
    }
}
