//! The queue on Redis, with its own prefix for each test.

use std::sync::Arc;

use async_trait::async_trait;
use tikkun::job::JobId;
use tikkun::queue::{Broker, Budget, JobFilter, Order, RqSettings, open_rq};

use super::ground::*;
use super::redis_server::{Redis, SHARED};

/// Keys that no other test has.
pub struct Prefix(String);

impl Prefix {
    pub fn new() -> Self {
        Self(format!("rq-{}", uuid::Uuid::new_v4().simple()))
    }

    /// What every key of this test begins with.
    pub fn name(&self) -> &str {
        &self.0
    }

    pub fn settings(&self) -> RqSettings {
        RqSettings { prefix: self.0.clone(), ..SHARED.settings(16) }
    }
}

/// The server itself, asked about keys under the prefix.
impl Prefix {
    async fn run<T: redis::FromRedisValue>(&self, command: &redis::Cmd) -> T {
        let client = redis::Client::open(SHARED.url()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        command.query_async(&mut connection).await.unwrap()
    }

    /// A command whose second word, and each but the last of a few that take several, is a key.
    fn command(&self, words: &[&str]) -> redis::Cmd {
        let mut command = redis::cmd(words[0]);
        let keys = match words[0] {
            "TIME" => 0,
            "LMOVE" => 2,
            "DEL" | "EXISTS" => words.len() - 1,
            _ => 1,
        };
        for (place, word) in words[1..].iter().enumerate() {
            match place < keys {
                true => command.arg(self.key(word)),
                false => command.arg(*word),
            };
        }
        command
    }

    pub fn key(&self, name: &str) -> String {
        format!("{}:{name}", self.0)
    }

    pub async fn ask(&self, words: &[&str]) {
        self.run::<redis::Value>(&self.command(words)).await;
    }

    /// The same, with more words that are keys.
    pub async fn ask_with_keys(&self, words: &[&str], keys: &[&str]) {
        let mut command = self.command(words);
        for key in keys {
            command.arg(self.key(key));
        }
        self.run::<redis::Value>(&command).await;
    }

    pub async fn ask_number(&self, words: &[&str]) -> i64 {
        self.run(&self.command(words)).await
    }

    pub async fn ask_text(&self, words: &[&str]) -> String {
        self.run(&self.command(words)).await
    }

    pub async fn ask_bytes(&self, words: &[&str]) -> Vec<u8> {
        self.run::<Option<Vec<u8>>>(&self.command(words)).await.unwrap_or_default()
    }

    pub async fn ask_list(&self, words: &[&str]) -> Vec<String> {
        self.run(&self.command(words)).await
    }

    /// Runs Lua on the server; `ARGV[1]` is the prefix with its colon.
    pub async fn script(&self, lua: &str, words: &[&str]) {
        let mut command = redis::cmd("EVAL");
        command.arg(lua).arg(0).arg(self.key("")).arg(words);
        self.run::<redis::Value>(&command).await;
    }

    pub async fn set_field(&self, key: &str, field: &str, value: &[u8]) {
        self.run::<redis::Value>(redis::cmd("HSET").arg(self.key(key)).arg(field).arg(value)).await;
    }
}

#[async_trait]
impl Fresh for Prefix {
    async fn open(&self) -> Arc<dyn Broker> {
        open_rq(&self.settings()).unwrap_or_else(|fault| panic!("{}", fault.chain()))
    }
}

/// Publishes a command as RQ's client does, until somebody listens.
pub async fn command(prefix: &Prefix, worker: &str, payload: serde_json::Value) {
    let client = redis::Client::open(SHARED.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    eventually("somebody to listen to the worker's channel", async || {
        let channel = format!("{}:pubsub:{worker}", prefix.0);
        let heard: i64 = redis::cmd("PUBLISH")
            .arg(channel)
            .arg(payload.to_string())
            .query_async(&mut connection)
            .await
            .unwrap();
        (heard > 0).then_some(())
    })
    .await;
}

/// The next order, while `payload` is published.
pub async fn ordered(
    prefix: &Prefix,
    broker: &dyn Broker,
    worker: &str,
    payload: serde_json::Value,
) -> Order {
    let next = eventually("an order", async || broker.orders(&me(), LONG).await.unwrap().into_iter().next());
    in_time("the order", futures::future::join(next, command(prefix, worker, payload))).await.0
}

#[tokio::test]
async fn commands_on_a_workers_channel_become_orders() {
    let prefix = Prefix::new();
    let broker = leased(&prefix).await;
    let delivery = one(&*broker, job("a")).await;
    let worker = format!("tikkun.host.{ME}.1");
    let stop = serde_json::json!({ "command": "stop-job", "job_id": "a" });
    let execution = delivery.execution.clone();
    assert_eq!(
        ordered(&prefix, &*broker, &worker, stop).await,
        Order::Stop { job: "a".into(), lent: vec![execution.clone()], others: Vec::new() }
    );
    let one = serde_json::json!({ "command": "stop-execution", "job_id": "a", "execution_id": execution });
    assert_eq!(
        ordered(&prefix, &*broker, &worker, one).await,
        Order::StopExecution("a".into(), execution.clone())
    );
    let kill = serde_json::json!({ "command": "kill-horse" });
    assert_eq!(ordered(&prefix, &*broker, &worker, kill).await, Order::Kill(execution));
    let shutdown = serde_json::json!({ "command": "shutdown" });
    assert_eq!(ordered(&prefix, &*broker, &worker, shutdown).await, Order::RetireSlot);
}

#[tokio::test]
async fn what_is_no_command_of_ours_is_passed_over() {
    let prefix = Prefix::new();
    let broker = leased(&prefix).await;
    let worker = format!("tikkun.host.{ME}.2");
    let nonsense = [
        serde_json::json!("no object"),
        serde_json::json!({ "command": "dance" }),
        serde_json::json!({ "command": "kill-horse" }),
        serde_json::json!({ "command": "stop-execution", "job_id": "a", "execution_id": "other" }),
    ];
    let listening = async {
        for payload in nonsense {
            command(&prefix, &worker, payload).await;
        }
        command(&prefix, &worker, serde_json::json!({ "command": "shutdown" })).await;
    };
    let next =
        eventually("the only order", async || broker.orders(&me(), LONG).await.unwrap().into_iter().next());
    let (order, ()) = in_time("the only order", futures::future::join(next, listening)).await;
    assert_eq!(order, Order::RetireSlot, "an idle worker has nothing to kill");
}

#[tokio::test]
async fn a_callback_that_is_the_only_one_keeps_its_own_time() {
    let names = ["success_callback_name", "failure_callback_name", "stopped_callback_name"];
    for (place, name) in names.into_iter().enumerate() {
        let prefix = Prefix::new();
        let broker = leased(&prefix).await;
        enqueue(&*broker, &["a"]).await;
        // RQ 1 writes no field for a callback that is not there.
        prefix.ask(&[&["HDEL", "job:a"][..], &names].concat()).await;
        prefix.ask(&["HSET", "job:a", name, "app.told", &name.replace("_name", "_timeout"), "7"]).await;
        let callbacks = fetch(&*broker, 1).await.pop().unwrap().job.callbacks;
        let callbacks = [callbacks.success, callbacks.failure, callbacks.stopped];
        for (other, callback) in callbacks.into_iter().enumerate() {
            let told = callback.map(|callback| (callback.function.to_string(), callback.timeout.as_secs()));
            assert_eq!(told, (other == place).then(|| ("app.told".to_owned(), 7)), "{name}");
        }
    }
}

/// A server of its own, whose every command and connection is counted, with so many jobs in it.
async fn counted(jobs: usize) -> (Redis, Arc<dyn Broker>) {
    let redis = Redis::start();
    let settings = RqSettings { url: redis.url().into(), prefix: "rq".into(), ..Prefix::new().settings() };
    let broker = open_rq(&settings).unwrap_or_else(|fault| panic!("{}", fault.chain()));
    let jobs: Vec<_> = (0..jobs).map(|number| job(&format!("job-{number:04}"))).collect();
    for some in jobs.chunks(500) {
        broker.enqueue(some).await.unwrap();
    }
    (redis, broker)
}

/// How often a command was called since the last CONFIG RESETSTAT, those inside scripts too.
fn calls(redis: &Redis, command: &str) -> u32 {
    let stats = redis.ask(&["INFO", "commandstats"]);
    let calls = stats.split_once(&format!("cmdstat_{command}:calls=")).map(|(_, rest)| rest.split(','));
    calls.map_or(0, |mut calls| calls.next().unwrap().parse().unwrap())
}

#[tokio::test]
async fn keeping_within_the_budget_reads_no_more_than_it_drops_however_many_ended_in_one_second() {
    let (redis, broker) = counted(1000).await;
    assert!(broker.renew_lease(&process(ME), LONG).await.unwrap());
    for _ in 0..10 {
        let ends: Vec<_> = fetch(&*broker, 100).await.iter().map(|one| settlement(one, ack())).collect();
        broker.settle(&ends).await.unwrap();
    }
    let finished = format!("rq:finished:{}", queue());
    let at_once = "for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do redis.call('ZADD', KEYS[1], 9e9, id) end";
    redis.ask(&["EVAL", at_once, "1", &finished]);
    redis.ask(&["CONFIG", "RESETSTAT"]);
    assert_eq!(broker.trim(Budget { finished: 900, failed: 0 }, 1000).await.unwrap(), 100);
    assert!(calls(&redis, "hmget") <= 200, "{} reads", calls(&redis, "hmget"));
    assert_eq!(redis.ask(&["ZCARD", &finished]), "900");
    redis.ask(&["CONFIG", "RESETSTAT"]);
    for kept in [800, 700, 600] {
        assert_eq!(broker.trim(Budget { finished: kept, failed: 0 }, 100).await.unwrap(), 100);
    }
    assert_eq!(calls(&redis, "scan"), 0, "all keys are looked at once nothing is left to drop");
    assert_eq!(broker.trim(Budget { finished: 600, failed: 0 }, 100).await.unwrap(), 0);
    assert!(calls(&redis, "scan") > 0);
}

#[tokio::test]
async fn a_search_for_open_jobs_reads_a_long_registry_in_parts_and_each_job_once() {
    let (redis, broker) = counted(1).await;
    let later = "for i = 1, 12000 do redis.call('ZADD', KEYS[1], 9e9 + i, 'later-' .. i) end";
    redis.ask(&["EVAL", later, "1", &format!("rq:scheduled:{}", queue())]);
    redis.ask(&["CONFIG", "RESETSTAT"]);
    let open = broker.open_jobs(&"shop.jobs.noop".into()).await.unwrap();
    assert_eq!(open.iter().map(|job| job.id.as_str()).collect::<Vec<_>>(), ["job-0000"]);
    assert!(calls(&redis, "hmget") < 13_000, "{} reads", calls(&redis, "hmget"));
    assert!(calls(&redis, "zrevrange") > 4, "12,000 ids came in one answer");
}

#[tokio::test]
async fn jobs_under_a_rate_limit_are_listed_page_by_page_and_each_page_reads_its_own() {
    let (redis, broker) = counted(3000).await;
    let limited = "for at, id in ipairs(redis.call('LRANGE', KEYS[1], 0, -1)) do
            redis.call('HSET', 'rq:job:' .. id, 'status', 'rate_limited')
            redis.call('ZADD', 'rq:rl:l:rate_limited', at, id)
        end
        redis.call('DEL', KEYS[1])
        redis.call('SADD', 'rq:rl-keys', 'l')";
    redis.ask(&["EVAL", limited, "1", &format!("rq:queue:{}", queue())]);
    redis.ask(&["CONFIG", "RESETSTAT"]);
    let page = async |after: Option<JobId>| {
        let filter = JobFilter { queue: Some(queue()), after, limit: 200, ..JobFilter::default() };
        let found = broker.search(&filter).await.unwrap();
        assert!(found.complete);
        found.jobs.into_iter().map(|job| job.id).collect::<Vec<_>>()
    };
    let mut seen = page(None).await;
    assert!(calls(&redis, "hmget") < 1000, "a page reads its own");
    loop {
        let next = page(seen.last().cloned()).await;
        if next.is_empty() {
            break;
        }
        seen.extend(next);
    }
    let all: std::collections::BTreeSet<_> = seen.iter().cloned().collect();
    assert_eq!((seen.len(), all.len()), (3000, 3000), "each is listed once");
}

#[tokio::test]
async fn what_people_look_at_has_a_connection_of_its_own() {
    let (redis, broker) = counted(1).await;
    let connections = || {
        let clients = redis.ask(&["CLIENT", "LIST"]);
        clients.lines().filter(|line| !line.contains("cmd=client")).count()
    };
    assert_eq!(connections(), 1);
    broker.search(&JobFilter { limit: 1, ..JobFilter::default() }).await.unwrap();
    broker.job(&"job-0000".into()).await.unwrap();
    broker.counts().await.unwrap();
    assert_eq!(connections(), 2, "no long answer stands before that of a settlement");
}

#[tokio::test]
async fn a_search_that_has_looked_into_many_says_so_and_a_whole_id_is_found_all_the_same() {
    let prefix = Prefix::new();
    let broker = leased(&prefix).await;
    let jobs: Vec<_> = (0..9000).map(|number| job(&format!("job-{number}"))).collect();
    let search = async |text: Option<&str>, queue: Option<&str>| {
        let (text, queue) = (text.map(str::to_owned), queue.map(Into::into));
        broker.search(&JobFilter { text, queue, limit: 10, ..JobFilter::default() }).await.unwrap()
    };
    broker.enqueue(&jobs[..1000]).await.unwrap();
    assert!(search(Some("nowhere"), None).await.complete, "all were looked at");
    for some in jobs[1000..].chunks(1000) {
        broker.enqueue(some).await.unwrap();
    }
    let found = search(Some("nowhere"), None).await;
    assert!(!found.complete && found.jobs.is_empty());
    assert!(search(None, None).await.complete, "a list goes on page by page");
    let old = search(Some("job-1002"), None).await;
    assert_eq!(old.jobs.iter().map(|job| job.id.as_str()).collect::<Vec<_>>(), ["job-1002"]);
    assert!(search(Some("job-1002"), Some("other")).await.jobs.is_empty(), "it is in another queue");
    assert!(search(Some("job-9999"), None).await.jobs.is_empty());
}
