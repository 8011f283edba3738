//! `tikkun man`: prints the manual page, or writes one for each command.

use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory as _};
use clap_mangen::{Man, generate_to};

use super::advice::Advice;
use super::ending::{Complaint, finish};
use super::{Cli, page};

/// Options of `man`.
#[derive(Debug, Args)]
pub(super) struct Manual {
    /// Writes the pages of all commands to this folder, which must exist.
    #[arg(long, value_name = "FOLDER", value_hint = clap::ValueHint::DirPath)]
    to: Option<PathBuf>,
}

impl Manual {
    pub(super) fn run(self) -> u8 {
        finish(self.to.as_deref().map_or_else(print, write))
    }
}

fn print() -> Result<(), Complaint> {
    let mut text = Vec::new();
    let rendered = Man::new(Cli::command()).render(&mut text).map_err(|error| error.to_string());
    let text = rendered.and_then(|()| String::from_utf8(text).map_err(|error| error.to_string()));
    let text = text.map_err(|error| {
        Complaint::failed(format!("cannot write the manual page: {error}"), Advice::AGAIN)
    })?;
    page::line(text.trim_end());
    Ok(())
}

fn write(folder: &Path) -> Result<(), Complaint> {
    generate_to(Cli::command(), folder).map_err(|error| {
        let place = folder.display();
        let text = format!("cannot write the manual pages into {place}: {error}");
        Complaint::failed(text, Advice::make_folder(&place))
    })
}
