//! `tikkun config`: prints the effective settings with their origin, or the reference of settings or metrics.

use clap::Args;
use serde_json::{Value, json};

use super::ending::{Complaint, finish};
use super::table::{Cell, Fit, Table, text};
use super::{Common, page};
use crate::config::{Entry, Explained, reference};
use crate::measure;

/// Options of `config`.
#[derive(Debug, Args)]
pub(super) struct ShowConfig {
    /// Prints every key with its default, its environment variable and its purpose, as Markdown.
    #[arg(long)]
    reference: bool,
    /// Prints every metric with its labels and its meaning, as Markdown.
    #[arg(long, conflicts_with = "reference")]
    metrics: bool,
}

impl ShowConfig {
    pub(super) fn run(self, common: &Common) -> u8 {
        if self.metrics {
            page::line(measure::reference().trim_end());
            return finish(Ok(()));
        }
        if self.reference {
            explain(common.json);
            return finish(Ok(()));
        }
        finish(show(common))
    }
}

fn show(common: &Common) -> Result<(), Complaint> {
    let loaded = common.load(Vec::new()).map_err(Complaint::said)?;
    if common.json {
        let entry = |entry: &Entry| json!({ "key": entry.key, "value": entry.value, "origin": entry.origin.to_string() });
        page::json(&Value::Array(loaded.effective().iter().map(entry).collect()));
    } else {
        let row = |entry: &Entry| -> Vec<Cell> {
            vec![entry.key.into(), entry.value.clone().into(), entry.origin.to_string().into()]
        };
        let columns = [text("KEY", Fit::Whole), text("VALUE", Fit::Shorter), text("FROM", Fit::Whole)];
        Table::list(columns, loaded.effective().iter().map(row).collect()).wrapped().print();
    }
    for warning in &loaded.warnings {
        page::note(&format!("warning: {}", warning.text));
    }
    Ok(())
}

fn explain(as_json: bool) {
    let all = reference();
    if as_json {
        let entry = |one: &Explained| {
            json!({
                "key": format!("{}.{}", one.section, one.key),
                "default": one.default,
                "environment": one.variables,
                "text": one.text,
            })
        };
        page::json(&Value::Array(all.iter().map(entry).collect()));
        return;
    }
    page::line("# Every setting\n");
    page::line(
        "Made from `config/default.toml` by `tikkun config --reference`; a test holds the two together.",
    );
    page::line("Flag > environment > file > default.");
    let mut last = None;
    for one in &all {
        let section = &one.section;
        if last.replace((section, one.in_list)) != Some((section, one.in_list)) {
            let title = if one.in_list { format!("[[{section}]]") } else { format!("[{section}]") };
            page::line(&format!(
                "\n## `{title}`\n\n| key | default | environment | what it is for |\n|---|---|---|---|"
            ));
        }
        page::line(&row(one));
    }
}

fn row(one: &Explained) -> String {
    let variables: Vec<_> = one.variables.iter().map(|name| format!("`{name}`")).collect();
    let cells = [
        format!("`{}`", one.key),
        one.default.clone().unwrap_or_else(|| "must be given".to_owned()),
        if variables.is_empty() { "only in the file".to_owned() } else { variables.join(" ") },
        one.text.clone(),
    ];
    format!("| {} |", cells.map(|cell| cell.replace('|', "\\|")).join(" | "))
}
