//! `tikkun migrate`: creates or updates the tables as a separate step.

use clap::Args;
use serde_json::json;

use super::advice::Advice;
use super::ending::{Complaint, finish};
use super::{Common, page};
use crate::runtime::{logging, migrate};

/// Options of `migrate`.
#[derive(Debug, Args)]
pub(super) struct Migrate {
    /// Also creates the application's tables, in a PostgreSQL database that has none of them; for trials.
    #[arg(long)]
    with_application_tables: bool,
}

impl Migrate {
    pub(super) fn run(self, common: &Common) -> u8 {
        finish(self.carry_out(common))
    }

    fn carry_out(self, common: &Common) -> Result<(), Complaint> {
        let settings = common.load(Vec::new()).map_err(Complaint::said)?.settings;
        logging::init(&settings.log)
            .map_err(|error| Complaint::usage(error.to_string(), Advice::READ_REFERENCE))?;
        let migrating = migrate(&settings, self.with_application_tables);
        let done = actix_rt::System::new().block_on(migrating)?;
        if common.json {
            page::json(&json!({ "application_tables": done.application, "versions": done.versions }));
            return Ok(());
        }
        if done.application {
            page::line("the application's tables are made");
        }
        let versions: Vec<String> = done.versions.iter().map(i64::to_string).collect();
        page::line(&match versions.as_slice() {
            [] => "the tables of Tikkun are up to date".to_owned(),
            versions => format!("the tables of Tikkun are up to date; new: version {}", versions.join(", ")),
        });
        Ok(())
    }
}
