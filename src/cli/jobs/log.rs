//! `jobs show --log`.

use serde_json::Value;

use super::super::Common;
use super::super::ending::Complaint;
use super::super::page;
use super::super::reach::Place;
use super::super::top::Link;

/// Prints the lines of one job that the service has kept.
pub(super) fn show(id: &str, url: Option<String>, common: &Common) -> Result<(), Complaint> {
    let link = Link::new(Place::find(url, common)?);
    let said = actix_rt::System::new().block_on(link.look(&["jobs", id, "log"]))?;
    if common.json {
        page::json(&said);
        return Ok(());
    }
    let text =
        |of: &Value, key: &str| of.get(key).and_then(Value::as_str).map(page::safe).unwrap_or_default();
    let dropped = said.get("dropped").and_then(Value::as_u64).unwrap_or(0);
    if dropped > 0 {
        page::note(&format!("{dropped} earlier lines are no longer kept"));
    }
    let lines = said.get("lines").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if lines.is_empty() {
        let process = text(&said, "process");
        page::note(&format!(
            "process {process} has kept no line of job `{id}`; other processes keep their own"
        ));
    }
    for line in lines {
        page::line(&format!("{} {:5} {}", text(line, "at"), text(line, "level"), text(line, "text")));
    }
    Ok(())
}
