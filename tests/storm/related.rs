//! Jobs that have to do with each other: chains, whose links RQ's own program puts in, each to run after the one before;
//! and pairs under one key, of which the second may be put in only once the first has ended.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tikkun::job::{Args, JobRecord, JobState, Limit, NewJob, Retries, Unique};
use tikkun::queue::Enqueued;

use super::Plan;
use super::place::Place;

const QUEUE: &str = "high";
/// A chain begins, and a pair comes in, once in so many seconds.
const SECONDS: u64 = 2;
const LINKS: usize = 3;

pub struct Related<'a> {
    place: &'a Place<'a>,
    pub count: usize,
    /// Second ones whose last answer was that the first holds the key.
    duplicates: Mutex<Vec<usize>>,
}

impl<'a> Related<'a> {
    /// Puts in all chains, each of which begins at its own moment.
    pub fn new(place: &'a Place<'a>, plan: &Plan) -> Self {
        let related = Self {
            place,
            count: usize::try_from(plan.span.as_secs() / SECONDS).unwrap(),
            duplicates: Mutex::default(),
        };
        (0..LINKS).for_each(|link| related.put_in_by_rq(link));
        related
    }

    /// This link of every chain.
    fn put_in_by_rq(&self, link: usize) {
        let python = Path::new(env!("CARGO_TARGET_TMPDIR")).join("rq2/bin/python");
        let client = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rq/client.py");
        let url = format!("unix://{}", self.place.redis.lock().socket().display());
        let mut client = Command::new(python)
            .args([client.as_os_str(), "serve".as_ref()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut asked = client.stdin.take().unwrap();
        for chain in 0..self.count {
            let (id, after) = (chain_id(chain, link), chain_id(chain, link.wrapping_sub(1)));
            let begins = (chain as u64 * SECONDS).to_string();
            let when = if link == 0 { ["--in", &begins] } else { ["--depends-on", &after] };
            let words =
                ["enqueue", "--redis", &url, "--queue", QUEUE, "--func", "tikkun.noop", "--job-id", &id];
            let words = [&words[..], &["--retry", "1000", "--result-ttl", "-1"], &when].concat();
            writeln!(asked, "{}", json!({ "id": chain, "argv": words })).unwrap();
        }
        drop(asked);
        let answers = client.wait_with_output().unwrap();
        for answer in String::from_utf8(answers.stdout).unwrap().lines() {
            let answer: Value = serde_json::from_str(answer).unwrap();
            assert_eq!(answer["status"], 0, "{answer}");
        }
    }

    /// Both of a pair come in with one call.
    pub async fn pairs_come_in(&self) {
        let mut beat = tokio::time::interval(Duration::from_secs(SECONDS));
        for pair in 0..self.count {
            beat.tick().await;
            let jobs = [0, 1].map(|place| paired(pair, place));
            let ask = async || self.place.broker.enqueue(&jobs).await.ok();
            let answers = self.place.until("the queue to take a pair", ask).await;
            if matches!(answers[1], Enqueued::Duplicate(_)) {
                self.duplicates.lock().push(pair);
            }
        }
    }

    /// Every link has run once the one before had ended; of no pair both were there at once.
    pub async fn violations(&self) -> Vec<String> {
        let mut found = Vec::new();
        for number in 0..self.count {
            let mut before: Option<JobRecord> = None;
            for link in 0..LINKS {
                let job = self.ended(&chain_id(number, link), &mut found).await;
                if let (Some(before), Some(job)) = (&before, &job)
                    && job.started_at < before.ended_at
                {
                    found.push(format!("{job:?} ran before the end of {before:?}"));
                }
                before = job;
            }
            let first = self.ended(&pair_id(number, 0), &mut found).await;
            if self.duplicates.lock().contains(&number) {
                let second = self.place.broker.job(&pair_id(number, 1).into()).await.unwrap();
                found.extend(second.map(|second| format!("{second:?} is there beside {first:?}")));
            } else if let (Some(first), Some(second)) =
                (first, self.ended(&pair_id(number, 1), &mut found).await)
                && Some(second.created_at) < first.ended_at
            {
                found.push(format!("{second:?} was put in before the end of {first:?}"));
            }
        }
        found
    }

    /// The job, if it has ended well.
    async fn ended(&self, id: &str, found: &mut Vec<String>) -> Option<JobRecord> {
        let job = self.place.broker.job(&id.into()).await.unwrap();
        let ended = job.clone().filter(|job| job.state == JobState::Finished);
        if ended.is_none() {
            found.push(format!("{id} is {job:?}"));
        }
        ended
    }
}

fn chain_id(chain: usize, link: usize) -> String {
    format!("chain-{chain}-{link}")
}

fn pair_id(pair: usize, place: usize) -> String {
    format!("pair-{pair}-{place}")
}

fn paired(pair: usize, place: usize) -> NewJob {
    NewJob {
        unique: Some(Unique { key: format!("pair-{pair}"), period: None }),
        retries: Some(Retries { left: 1000, intervals: Vec::new() }),
        result_ttl: Some(Limit::Never),
        ..NewJob::new(pair_id(pair, place), QUEUE, "tikkun.sleep", Args::positional([json!(0.3)]))
    }
}
