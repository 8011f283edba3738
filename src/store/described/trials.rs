//! The expressions of descriptions, each with its place and its table.

use std::collections::BTreeMap;

use super::expression::Expression;
use crate::job::{ChildRows, DescribedDeletion, ObjectKey};

/// An expression that is to be tried.
#[derive(Clone, Debug)]
pub(in crate::store) struct Trial {
    /// Its place: `deletion[1].only`.
    pub(in crate::store) place: String,
    /// The table over whose columns it is.
    pub(in crate::store) table: String,
    /// Whether it is a key of objects; else it is a condition.
    pub(in crate::store) is_key: bool,
    pub(in crate::store) text: String,
}

/// What became of each trial, by its place: the expression, or why it is none.
pub(in crate::store) type Tried = BTreeMap<String, Result<Expression, String>>;

/// Every expression of all descriptions.
pub(in crate::store) fn trials(all: &[DescribedDeletion]) -> Vec<Trial> {
    let mut trials = Vec::new();
    for (number, one) in all.iter().enumerate() {
        let place = format!("deletion[{number}]");
        trials.extend(one.only.iter().map(|only| Trial {
            place: format!("{place}.only"),
            table: one.table.clone(),
            is_key: false,
            text: only.clone(),
        }));
        of_objects(&place, &one.table, &one.objects, &mut trials);
        of_children(&place, &one.also, &mut trials);
    }
    trials
}

fn of_children(place: &str, children: &[ChildRows], trials: &mut Vec<Trial>) {
    for (number, child) in children.iter().enumerate() {
        let place = format!("{place}.also[{number}]");
        of_objects(&place, &child.table, &child.objects, trials);
        of_children(&place, &child.also, trials);
    }
}

fn of_objects(place: &str, table: &str, objects: &[ObjectKey], trials: &mut Vec<Trial>) {
    trials.extend(objects.iter().enumerate().map(|(number, object)| {
        let (table, text) = match object {
            ObjectKey::Own(key) => (table, key),
            ObjectKey::Pointed(pointed) => (pointed.table.as_str(), &pointed.key),
        };
        let place = format!("{place}.objects[{number}].key");
        Trial { place, table: table.to_owned(), is_key: true, text: text.clone() }
    }));
}

/// Every table that the descriptions name.
pub(in crate::store) fn tables(all: &[DescribedDeletion]) -> Vec<String> {
    let mut tables = Vec::new();
    for one in all {
        tables.push(one.table.clone());
        pointed_tables(&one.objects, &mut tables);
        children_tables(&one.also, &mut tables);
    }
    tables.sort();
    tables.dedup();
    tables
}

fn children_tables(children: &[ChildRows], tables: &mut Vec<String>) {
    for child in children {
        tables.push(child.table.clone());
        pointed_tables(&child.objects, tables);
        children_tables(&child.also, tables);
    }
}

fn pointed_tables(objects: &[ObjectKey], tables: &mut Vec<String>) {
    tables.extend(objects.iter().filter_map(|object| match object {
        ObjectKey::Own(_) => None,
        ObjectKey::Pointed(pointed) => Some(pointed.table.clone()),
    }));
}
