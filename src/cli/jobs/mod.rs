//! `tikkun jobs`: lists, shows, cancels and retries. A number means a row of `background_jobs`, anything
//! else a job of a queue.

mod cancel;
mod chosen;
mod look;
mod retry;
mod told;
mod tracker;

use clap::{Args, Subcommand};

use super::Common;
use super::audited::{COMMAND_LINE, audited};
use super::ending::finish;
use chosen::{Chosen, Named};

/// Commands of `jobs`.
#[derive(Debug, Args)]
pub(super) struct Jobs {
    #[command(subcommand)]
    command: JobsCommand,
}

#[derive(Debug, Subcommand)]
enum JobsCommand {
    /// Lists jobs of the queues, newest first; with --json as an array of objects.
    List(look::List),
    /// Shows all that is known of one job.
    Show(Named),
    /// Lists the receipts that a deletion could not change, each with the reason.
    FailedRows(look::FailedRows),
    /// Cancels jobs: those that wait in a queue, or a background job wherever it stands.
    Cancel(Chosen),
    /// Gives failed and canceled jobs one more run; a failed or cancelled deletion is requested anew for what it
    /// left, and never touches receipts that came later.
    Retry(retry::Retry),
}

impl Jobs {
    pub(super) fn run(self, common: &Common) -> u8 {
        let json = common.json;
        finish(common.with_found_ports(async move |settings, ports| match self.command {
            JobsCommand::List(list) => list.list(&ports, json).await,
            JobsCommand::Show(named) => look::show(&named, &ports, json).await,
            JobsCommand::FailedRows(rows) => rows.list(&ports, json).await,
            JobsCommand::Cancel(chosen) => {
                let words = format!("jobs cancel{}", chosen.words());
                audited((COMMAND_LINE, words), cancel::cancel(chosen, &settings, &ports, json)).await
            }
            JobsCommand::Retry(retry) => {
                let words = retry.words();
                audited((COMMAND_LINE, words), retry.retry(&settings, &ports, json)).await
            }
        }))
    }
}
