//! A job as Redis has it, on its way to the child that runs it.

use std::borrow::Cow;

/// A job of another language: Tikkun carries its hash and does not read the payload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawJob<'a> {
    /// Id of the job.
    pub id: String,
    /// Name of the queue that it came from.
    pub queue: String,
    /// Id of this execution.
    pub execution: String,
    /// Name of the worker that it runs under.
    pub worker: String,
    /// The job's hash, field and value.
    pub hash: Cow<'a, [(Vec<u8>, Vec<u8>)]>,
}

impl RawJob<'_> {
    /// The fields of a frame that carries the job.
    pub(super) fn fields(&self) -> Vec<&[u8]> {
        let names = [&self.id, &self.queue, &self.execution, &self.worker];
        let names = names.into_iter().map(|name| name.as_bytes());
        let hash = self.hash.iter().flat_map(|(field, value)| [field.as_slice(), value.as_slice()]);
        names.chain(hash).collect()
    }
}
