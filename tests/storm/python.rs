//! Python jobs beside the others: Tikkun in front of RQ's own worker command, over the same line. Each job leaves a mark in
//! Redis, outside of what RQ and Tikkun keep of it.

use std::collections::BTreeSet;
use std::time::Duration;

use parking_lot::Mutex;
use tikkun::job::{Args, JobState, Limit, NewJob, Retries};

use super::Plan;
use super::place::Place;
use crate::python_jobs::ground::{Rq, Run};

pub const QUEUE: &str = "python";
/// So many come in together, once a second.
const SLICE: usize = 3;

pub struct Python<'a> {
    place: &'a Place<'a>,
    run: Mutex<Run>,
    pub jobs: Vec<NewJob>,
}

impl<'a> Python<'a> {
    /// Starts Tikkun with its worker.
    pub fn new(place: &'a Place<'a>, plan: &Plan) -> Self {
        let url = format!("redis://127.0.0.1:{}/0", place.lines.redis.port());
        let rq = Rq::Three.program("rq").display().to_string();
        let command = [&rq, "worker", "--url", &url, QUEUE].map(str::to_owned);
        let run = Run::start(&["--slots", "2"], &command, &[("APP_REDIS", &url)]);
        let count = SLICE * usize::try_from(plan.span.as_secs()).unwrap();
        Self { place, run: Mutex::new(run), jobs: (0..count).map(job).collect() }
    }

    pub async fn comes_in(&self) {
        let mut beat = tokio::time::interval(Duration::from_secs(1));
        for slice in self.jobs.chunks(SLICE) {
            beat.tick().await;
            let ask = async || self.place.broker.enqueue(slice).await.ok().map(drop);
            self.place.until("the queue to take Python jobs", ask).await;
            self.run.lock().assert_lives();
        }
    }

    /// Each has left a mark and has ended well.
    pub async fn violations(&self) -> Vec<String> {
        let marks = marks(self.place);
        let mut found = Vec::new();
        for job in &self.jobs {
            let seen = self.place.broker.job(&job.id).await.unwrap();
            let is_marked = marks.contains(job.id.as_str());
            if !is_marked || seen.as_ref().is_none_or(|seen| seen.state != JobState::Finished) {
                found.push(format!(
                    "{}, with a mark: {is_marked}, is {seen:?}; {}",
                    job.id,
                    self.run.lock().log()
                ));
            }
        }
        found
    }
}

/// The ids of jobs that have left a mark.
pub fn marks(place: &Place<'_>) -> BTreeSet<String> {
    let marks = place.redis.lock().ask(&["LRANGE", "marks", "0", "-1"]);
    marks.lines().map(str::to_owned).collect()
}

/// What runs while Redis is away fails by itself, and is tried again as often as it takes.
fn job(number: usize) -> NewJob {
    NewJob {
        retries: Some(Retries { left: 1000, intervals: vec![Duration::from_millis(500)] }),
        result_ttl: Some(Limit::Never),
        failure_ttl: Some(Limit::Never),
        ..NewJob::new(format!("python-{number}"), QUEUE, "shop.leave_a_mark", Args::default())
    }
}
