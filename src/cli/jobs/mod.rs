//! `tikkun jobs`: lists, shows, cancels and retries jobs. A number is the id of a row of `background_jobs`,
//! if there is such a row; anything else is the id of a queue job.

mod cancel;
mod chosen;
mod log;
mod look;
mod retry;
mod told;
mod tracker;

use clap::{Args, Subcommand};

use super::Common;
use super::audited::{COMMAND_LINE, audited};
use super::ending::finish;
use chosen::Chosen;

/// Commands of `jobs`.
#[derive(Debug, Args)]
pub(super) struct Jobs {
    #[command(subcommand)]
    command: JobsCommand,
}

#[derive(Debug, Subcommand)]
enum JobsCommand {
    /// Lists queue jobs, newest first; with --json as an array of objects.
    List(look::List),
    /// Shows everything known about one job, or the lines that it has logged.
    Show(look::Show),
    /// Lists the receipts that a deletion could not change, each with the reason.
    FailedRows(look::FailedRows),
    /// Cancels jobs that wait in a queue, or background jobs in any active state.
    Cancel(Chosen),
    /// Queues failed and canceled jobs once more. A failed or cancelled deletion is requested again for the
    /// receipts that it left; newer receipts stay.
    Retry(retry::Retry),
}

impl Jobs {
    pub(super) fn run(self, common: &Common) -> u8 {
        let json = common.json;
        if let JobsCommand::Show(look::Show { named, log: true, url }) = self.command {
            return finish(log::show(&named.id, url, common));
        }
        finish(common.with_found_ports(async move |settings, ports| match self.command {
            JobsCommand::List(list) => list.list(&ports, json).await,
            JobsCommand::Show(show) => look::show(&show.named, &ports, json).await,
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
