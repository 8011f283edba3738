//! The few fields of a job by which a list selects; thousands are read for one page.

use super::look::AT_ONCE;
use crate::fault::Fault;
use crate::job::{JobState, KindName};
use crate::queue::rq::codec::Heads;
use crate::queue::rq::server::Server;
use crate::queue::rq::wire;
use crate::queue::seen::JobFilter;

/// A short form of a job, ordered by creation time and then by id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::queue::rq) struct Outline {
    /// Its creation time, in stored form.
    pub(in crate::queue::rq) made: String,
    /// Its id.
    pub(in crate::queue::rq) id: String,
    queue: String,
    status: String,
    /// Its function, if requested.
    kind: Option<String>,
    /// It was found outside the queues' lists, under a rate limit or by its whole id; only its hash tells its
    /// queue.
    pub(in crate::queue::rq) homeless: bool,
}

/// The fields of a hash: creation time, queue, status, and optionally the call.
type Parts = (Option<Vec<u8>>, Option<Vec<u8>>, Option<Vec<u8>>, Option<Vec<u8>>);

/// The criteria of a list.
pub(in crate::queue::rq) struct Choice<'a> {
    filter: &'a JobFilter,
    text: Option<String>,
}

impl<'a> Choice<'a> {
    pub(in crate::queue::rq) fn new(filter: &'a JobFilter) -> Self {
        Self { filter, text: filter.text.as_ref().map(|text| text.to_ascii_lowercase()) }
    }

    /// The id of the job, if the text is one.
    pub(in crate::queue::rq) fn whole_id(&self) -> Option<String> {
        self.filter.text.clone()
    }

    /// Whether the function is needed.
    pub(in crate::queue::rq) fn searches(&self) -> bool {
        self.filter.kind.is_some() || self.text.is_some()
    }

    /// Whether a job matches.
    pub(in crate::queue::rq) fn wants(&self, job: &Outline) -> bool {
        let kind = job.kind.as_deref().unwrap_or_default();
        let of_queue = |queue: &crate::job::QueueName| queue.as_str() == job.queue || !job.homeless;
        let has = |of: &str, text: &str| of.to_ascii_lowercase().contains(text);
        self.filter.queue.as_ref().is_none_or(of_queue)
            && self.filter.state.is_none_or(|state| job.state() == state)
            && self.filter.kind.as_ref().is_none_or(|wanted| wanted.as_str() == kind)
            && self.text.as_ref().is_none_or(|text| has(&job.id, text) || has(kind, text))
    }
}

impl Outline {
    fn state(&self) -> JobState {
        wire::state(&self.status)
    }
}

impl Server {
    /// Outlines of those of these jobs that exist, one for each id, in order; with the function if `kinds` is
    /// set. An id may be a member of the registry of running jobs.
    pub(in crate::queue::rq) async fn outlines(
        &self,
        ids: &[String],
        kinds: bool,
    ) -> Result<Vec<Option<Outline>>, Fault> {
        let mut found = self.outlines_of(ids, kinds).await?;
        let missing =
            ids.iter().enumerate().filter(|(place, _)| found.get(*place).is_some_and(Option::is_none));
        let again: Vec<(usize, String)> = missing
            .filter_map(|(place, id)| match wire::split_member(id) {
                (plain, Some(_)) => Some((place, plain.to_owned())),
                (_, None) => None,
            })
            .collect();
        let (places, plain): (Vec<usize>, Vec<String>) = again.into_iter().unzip();
        for (place, outline) in places.into_iter().zip(self.outlines_of(&plain, kinds).await?) {
            if let Some(slot) = found.get_mut(place) {
                *slot = outline;
            }
        }
        Ok(found)
    }

    async fn outlines_of(&self, ids: &[String], kinds: bool) -> Result<Vec<Option<Outline>>, Fault> {
        let mut heads = Heads::new(&self.limits);
        let mut found = Vec::with_capacity(ids.len());
        // Without the call, the fourth is a field that no job has.
        let fields = ["created_at", "origin", "status", if kinds { "data" } else { "" }];
        for some in ids.chunks(AT_ONCE) {
            let mut commands = redis::pipe();
            for id in some {
                commands.hmget(self.keys.job(id), &fields);
            }
            let answers: Vec<Option<Parts>> =
                self.people.ask_each(&mut commands, || format!("list {} jobs", ids.len())).await?;
            for (id, parts) in some.iter().zip(answers) {
                let (made, queue, status, data) = parts.unwrap_or_default();
                let text = |bytes: Option<Vec<u8>>| String::from_utf8(bytes?).ok();
                let kind = |data: Option<Vec<u8>>| {
                    let kind = heads.kind(&data.unwrap_or_default());
                    kind.map_or_else(|| KindName::UNREADABLE.to_owned(), |kind| kind.to_string())
                };
                found.push((made.is_some() || status.is_some()).then(|| Outline {
                    made: text(made).unwrap_or_default(),
                    id: id.clone(),
                    queue: text(queue).unwrap_or_default(),
                    status: text(status).unwrap_or_default(),
                    kind: kinds.then_some(data).map(kind),
                    homeless: false,
                }));
            }
        }
        Ok(found)
    }
}
