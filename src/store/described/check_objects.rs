//! Checks where a description has the keys of objects.

use super::fitted::FittedPointer;
use super::known::{Known, Report};
use crate::job::{ObjectKey, PointedRows};

/// The keys on the rows themselves, and the rows that they point to.
pub(super) fn objects(
    known: &Known<'_>,
    place: &str,
    (table, has_tenant): (&str, bool),
    objects: &[ObjectKey],
    report: &mut Report,
) -> (Vec<String>, Vec<FittedPointer>) {
    let (mut own, mut pointed) = (Vec::new(), Vec::new());
    for (number, object) in objects.iter().enumerate() {
        let place = format!("{place}.objects[{number}]");
        let at = format!("{place}.key");
        let key = match known.tried.get(&at) {
            Some(Ok(expression)) => expression.text(""),
            Some(Err(error)) => {
                report.error(&at, error);
                String::new()
            }
            None => String::new(),
        };
        let (of, text) = match object {
            ObjectKey::Own(text) => (table, text),
            ObjectKey::Pointed(rows) => (rows.table.as_str(), &rows.key),
        };
        // Of an expression nobody can tell whether an index serves it.
        let live = known.live.tables.get(of);
        if live.is_some_and(|live| live.column(text).is_some() && !live.is_indexed(text)) {
            report.finding(&at, known.missing_index(of, &[text]));
        }
        match object {
            ObjectKey::Own(_) => own.push(key),
            ObjectKey::Pointed(rows) => {
                pointed.extend(pointer(known, &place, (table, has_tenant), (rows, key), report));
            }
        }
    }
    (own, pointed)
}

fn pointer(
    known: &Known<'_>,
    place: &str,
    (table, has_tenant): (&str, bool),
    (rows, object): (&PointedRows, String),
    report: &mut Report,
) -> Option<FittedPointer> {
    let live = known.table(&format!("{place}.table"), &rows.table, report)?;
    let id = live.key().and_then(|key| known.fitted(key));
    if id.is_none() {
        let text = format!("`{}` needs a primary key of one column, to which `from` points", rows.table);
        report.error(&format!("{place}.table"), text);
    }
    let at = format!("{place}.from");
    for from in &rows.from {
        let Some(_) = known.identifying(&at, table, from, report) else { continue };
        if known.live.tables.get(table).is_some_and(|live| !live.is_indexed(from)) {
            report.error(&at, known.missing_index(table, &[from]));
        }
        if !known.live.foreign_keys.iter().any(|key| key.is_on(table, from) && key.to_table == rows.table) {
            let text = format!(
                "`{table}.{from}` has no foreign key onto `{}`, so that a row which begins to point there in the very \
                 moment of the deletion cannot be seen",
                rows.table
            );
            report.finding(&at, text);
        }
    }
    let at = format!("{place}.tenant");
    let tenant = rows.tenant.as_ref().and_then(|tenant| known.identifying(&at, &rows.table, tenant, report));
    if rows.tenant.is_some() && !has_tenant {
        report.error(&at, "the deletion itself has no `tenant` with which it could be compared");
    }
    if !rows.purpose.is_empty() {
        known.column(&format!("{place}.purpose"), &rows.table, "purpose", report);
    }
    let (table, from, purpose) = (rows.table.clone(), rows.from.clone(), rows.purpose.clone());
    Some(FittedPointer { table, from, id: id?, object, tenant, purpose })
}
