//! What a fetch is answered.

use std::collections::HashMap;
use std::sync::Arc;

use crate::queue::delivery::RawHash;

/// The time of the fetch, the names of fields, the ids of jobs in the order of the slots, the fields of each, the ids
/// that stood for nothing that can be run, those that were dropped, each with the reason, and the whole hash of each job
/// where that is asked for: then its fields are those alone that count otherwise than they stand there; and the size of
/// the first job if it was left because it is too large for an answer.
pub(super) type Taken = (
    String,
    Vec<String>,
    Vec<String>,
    Vec<Vec<Option<Vec<u8>>>>,
    Vec<String>,
    Vec<(String, String)>,
    Vec<Vec<Vec<u8>>>,
    usize,
);

/// A job that was taken: the fields that are known of it, and its whole hash.
pub(super) struct TakenJob {
    pub(super) fields: HashMap<String, Vec<u8>>,
    pub(super) hash: Option<Arc<RawHash>>,
}

impl TakenJob {
    /// Of fields by the places of their `names`, and of a hash as the server answers it,
    /// fields and values in turn, beside the name of the worker that has it.
    pub(super) fn new(
        names: &[String],
        values: Vec<Option<Vec<u8>>>,
        whole: Option<(String, Vec<Vec<u8>>)>,
    ) -> Self {
        let hash = whole.map(|(worker, flat)| {
            let mut flat = flat.into_iter();
            RawHash { worker, fields: std::iter::from_fn(|| Some((flat.next()?, flat.next()?))).collect() }
        });
        // What is not text is no name that we know.
        let known = |(field, value): &(Vec<u8>, Vec<u8>)| {
            Some((std::str::from_utf8(field).ok()?.to_owned(), value.clone()))
        };
        let mut fields: HashMap<_, _> = hash.iter().flat_map(|hash| &hash.fields).filter_map(known).collect();
        fields.extend(names.iter().zip(values).filter_map(|(name, value)| Some((name.clone(), value?))));
        Self { fields, hash: hash.map(Arc::new) }
    }
}
