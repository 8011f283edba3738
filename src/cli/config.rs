//! `tikkun config`: what is in force, and where each value came from.

use clap::Args;
use serde_json::{Value, json};

use super::ending::{Complaint, finish};
use super::{Common, page};

/// Options of `config`: none of its own.
#[derive(Debug, Args)]
pub(super) struct ShowConfig {}

impl ShowConfig {
    pub(super) fn run(self, common: &Common) -> u8 {
        finish(show(common))
    }
}

fn show(common: &Common) -> Result<(), Complaint> {
    let loaded = common.load(Vec::new()).map_err(Complaint::said)?;
    if common.json {
        let entry = |entry: &crate::config::Entry| json!({ "key": entry.key, "value": entry.value, "origin": entry.origin.to_string() });
        page::json(&Value::Array(loaded.effective().iter().map(entry).collect()));
    } else {
        let row = |entry: &crate::config::Entry| {
            vec![entry.key.to_owned(), entry.value.clone(), entry.origin.to_string()]
        };
        let rows: Vec<_> = loaded.effective().iter().map(row).collect();
        page::line(&page::table(&["KEY", "VALUE", "FROM"], &rows));
    }
    for warning in &loaded.warnings {
        eprintln!("tikkun: warning: {}", page::safe(&warning.text));
    }
    Ok(())
}
