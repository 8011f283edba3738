//! What the steps of a batch hand on: its scope, what removed rows had, and what was removed.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use crate::store::deletion::StepFault;
use crate::store::described::dialect::{Dialect, name};
use crate::store::described::{FittedDeletion, FittedPointer, FittedRows};
use crate::store::row::Cells;
use crate::store::{Condemned, DescribedOrder};

/// What all parts of a batch share.
pub(super) struct DescribedScope<'a> {
    pub(super) deletion: &'a FittedDeletion,
    pub(super) tenant: Option<&'a str>,
    pub(super) order: &'a DescribedOrder,
    pub(super) now: DateTime<Utc>,
}

/// What has been removed.
#[derive(Debug, Default)]
pub(super) struct Removed {
    /// How many rows of other tables may still go.
    pub(super) left: u32,
    /// How many did.
    pub(super) others: u64,
    pub(super) condemned: Vec<Condemned>,
    pub(super) kept_for: BTreeMap<String, u32>,
    /// Rows that cannot be deleted, with the reasons.
    pub(super) refused: Vec<(String, String)>,
}

impl Removed {
    pub(super) fn within(left: u32) -> Self {
        Self { left, ..Self::default() }
    }

    /// Adds what a part has removed.
    pub(super) fn add(&mut self, part: Self) {
        self.left = part.left;
        self.others += part.others;
        self.condemned.extend(part.condemned);
        for (reference, count) in part.kept_for {
            *self.kept_for.entry(reference).or_default() += count;
        }
    }
}

/// What the removed rows had: keys of objects, and ids of rows that they pointed to, by pointer.
#[derive(Default)]
pub(super) struct Had<'a> {
    pub(super) keys: BTreeSet<String>,
    pub(super) pointed: Vec<(&'a FittedPointer, BTreeSet<String>)>,
}

impl<'a> Had<'a> {
    /// Notes what a statement returned of a row.
    fn note(&mut self, rows: &'a FittedRows, found: &impl Cells) -> Result<(), StepFault> {
        for number in 0..rows.own_keys.len() {
            self.keys.extend(found.text(&format!("key_{number}"))?.filter(|key| !key.is_empty()));
        }
        for (number, pointer) in rows.pointed.iter().enumerate() {
            for at in 0..pointer.from.len() {
                let Some(id) = found.text(&format!("to_{number}_{at}"))? else { continue };
                match self.pointed.iter_mut().find(|(known, _)| std::ptr::eq(*known, pointer)) {
                    Some((_, ids)) => ids.insert(id),
                    None => {
                        self.pointed.push((pointer, BTreeSet::from([id])));
                        true
                    }
                };
            }
        }
        Ok(())
    }
}

/// What a statement returns of the rows that it changes.
pub(super) fn returning(rows: &FittedRows, dialect: Dialect) -> String {
    let mut all = vec!["1 as gone".to_owned()];
    all.extend(rows.key.iter().map(|key| format!("{} as id", dialect.as_text(&name(&key.name)))));
    let keys = rows.own_keys.iter().enumerate();
    all.extend(keys.map(|(number, key)| format!("{} as key_{number}", dialect.as_text(key))));
    for (number, pointer) in rows.pointed.iter().enumerate() {
        let from = pointer.from.iter().enumerate();
        all.extend(from.map(|(at, from)| format!("{} as to_{number}_{at}", dialect.as_text(&name(from)))));
    }
    all.join(", ")
}

/// Notes all rows that a statement returned, and counts them.
pub(super) fn note_all<'a, R: Cells>(
    found: Vec<R>,
    rows: &'a FittedRows,
    had: &mut Had<'a>,
) -> Result<u32, StepFault> {
    found.iter().try_for_each(|row| had.note(rows, row))?;
    Ok(u32::try_from(found.len()).unwrap_or(u32::MAX))
}
