//! Checks the foreign keys into the tables whose rows a description removes.

use super::fitted::FittedRows;
use super::known::{Known, Report};
use super::live::{ForeignKey, OnDelete};
use crate::job::{DescribedDeletion, RowsEnd};

/// Rows that are removed, with where they stand in the order of removal.
struct RemovedRows<'a> {
    place: String,
    rows: &'a FittedRows,
    /// The tables above, the nearest first.
    above: Vec<&'a str>,
}

/// Checks every foreign key into rows that are removed.
pub(super) fn check_foreign_keys(
    known: &Known<'_>,
    place: &str,
    (one, root): (&DescribedDeletion, &FittedRows),
    report: &mut Report,
) {
    let mut order = Vec::new();
    in_order(place.to_owned(), root, &[], &mut order);
    for (at, removed) in order.iter().enumerate() {
        let is_root = at + 1 == order.len();
        if removed.above.contains(&removed.rows.table.as_str()) {
            report.error(
                &format!("{}.table", removed.place),
                format!("`{}` is below itself", removed.rows.table),
            );
            continue;
        }
        check_by(known, removed, &order, report);
        if is_root && one.rows != RowsEnd::Remove {
            continue;
        }
        let keys = known.live.foreign_keys.iter().filter(|key| key.to_table == removed.rows.table);
        for key in keys.filter(|key| !is_child(removed.rows, key)) {
            check_key(known, (&order, at), key, report);
        }
    }
    for pointer in root.all_pointers() {
        if order.iter().any(|removed| removed.rows.table == pointer.table) {
            let text =
                format!("`{}` is a table whose rows are deleted themselves, expected another", pointer.table);
            report.error(&format!("{place}.objects"), text);
        }
    }
}

/// All rows in the order of their removal.
fn in_order<'a>(place: String, rows: &'a FittedRows, above: &[&'a str], order: &mut Vec<RemovedRows<'a>>) {
    let mut inner = vec![rows.table.as_str()];
    inner.extend(above);
    for (number, child) in rows.also.iter().enumerate() {
        in_order(format!("{place}.also[{number}]"), child, &inner, order);
    }
    order.push(RemovedRows { place, rows, above: above.to_vec() });
}

fn is_child(rows: &FittedRows, key: &ForeignKey) -> bool {
    rows.also.iter().any(|child| child.by.as_ref().is_some_and(|by| key.is_on(&child.table, &by.name)))
}

/// The column `by` must refer to the key of the rows above.
fn check_by(known: &Known<'_>, removed: &RemovedRows<'_>, order: &[RemovedRows<'_>], report: &mut Report) {
    let (Some(by), Some(parent)) = (&removed.rows.by, removed.above.first()) else { return };
    let place = format!("{}.by", removed.place);
    let keys = known.live.foreign_keys.iter().filter(|key| key.is_on(&removed.rows.table, &by.name));
    let keys: Vec<_> = keys.collect();
    let parent_key =
        order.iter().find(|above| above.rows.table == *parent).and_then(|above| above.rows.key.as_ref());
    let fits = |key: &&ForeignKey| {
        let to = key.to_columns.first().map(String::as_str).unwrap_or_default();
        key.to_table == *parent && parent_key.is_none_or(|known| known.name.eq_ignore_ascii_case(to))
    };
    if keys.is_empty() {
        let text = format!(
            "`{}.{}` has no foreign key onto `{parent}`, so that a row which is added in the very moment of the deletion stays",
            removed.rows.table, by.name
        );
        report.finding(&place, text);
    } else if !keys.iter().any(fits) {
        let other = keys.iter().map(|key| format!("`{}` ({})", key.to_table, key.to_columns.join(", ")));
        let text = format!(
            "`{}.{}` refers to {}, expected the column of `{parent}` that identifies its rows",
            removed.rows.table,
            by.name,
            other.collect::<Vec<_>>().join(" and ")
        );
        report.error(&place, text);
    }
}

/// A foreign key that no `by` names, into the rows at this place of the order.
fn check_key(
    known: &Known<'_>,
    (order, at): (&[RemovedRows<'_>], usize),
    key: &ForeignKey,
    report: &mut Report,
) {
    let Some(removed) = order.get(at) else { return };
    let (place, table) = (format!("{}.table", removed.place), &removed.rows.table);
    let clears = key.on_delete == OnDelete::Clear;
    let goes_at = order.iter().position(|other| other.rows.table == key.table);
    if key.table == *table && !clears {
        let text = format!(
            "`{}` refers to rows of its own table without `on delete set null`, so that they hold each other; this is not \
             supported",
            key.shown()
        );
        report.error(&place, text);
    } else if removed.above.contains(&key.table.as_str()) && !clears {
        let text = format!(
            "the foreign keys are a cycle: `{}` refers to `{table}`, whose rows are removed before those of `{}`; with \
             `on delete set null` it would be none",
            key.shown(),
            key.table
        );
        report.error(&place, text);
    } else if key.on_delete == OnDelete::Cascade {
        let text = format!(
            "`{}` refers to `{table}` with `on delete cascade`, so that rows of `{}` would vanish that nobody has described; \
             name them under `also`",
            key.shown(),
            key.table
        );
        report.error(&place, text);
    } else if !clears && goes_at.is_some_and(|goes_at| goes_at > at) {
        let text =
            format!("`{}` refers to `{table}`: name `{}` before it under `also`", key.shown(), key.table);
        report.error(&place, text);
    } else if !key.is_indexed {
        let columns: Vec<&str> = key.columns.iter().map(String::as_str).collect();
        report.finding(&place, known.missing_index(&key.table, &columns));
    }
}
