//! `jobs list`, `jobs show` and `jobs failed-rows`.

use clap::Args;
use serde_json::{Value, json};

use super::super::advice::{Advice, quoted};
use super::super::ending::{self, Complaint};
use super::super::page;
use super::super::reach::base;
use super::super::table::{self, Cell, Fit, Table, number, text};
use super::super::tone::Tone;
use super::super::views::{background_job, queue_job, time};
use super::chosen::{Matching, Meant, Named, meant};
use crate::job::{JobId, JobRecord};
use crate::runtime::JobPorts;

/// Options of `jobs list`.
#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    matching: Matching,
    /// The most jobs to list.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Only jobs after this one in the list.
    #[arg(long, value_name = "ID")]
    after: Option<String>,
}

/// Options of `jobs show`.
#[derive(Debug, Args)]
pub(super) struct Show {
    #[command(flatten)]
    pub(super) named: Named,
    /// Only the lines that the job, which is one of a queue, has logged, as the running service has kept them.
    #[arg(long)]
    pub(super) log: bool,
    /// The URL of that service; by default this machine with `http.port`.
    #[arg(long, requires = "log", value_parser = base, value_hint = clap::ValueHint::Url)]
    pub(super) url: Option<String>,
}

/// Options of `jobs failed-rows`.
#[derive(Debug, Args)]
pub(super) struct FailedRows {
    #[command(flatten)]
    named: Named,
    /// The most receipts to list.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

impl List {
    pub(super) async fn list(self, ports: &JobPorts, json: bool) -> Result<(), Complaint> {
        let mut filter = self.matching.filter(None, self.limit.saturating_add(1));
        filter.after = self.after.as_deref().map(JobId::from);
        self.check(ports).await?;
        let mut jobs = ports.broker.jobs(&filter).await?;
        let more = jobs.len() > self.limit as usize;
        jobs.truncate(self.limit as usize);
        if json {
            page::json(&jobs.iter().map(|job| page::object(queue_job(job))).collect());
        } else if !jobs.is_empty() {
            table(&jobs).print();
        }
        match jobs.last() {
            None if self.after.is_some() => page::note("that was the end of the list"),
            None => ending::tell("no job matches", &Advice::FEWER_FILTERS),
            Some(last) if more => ending::tell(
                &format!("these are {}; there are more", jobs.len()),
                &Advice::next_page(format!(
                    "{}--after {}",
                    self.matching.as_flags(),
                    quoted(last.id.as_str())
                )),
            ),
            Some(_) => {}
        }
        Ok(())
    }

    /// Refuses an `--after` that no longer exists: the empty list would look like its end.
    async fn check(&self, ports: &JobPorts) -> Result<(), Complaint> {
        let Some(id) = self.after.as_deref() else { return Ok(()) };
        match ports.broker.job(&JobId::from(id)).await? {
            Some(_) => Ok(()),
            None => {
                let text = format!("there is no job `{id}` to go on after");
                Err(Complaint::failed(text, Advice::LIST_JOBS))
            }
        }
    }
}

fn table(jobs: &[JobRecord]) -> Table {
    let columns = [
        text("ID", Fit::Whole),
        text("QUEUE", Fit::Whole),
        text("STATE", Fit::Whole),
        number("ATTEMPT", Fit::Spare),
        text("CREATED", Fit::Spare),
        text("FUNCTION", Fit::Shorter),
    ];
    // On a narrow screen only the last part of a function's name is shown, which is the most telling.
    let narrow = page::width().is_some_and(|width| width < 120);
    Table::list(columns, jobs.iter().map(|job| row(job, narrow)).collect())
}

fn row(job: &JobRecord, narrow: bool) -> Vec<Cell> {
    let name = job.kind.as_str();
    let name = if narrow { name.rsplit('.').next().unwrap_or(name) } else { name };
    let args = job.args.as_ref().map_or_else(|_| "(?)".to_owned(), ToString::to_string);
    vec![
        job.id.as_str().into(),
        job.queue.as_str().into(),
        Cell::new(job.state.as_str(), Tone::of_job(job.state)),
        Cell::count(job.attempt.into(), if job.attempt > 1 { Tone::Warn } else { Tone::Plain }),
        time(job.created_at).into(),
        format!("{name}{args}").into(),
    ]
}

/// Shows everything known about one job.
pub(super) async fn show(named: &Named, ports: &JobPorts, json: bool) -> Result<(), Complaint> {
    match meant(&named.id, ports).await? {
        Meant::Nothing(why) => Err(why),
        Meant::Entry(entry) => {
            let entry = queue_job(&entry);
            if json {
                page::json(&page::object(entry))
            } else {
                table::facts(&entry).print();
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
            table::facts(&facts).print();
            match entry {
                Some(entry) => {
                    page::line("\nin its queue:");
                    table::facts(&entry).print();
                }
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
    pub(super) async fn list(self, ports: &JobPorts, json: bool) -> Result<(), Complaint> {
        let id = match meant(&self.named.id, ports).await? {
            Meant::Row(row, _) => row.id,
            Meant::Entry(entry) => {
                let why = format!("`{}` is a job of a queue; give the number of a background job", entry.id);
                return Err(Complaint::failed(why, Advice::LIST_DELETIONS));
            }
            Meant::Nothing(why) => return Err(why),
        };
        let rows = ports.store.receipts.set_aside(id, self.limit).await?;
        if json {
            let row =
                |row: &crate::store::SetAside| json!({ "receipt_id": row.receipt, "reason": row.reason });
            page::json(&rows.iter().map(row).collect());
        } else if rows.is_empty() {
            page::note(&format!("background job {id} left no receipt behind that it could not change"));
        } else {
            let columns = [number("RECEIPT", Fit::Whole), text("REASON", Fit::Shorter)];
            let row = |row: crate::store::SetAside| vec![row.receipt.to_string().into(), row.reason.into()];
            Table::list(columns, rows.into_iter().map(row).collect()).wrapped().print();
        }
        Ok(())
    }
}
