//! Every secret that the service is given, and every output that it has, also while its servers refuse it: none is in any.

use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;
use tikkun::job::{Args, JobState, NewJob, Retries};
use tikkun::queue::{Broker, RqSettings, open_rq};
use tikkun::store::migrate_postgres;

use crate::postgres::ground::Ground;
use crate::servers::postgres::Server;
use crate::servers::redis::Redis;
use crate::servers::s3::{self, Trouble};
use crate::service::process::{SECRET, Service, Start};

const REDIS: &str = "redis-word-b7e1f0";
const POSTGRES: &str = "postgres-word-51c0de";
const PROXY: &str = "proxy-word-9d42aa";
const VIEWER: &str = "viewer-word-of-thirty-two-letters-or-more";
const OPERATOR: &str = "operator-word-of-thirty-two-letters-or-more";

/// Each in the forms that it may be seen in. The id of S3's key is none: it goes with each request, and AWS' own lines at
/// trace show it.
fn forms() -> Vec<String> {
    let words = [REDIS, POSTGRES, PROXY, VIEWER, OPERATOR, SECRET, s3::SECRET];
    let login = BASE64_STANDARD.encode(format!("user:{PROXY}"));
    words.into_iter().map(str::to_owned).chain([login]).collect()
}

/// What was seen, by where it was seen.
#[derive(Default)]
struct Seen(Vec<(String, String)>);

impl Seen {
    fn add(&mut self, place: impl Into<String>, text: impl Into<String>) {
        self.0.push((place.into(), text.into()));
    }

    /// What a command prints; whether it has succeeded.
    fn command(&mut self, place: &str, command: &mut Command) -> bool {
        let ended = command.output().unwrap();
        for bytes in [ended.stdout, ended.stderr] {
            self.add(place, String::from_utf8_lossy(&bytes));
        }
        ended.status.success()
    }

    fn must_hold_no_secret(&self) {
        let forms = forms();
        let found = self.0.iter().flat_map(|(place, text)| {
            let lines = text.lines().filter(|line| forms.iter().any(|form| line.contains(form)));
            lines.map(move |line| format!("{place}: {line}"))
        });
        let found: Vec<_> = found.take(10).collect();
        assert!(found.is_empty(), "secrets: {found:#?}");
    }
}

fn with_password(redis: &Redis) -> String {
    redis.tcp_url(0).replacen("redis://", &format!("redis://:{REDIS}@"), 1)
}

fn set_up(ground: &Ground<'_>, redis: &Redis, format: &str) -> Start {
    let database = ground.sqlalchemy_url().replacen("tikkun@", &format!("tikkun:{POSTGRES}@"), 1);
    let bucket = ground.bucket();
    ground
        .service()
        .set("LOG_FORMAT", format)
        .set("TIKKUN_LOG__FILTER", "trace")
        .set("DATABASE_URL", &database)
        .set("REDIS_URL", &with_password(redis))
        .set("ATTACHMENT_STORAGE_DRIVER", "r2")
        .set("R2_ENDPOINT", &format!("http://127.0.0.1:{}", bucket.port()))
        .set("R2_BUCKET_NAME", s3::BUCKET)
        .set("R2_ACCESS_KEY_ID", s3::KEY_ID)
        .set("R2_SECRET_ACCESS_KEY", s3::SECRET)
        .set("HTTPS_PROXY", &format!("http://user:{PROXY}@127.0.0.1:9"))
        .set("TIKKUN_HTTP__VIEWER_SECRET", VIEWER)
        .set("TIKKUN_HTTP__OPERATOR_SECRET", OPERATOR)
        .set("TIKKUN_DIAGNOSTICS__ENABLED", "true")
        .set("TIKKUN_WORKER__SLOTS", "4")
}

