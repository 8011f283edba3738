//! `tikkun completions`: prints the completion script of a shell.

use clap::{Args, CommandFactory as _};
use clap_complete::{Shell, generate};

use super::advice::Advice;
use super::ending::{Complaint, finish};
use super::{Cli, page};

/// Options of `completions`.
#[derive(Debug, Args)]
pub(super) struct Completions {
    /// The shell.
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self) -> u8 {
        finish(self.print())
    }

    fn print(self) -> Result<(), Complaint> {
        let mut script = Vec::new();
        generate(self.shell, &mut Cli::command(), "tikkun", &mut script);
        let script = String::from_utf8(script).map_err(|error| {
            Complaint::failed(format!("cannot write the completions: {error}"), Advice::AGAIN)
        })?;
        page::line(script.trim_end());
        Ok(())
    }
}
