//! Checks one description against the live schema: what is wrong, what is missing, and what it comes to.

use super::check_keys::check_foreign_keys;
use super::check_objects::objects;
use super::fitted::{FittedColumn, FittedDeletion, FittedRows};
use super::known::{Known, Report};
use super::live::LiveTable;
use super::port::ExaminedDeletion;
use super::trials::tables;
use crate::job::{ChildRows, DescribedDeletion, ObjectKey, RowsEnd};

/// Checks the description with this number.
pub(in crate::store) fn examine(
    known: &Known<'_>,
    number: usize,
    one: &DescribedDeletion,
) -> ExaminedDeletion {
    let mut report = Report::default();
    let fitted = fit(known, &format!("deletion[{number}]"), one, &mut report);
    let fitted = fitted.filter(|_| report.errors.is_empty()).map(std::sync::Arc::new);
    ExaminedDeletion { name: one.name.clone(), fitted, errors: report.errors, findings: report.findings }
}

fn fit(
    known: &Known<'_>,
    place: &str,
    one: &DescribedDeletion,
    report: &mut Report,
) -> Option<FittedDeletion> {
    let table = known.table(&format!("{place}.table"), &one.table, report)?;
    let id = id(known, place, one, table, report);
    let tenant = one.tenant.as_ref().and_then(|tenant| {
        let at = format!("{place}.tenant");
        if table.column(tenant).is_some() && !table.is_indexed(tenant) {
            report.finding(&at, known.missing_index(&one.table, &[tenant, &one.id]));
        }
        known.identifying(&at, &one.table, tenant, report)
    });
    existed(known, place, one, id.as_ref(), report);
    mark(known, place, one, report);
    let only = known.tried.get(&format!("{place}.only")).map(|tried| match tried {
        Ok(expression) => Some(expression.clone()),
        Err(error) => {
            report.error(&format!("{place}.only"), error);
            None
        }
    });
    let (own_keys, pointed) = objects(known, place, (&one.table, one.tenant.is_some()), &one.objects, report);
    let also = children(known, place, one.tenant.is_some(), &one.also, report);
    if let RowsEnd::Mark { .. } = one.rows {
        can_be_cleared(known, place, one, report);
    }
    let root = FittedRows {
        table: one.table.clone(),
        key: id,
        by: None,
        handle: table.handle,
        own_keys,
        pointed,
        also,
    };
    check_foreign_keys(known, place, (one, &root), report);
    let tables = tables(std::slice::from_ref(one));
    let into_ours = known.live.foreign_keys.iter().filter(|key| tables.contains(&key.to_table));
    Some(FittedDeletion {
        description: one.clone(),
        rows: root,
        tenant,
        only: only.flatten(),
        foreign_keys: into_ours.cloned().collect(),
        tables,
        neighbours: known.neighbours.clone(),
    })
}

fn id(
    known: &Known<'_>,
    place: &str,
    one: &DescribedDeletion,
    table: &LiveTable,
    report: &mut Report,
) -> Option<FittedColumn> {
    let place = format!("{place}.id");
    let fitted = known.identifying(&place, &one.table, &one.id, report)?;
    if table.column(&one.id).is_some_and(|column| !table.identifies(column)) {
        report.error(
            &place,
            format!(
                "`{}.{}` does not identify a row: expected the primary key, or a unique column that is never null; a key \
                 of several columns is not supported",
                one.table, one.id
            ),
        );
    }
    Some(fitted)
}

fn existed(
    known: &Known<'_>,
    place: &str,
    one: &DescribedDeletion,
    id: Option<&FittedColumn>,
    report: &mut Report,
) {
    let place = format!("{place}.existed");
    match &one.existed {
        Some(existed) => known.time(&place, &one.table, existed, report),
        None if id.is_some_and(|id| !id.is_whole_number()) => {
            report.error(
                &place,
                format!(
                    "is missing: new values of `{}.{}` are no higher than old ones, so it takes a column with the time of \
                     creation to tell what was there at the request",
                    one.table, one.id
                ),
            );
        }
        None => {}
    }
}

fn mark(known: &Known<'_>, place: &str, one: &DescribedDeletion, report: &mut Report) {
    let RowsEnd::Mark { mark, at, touched } = &one.rows else { return };
    let at_mark = format!("{place}.rows.mark");
    if let Some(column) = known.column(&at_mark, &one.table, mark, report)
        && !known.dialect.is_flag(column)
    {
        report.error(&at_mark, format!("`{}.{mark}` is of {}, expected boolean", one.table, column.sql_type));
    }
    for (key, column) in [("at", at), ("touched", touched)] {
        if let Some(column) = column {
            known.time(&format!("{place}.rows.{key}"), &one.table, column, report);
        }
    }
}

/// Rows that stay must be able to lose what they point to.
fn can_be_cleared(known: &Known<'_>, place: &str, one: &DescribedDeletion, report: &mut Report) {
    for (number, object) in one.objects.iter().enumerate() {
        let ObjectKey::Pointed(pointed) = object else { continue };
        let columns = pointed.from.iter().filter_map(|from| known.live.tables.get(&one.table)?.column(from));
        for column in columns.filter(|column| column.is_never_null) {
            let text = format!(
                "marked rows stay, and `{}.{}` cannot be null, so what it points to could never go",
                one.table, column.name
            );
            report.error(&format!("{place}.objects[{number}].from"), text);
        }
    }
}

fn children(
    known: &Known<'_>,
    place: &str,
    has_tenant: bool,
    children: &[ChildRows],
    report: &mut Report,
) -> Vec<FittedRows> {
    let numbered = children.iter().enumerate();
    let fit = |(number, one): (usize, &ChildRows)| {
        child(known, &format!("{place}.also[{number}]"), has_tenant, one, report)
    };
    numbered.filter_map(fit).collect()
}

fn child(
    known: &Known<'_>,
    place: &str,
    has_tenant: bool,
    child: &ChildRows,
    report: &mut Report,
) -> Option<FittedRows> {
    let table = known.table(&format!("{place}.table"), &child.table, report)?;
    let at = format!("{place}.by");
    let by = known.identifying(&at, &child.table, &child.by, report);
    if by.is_some() && !table.is_indexed(&child.by) {
        report.error(&at, known.missing_index(&child.table, &[&child.by]));
    }
    let key = table.key().and_then(|key| known.fitted(key));
    if key.is_none() && !child.also.is_empty() {
        let text =
            format!("`{}` needs a primary key of one column, to which its own children refer", child.table);
        report.error(&format!("{place}.table"), text);
    }
    let (own_keys, pointed) = objects(known, place, (&child.table, has_tenant), &child.objects, report);
    let also = children(known, place, has_tenant, &child.also, report);
    Some(FittedRows { table: child.table.clone(), key, by, handle: table.handle, own_keys, pointed, also })
}