/// Everything that answers without an argument, asked by programs, by the page, and with a secret that is none.
fn ask_everything(seen: &mut Seen, service: &Service) {
    let known = ("X-Internal-Secret", SECRET);
    let described = service.call("GET", "/api/v1/openapi.json", &[known]).expect(200).json();
    let described =
        described["paths"].as_object().unwrap().keys().filter(|path| !path.contains('{')).cloned();
    let open =
        ["/", "/healthz", "/readyz", "/metrics", "/api/jobs/health", "/api/v1/config"].map(str::to_owned);
    for path in described.chain(open).filter(|path| !path.ends_with("/events")) {
        for headers in [&[known][..], &[]] {
            let answer = service.call("GET", &path, headers);
            seen.add(format!("GET {path}"), format!("{answer:?}"));
        }
    }
    let refused = service.call("GET", "/api/v1/config", &[("X-Internal-Secret", "wrong")]).expect(401);
    seen.add("GET with a wrong secret", format!("{refused:?}"));
    for secret in [VIEWER, OPERATOR, "wrong"] {
        let body = json!({ "secret": secret }).to_string();
        let answer = crate::service::client::call_with_body(
            service.address,
            ("POST", "/api/v1/session"),
            &[("Content-Type", "application/json")],
            body.as_bytes(),
        );
        seen.add("POST /api/v1/session", answer.body);
    }
}

/// A job of each end.
async fn run_jobs(service: &mut Service, broker: &dyn Broker) {
    let once = Some(Retries { left: 0, intervals: Vec::new() });
    for (id, kind) in [("echo", "tikkun.echo"), ("fail", "tikkun.fail"), ("panic", "tikkun.panic")] {
        let args = Args::positional([json!("a text")]);
        let job = NewJob { retries: once.clone(), ..NewJob::new(id, "default", kind, args) };
        broker.enqueue(&[job]).await.unwrap();
        let ended = async |_: &Service| {
            let job = broker.job(&id.into()).await.unwrap().unwrap();
            matches!(job.state, JobState::Finished | JobState::Failed).then_some(())
        };
        service.until("the end of a job", ended).await;
    }
}

async fn outputs_of(format: &str) -> Seen {
    let mut seen = Seen::default();
    let server = Server::start();
    let ground = Ground::with_bucket(&server).await;
    migrate_postgres(&server.settings(&ground.database), false).await.unwrap();
    let redis = Redis::start_with_port();
    redis.ask(&["CONFIG", "SET", "requirepass", REDIS]);
    let start = set_up(&ground, &redis, format);
    let mut service = start.start().await;
    let broker = open_rq(&RqSettings { url: with_password(&redis).into(), ..redis.settings(0) }).unwrap();
    let tenant = ground.tenant(10, 40).await;
    let (storage, word) = (ground.bucket(), ["-a", REDIS, "--no-auth-warning"]);
    let tell = |words: &[&str]| redis.ask(&[&word[..], words].concat());

    run_jobs(&mut service, &*broker).await;
    storage.always(Some(Trouble::Answer(
        403,
        "InvalidAccessKeyId",
        "The key does not exist in our records.",
    )));
    let job = service.delete_all(tenant.id);
    service.says("InvalidAccessKeyId").await;
    ask_everything(&mut seen, &service);
    storage.always(None);
    ground.becomes(&mut service, job, "completed").await;

    // The servers refuse it: Redis has another password by now, and PostgreSQL is gone.
    tell(&["CONFIG", "SET", "requirepass", "another"]);
    redis.ask(&["-a", "another", "--no-auth-warning", "CLIENT", "KILL", "TYPE", "normal"]);
    service.says("Password authentication failed").await;
    server.stop();
    let missed = async |service: &Service| {
        let unreachable = service.health()["unreachable"].to_string();
        (unreachable.contains("broker") && unreachable.contains("database")).then_some(())
    };
    service.until("both to be missed", missed).await;
    ask_everything(&mut seen, &service);
    for words in [&["doctor"][..], &["jobs", "list"], &["config", "--json"], &["plan", "10"]] {
        seen.command(&words.join(" "), &mut start.command(words));
    }
    server.start_again();
    redis.ask(&["-a", "another", "--no-auth-warning", "CONFIG", "SET", "requirepass", REDIS]);
    service.is_ready().await;
    for words in
        [&["doctor"][..], &["doctor", "--json"], &["jobs", "list"], &["queues", "list"], &["outbox", "list"]]
    {
        seen.command(&words.join(" "), &mut start.command(words));
    }
    service.terminate().await;
    seen.add("the log", service.lines("").join("\n"));
    assert!(
        seen.0.iter().all(|(place, text)| place != "the log" || text.len() > 100_000),
        "a log at trace is long"
    );
    seen
}

#[tokio::test]
async fn no_secret_is_in_the_text_log_at_trace_an_answer_or_a_command() {
    outputs_of("text").await.must_hold_no_secret();
}

#[tokio::test]
async fn no_secret_is_in_the_json_log_at_trace_an_answer_or_a_command() {
    outputs_of("json").await.must_hold_no_secret();
}

/// The program in a folder of its own, without what it needs to begin, in case what it is given is taken.
fn bare(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tikkun"));
    command.env_clear().env("TIKKUN_HTTP__PORT", "nonsense").current_dir(folder);
    command
}

/// Settings that cannot be used, each around a secret.
#[test]
fn no_secret_is_in_what_is_said_of_settings_that_cannot_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let mut seen = Seen::default();
    let word = REDIS;
    let bad = [
        ("REDIS_URL", format!("redis://:{word}@host:port/0")),
        ("REDIS_URL", format!("redis://user:{word}@host:6379/database")),
        ("REDIS_URL", format!("http://:{word}@host")),
        ("REDIS_URL", word.to_owned()),
        ("DATABASE_URL", format!("postgresql://user:{word}@host:port/db")),
        ("DATABASE_URL", format!("mysql://user:{word}@host/db")),
        ("DATABASE_URL", format!("postgresql://user:{word}/db")),
        ("DATABASE_URL", format!("postgresql://host/db?password={word}&sslmode=never")),
        ("DATABASE_URL", format!("host=h password={word} port=x")),
        ("INTERNAL_SECRET", word.to_owned()),
        ("INTERNAL_SECRET", format!("{word}\n{word}")),
        ("TIKKUN_HTTP__VIEWER_SECRET", word.to_owned()),
        ("TIKKUN_HTTP__OPERATOR_SECRET", format!("{word} ü")),
        ("R2_SECRET_ACCESS_KEY", format!("{word}\n{word}")),
        ("R2_ENDPOINT", format!("https://key:{word}@host:port")),
        ("HTTPS_PROXY", format!("http://user:{word}@host:port")),
        ("HTTPS_PROXY", format!("socks9://user:{word}@host")),
        ("TIKKUN_BROKER__URL", format!("redis://:{word}@[::1")),
        ("TIKKUN_INTERNAL_SECRET", word.to_owned()),
    ];
    for (name, value) in &bad {
        for words in [&["config"][..], &["serve"]] {
            let place = format!("{name} with {}", words[0]);
            let succeeds = seen.command(&place, bare(folder.path()).env(name, value).args(words));
            assert!(!succeeds, "{name}={value}");
        }
    }
    let files = [
        format!("[http]\ninternal_secret = \"{word}\n"),
        format!("[http]\ninternal_secret = {word}\n"),
        format!("[http]\ninternal_secret = [\"{word}\"]\n"),
        format!("[http]\ninternal_secret = \"{word}\" x\n"),
        format!("[broker]\nurl = \"redis://:{word}@host:port\"\n"),
        format!("[broker]\nurl = 'redis://:{word}@host'\nurl = 'redis://:{word}@host'\n"),
        format!("internal_secret = \"{word}\"\n"),
    ];
    for text in &files {
        let file = folder.path().join("bad.toml");
        std::fs::write(&file, text).unwrap();
        let place = text.replace(word, "…");
        let succeeds = seen.command(&place, bare(folder.path()).args(["config", "--config"]).arg(&file));
        assert!(!succeeds, "{text}");
    }
    seen.must_hold_no_secret();
}
