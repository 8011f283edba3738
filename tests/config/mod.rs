//! Configurations as users write them: the resulting settings, errors and warnings.

mod addresses;
mod credentials;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::ExposeSecret;
use tikkun::config::{
    AttachmentDriver, BrokerEngine, ByteSize, ChildStart, ConfigError, Entry, Isolation, Loaded, LogFormat,
    LogLevel, Origin, PostgresSettings, PythonWorkerSettings, Role, Settings, Sources, StoreEngine,
    WarningLevel,
};
use tikkun::job::background::AtRuntimeLimit;
use tikkun::job::{Limit, Missed};

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn with_env(env: &[(&str, &str)]) -> Result<Loaded, ConfigError> {
    Settings::load(&Sources { env: pairs(env), ..Sources::none() })
}

fn with_flags(flags: &[(&str, &str)]) -> Result<Loaded, ConfigError> {
    Settings::load(&Sources { flags: pairs(flags), ..Sources::none() })
}

/// Loads a file with this content; its path is in the answer as it is in the error.
fn with_file(content: &str) -> (PathBuf, Result<Loaded, ConfigError>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tikkun.toml");
    std::fs::write(&path, content).unwrap();
    let loaded = Settings::load(&Sources { file: Some(path.clone()), ..Sources::none() });
    (path, loaded)
}

fn problems(result: Result<Loaded, ConfigError>) -> Vec<String> {
    result.unwrap_err().problems().iter().map(|problem| problem.text.clone()).collect()
}

#[track_caller]
fn only_problem(result: Result<Loaded, ConfigError>) -> String {
    let mut problems = problems(result);
    assert_eq!(problems.len(), 1, "{problems:#?}");
    problems.remove(0)
}

fn value(loaded: &Loaded, key: &str) -> Entry {
    loaded.effective().iter().find(|entry| entry.key == key).unwrap().clone()
}

// ---- the manual ----

#[test]
fn manual_and_settings_have_the_same_keys() {
    let manual = include_str!("../../config/default.toml").parse::<toml::Table>().unwrap();
    let written: BTreeSet<String> = manual
        .iter()
        .flat_map(|(section, keys)| {
            keys.as_table().unwrap().keys().map(move |key| format!("{section}.{key}"))
        })
        .collect();
    let loaded = Settings::load(&Sources::none()).unwrap();
    let read: Vec<String> = loaded.effective().iter().map(|entry| entry.key.to_owned()).collect();
    assert_eq!(read.iter().cloned().collect::<BTreeSet<_>>(), written);
    assert_eq!(read.len(), written.len(), "a key is read twice");
}

#[test]
fn defaults_are_as_the_contract_says() {
    let Loaded { settings, warnings, .. } = Settings::load(&Sources::none()).unwrap();
    let seconds = Duration::from_secs;
    assert!(warnings.is_empty(), "{warnings:?}");
    assert_eq!(settings.service.role, Role::All);
    assert_eq!((settings.service.drain_timeout, settings.service.max_stuck), (seconds(30), 2));
    assert_eq!((settings.log.level, settings.log.format), (LogLevel::Info, LogFormat::Text));
    assert_eq!(settings.http.address().to_string(), "127.0.0.1:8080");
    assert_eq!(settings.http.body_limit, ByteSize(65_536));
    assert!(settings.http.internal_secret.is_none());
    assert!(!settings.diagnostics.enabled);
    assert_eq!(
        settings.worker.queues_as_given,
        "high,default,low,receipts,receipts_sync,maintenance,recordings,broadcasts"
    );
    assert_eq!((settings.worker.slots, settings.worker.threads), (4, 4));
    assert_eq!((settings.lease.ttl, settings.lease.renew), (seconds(15), seconds(5)));
    assert_eq!(settings.scheduler.leadership_ttl, seconds(75));
    let deletion = &settings.deletion;
    assert_eq!((deletion.batch, deletion.throttle), (50, Duration::from_millis(200)));
    assert_eq!((deletion.runtime_limit, deletion.max_failures), (seconds(300), 10));
    assert_eq!(deletion.at_runtime_limit, AtRuntimeLimit::Continue);
    assert_eq!(deletion.timeout, Limit::After(seconds(1800)));
    assert_eq!(deletion.failure_ttl, Limit::After(seconds(86_400)));
    assert_eq!(deletion.outage_limit, Limit::Never);
    assert_eq!(queue_file(&settings), "./data/queue.db");
    assert_eq!(sqlite_file(&settings), Path::new("./data/tikkun.db"));
    assert_eq!(settings.attachments.folder, PathBuf::from("./data/attachments"));
}

#[test]
fn the_manual_can_be_used_as_a_file() {
    let (_, loaded) = with_file(include_str!("../../config/default.toml"));
    let loaded = loaded.unwrap();
    assert!(loaded.effective().iter().all(|entry| matches!(entry.origin, Origin::File(_))));
}

#[test]
fn effective_values_can_be_given_back() {
    let defaults = Settings::load(&Sources::none()).unwrap();
    let flags: Vec<(&str, &str)> = defaults.effective().iter().map(|e| (e.key, e.value.as_str())).collect();
    let again = with_flags(&flags).unwrap();
    let values = |loaded: &Loaded| loaded.effective().iter().map(|e| e.value.clone()).collect::<Vec<_>>();
    assert_eq!(values(&again), values(&defaults));
}

#[test]
fn memory_of_python_processes_has_no_limit_unless_one_is_given() {
    let limit = |loaded: Loaded| loaded.settings.python.memory_limit;
    assert_eq!(limit(Settings::load(&Sources::none()).unwrap()), None);
    assert_eq!(limit(with_flags(&[("python.memory_limit", "None")]).unwrap()), None);
    assert_eq!(limit(with_flags(&[("python.memory_limit", "2GiB")]).unwrap()), Some(ByteSize(2 << 30)));
}

// ---- precedence and origins ----

#[test]
fn flag_beats_environment_beats_file_beats_default() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.toml");
    std::fs::write(&file, "[worker]\nslots = 5\nthreads = 2\n[deletion]\nbatch = 10\n").unwrap();
    let loaded = Settings::load(&Sources {
        file: Some(file.clone()),
        env: pairs(&[("TIKKUN_WORKER__SLOTS", "6"), ("TIKKUN_WORKER__THREADS", "3")]),
        flags: pairs(&[("worker.slots", "1"), ("worker.slots", "7")]),
    })
    .unwrap();
    let worker = &loaded.settings.worker;
    assert_eq!((worker.slots, worker.threads, loaded.settings.deletion.batch), (7, 3, 10));
    assert_eq!(loaded.origin("worker.slots"), Some(&Origin::Flag));
    assert_eq!(loaded.origin("worker.threads").unwrap().to_string(), "env TIKKUN_WORKER__THREADS");
    assert_eq!(loaded.origin("deletion.batch").unwrap().to_string(), format!("file {}", file.display()));
    assert_eq!(loaded.origin("lease.ttl").unwrap().to_string(), "default");
}

#[test]
fn deployment_variables_map_onto_keys() {
    let table = [
        ("REDIS_URL", "embedded", "broker.url", "embedded"),
        ("DATABASE_URL", "sqlite:///srv/app.db", "store.url", "sqlite:///srv/app.db"),
        ("RQ_QUEUES", "maintenance, high", "worker.queues", "maintenance,high"),
        ("SERVICE_ROLE", "Worker", "service.role", "worker"),
        ("ATTACHMENT_STORAGE_DRIVER", "local", "attachments.driver", "local"),
        ("R2_ACCOUNT_ID", "acc", "attachments.r2_account_id", "acc"),
        ("R2_BUCKET_NAME", "b", "attachments.r2_bucket", "b"),
        ("R2_ACCESS_KEY_ID", "hunter2", "attachments.r2_access_key_id", "***"),
        ("R2_SECRET_ACCESS_KEY", "hunter2", "attachments.r2_secret_access_key", "***"),
        ("R2_ENDPOINT", "https://eu.example", "attachments.r2_endpoint", "https://eu.example"),
        ("INTERNAL_SECRET", "hunter2", "http.internal_secret", "***"),
        ("RUN_MIGRATIONS_ON_START", "0", "store.migrate", "false"),
        ("STRICT_SCHEMA_CHECK", "0", "store.strict_schema", "false"),
        ("LOG_LEVEL", "WARNING", "log.level", "warning"),
    ];
    for (name, given, key, shown) in table {
        let loaded = with_env(&[(name, given)]).unwrap();
        let expected = if key == "broker.url" { "embedded" } else { shown };
        let expected =
            Entry { key: value(&loaded, key).key, value: expected.into(), origin: Origin::Env(name.into()) };
        assert_eq!(value(&loaded, key), expected, "{name}={given}");
    }
}

#[test]
fn every_key_can_come_from_its_own_variable() {
    for entry in Settings::load(&Sources::none()).unwrap().effective() {
        let name = format!("TIKKUN_{}", entry.key.to_uppercase().replace('.', "__"));
        let loaded = with_env(&[(&name, &entry.value)]).unwrap();
        assert_eq!(loaded.origin(entry.key), Some(&Origin::Env(name)));
    }
}

#[test]
fn an_empty_deployment_variable_counts_as_not_set() {
    let loaded = with_env(&[("REDIS_URL", ""), ("RQ_QUEUES", " "), ("RUN_MIGRATIONS_ON_START", "")]).unwrap();
    assert_eq!(loaded.origin("broker.url"), Some(&Origin::Default));
    assert!(loaded.settings.store.migrate);
}

#[test]
fn python_level_names_are_understood_in_any_case() {
    let table = [
        ("DEBUG", LogLevel::Debug),
        ("info", LogLevel::Info),
        ("Warning", LogLevel::Warning),
        ("WARN", LogLevel::Warning),
        ("ERROR", LogLevel::Error),
        ("CRITICAL", LogLevel::Critical),
    ];
    for (name, level) in table {
        assert_eq!(with_env(&[("LOG_LEVEL", name)]).unwrap().settings.log.level, level, "{name}");
    }
}

#[test]
fn both_names_of_a_key_must_agree() {
    assert!(with_env(&[("LOG_LEVEL", "INFO"), ("TIKKUN_LOG__LEVEL", "info")]).is_ok());
    assert!(
        with_env(&[("RQ_QUEUES", "maintenance, high"), ("TIKKUN_WORKER__QUEUES", "maintenance,high")])
            .is_ok()
    );
    let differ = [("LOG_LEVEL", "DEBUG"), ("TIKKUN_LOG__LEVEL", "info")];
    assert_eq!(
        only_problem(with_env(&differ)),
        "env LOG_LEVEL and env TIKKUN_LOG__LEVEL both set `log.level`, but differ (`DEBUG` and `info`): unset one of them"
    );
    let secrets = [("TIKKUN_HTTP__INTERNAL_SECRET", "hunter2"), ("INTERNAL_SECRET", "hunter3")];
    assert_eq!(
        only_problem(with_env(&secrets)),
        "env INTERNAL_SECRET and env TIKKUN_HTTP__INTERNAL_SECRET both set `http.internal_secret`, but differ: unset one of them"
    );
}

// ---- names that nobody knows ----

#[test]
fn unknown_names_stop_the_start_and_suggest_the_nearest() {
    let (path, loaded) = with_file("port = 1\n[lease]\ntll = \"15s\"\n[htpp]\nport = 1\n[zebra]\n");
    let file = path.display();
    let mut found = problems(loaded);
    found.sort();
    assert_eq!(found[0], format!("unknown key `lease.tll` in file {file}; did you mean `lease.ttl`?"));
    assert_eq!(found[1], format!("unknown key `port` in file {file}; did you mean `http.port`?"));
    assert_eq!(found[2], format!("unknown section `[htpp]` in file {file}; did you mean `[http]`?"));
    assert!(found[3].starts_with(&format!("unknown section `[zebra]` in file {file}; the sections are ")));
    assert_eq!(
        only_problem(with_env(&[("TIKKUN_HTTP_PORT", "1")])),
        "unknown environment variable TIKKUN_HTTP_PORT; did you mean TIKKUN_HTTP__PORT?"
    );
    assert_eq!(
        only_problem(with_env(&[("TIKKUN_ZEBRA__STRIPES", "1")])),
        "unknown environment variable TIKKUN_ZEBRA__STRIPES; own variables are written TIKKUN_SECTION__KEY, with two underscores"
    );
    assert_eq!(
        only_problem(with_flags(&[("worker.slot", "1")])),
        "unknown key `worker.slot` in flag; did you mean `worker.slots`?"
    );
}

#[test]
fn variables_of_others_are_left_alone() {
    let env =
        [("PATH", "/bin"), ("TIKKUN_CONFIG", "/x"), ("TIKKUN_SERVICE_HOST", "10.0.0.1"), ("TIKKUN", "1")];
    assert!(with_env(&env).is_ok());
}

// ---- values that cannot be used ----

#[test]
fn a_value_that_cannot_be_used_is_named_with_what_was_expected() {
    let duration = "a duration with its unit, such as `200ms`, `30s` or `5m`";
    let table = [
        ("TIKKUN_LEASE__TTL", "15", format!("`lease.ttl` is `15` (from env TIKKUN_LEASE__TTL), expected {duration}, longer than zero")),
        ("TIKKUN_LEASE__TTL", "0s", format!("`lease.ttl` is `0s` (from env TIKKUN_LEASE__TTL), expected {duration}, longer than zero")),
        ("TIKKUN_DELETION__THROTTLE", "-1s", format!("`deletion.throttle` is `-1s` (from env TIKKUN_DELETION__THROTTLE), expected {duration}")),
        ("TIKKUN_DELETION__THROTTLE", "1000years", format!("`deletion.throttle` is `1000years` (from env TIKKUN_DELETION__THROTTLE), expected {duration}")),
        ("TIKKUN_HTTP__PORT", "99999", "`http.port` is `99999` (from env TIKKUN_HTTP__PORT), expected a whole number from 0 to 65535".into()),
        ("TIKKUN_HTTP__BIND", "localhost", "`http.bind` is `localhost` (from env TIKKUN_HTTP__BIND), expected an IP address, such as `127.0.0.1`, `0.0.0.0` or `::1`".into()),
        ("TIKKUN_HTTP__BODY_LIMIT", "64", "`http.body_limit` is `64` (from env TIKKUN_HTTP__BODY_LIMIT), expected a size from 1KiB to 64MiB".into()),
        ("SERVICE_ROLE", "boss", "`service.role` is `boss` (from env SERVICE_ROLE), expected `worker`, `scheduler`, `api` or `all`".into()),
        ("LOG_LEVEL", "LOUD", "`log.level` is `LOUD` (from env LOG_LEVEL), expected `debug`, `info`, `warning`, `error`, `critical` or `trace`".into()),
        ("STRICT_SCHEMA_CHECK", "maybe", "`store.strict_schema` is `maybe` (from env STRICT_SCHEMA_CHECK), expected `true` or `false` (or `1` or `0`)".into()),
        ("RQ_QUEUES", " , ", "`worker.queues` is ` , ` (from env RQ_QUEUES), expected at least one queue name: `[\"high\", \"low\"]` in a file, `high,low` elsewhere".into()),
        ("TIKKUN_WORKER__SLOTS", "0", "`worker.slots` is `0` (from env TIKKUN_WORKER__SLOTS), expected a whole number from 1 to 1024".into()),
        ("TIKKUN_WORKER__QUEUE_CAPS", "high=0", "`worker.queue_caps` is `high=0` (from env TIKKUN_WORKER__QUEUE_CAPS), expected at least 1 slot for each queue: `{ high = 2 }` in a file, `high=2,low=1` elsewhere".into()),
        ("TIKKUN_TRACKER__HEARTBEAT_INTERVAL", "31s", "`tracker.heartbeat_interval` is `31s` (from env TIKKUN_TRACKER__HEARTBEAT_INTERVAL), expected a duration of at most `30s`".into()),
        ("TIKKUN_PYTHON__MEMORY_LIMIT", "1MiB", "`python.memory_limit` is `1MiB` (from env TIKKUN_PYTHON__MEMORY_LIMIT), expected `none` or a size from 16MiB".into()),
        ("TIKKUN_DELETION__TIMEOUT", "soon", "`deletion.timeout` is `soon` (from env TIKKUN_DELETION__TIMEOUT), expected `never` or a duration longer than zero with its unit, such as `30s` or `5m`".into()),
        ("TIKKUN_LOG__FILTER", "a=b=c", "`log.filter` is `a=b=c` (from env TIKKUN_LOG__FILTER), expected directives such as `info,tikkun::queue=debug`".into()),
        ("TIKKUN_SERVICE__DATA", "", "`service.data` is `` (from env TIKKUN_SERVICE__DATA), expected the path of a folder".into()),
        ("TIKKUN_LOG__LEVEL", "a\nb", "`log.level` is `a\\nb` (from env TIKKUN_LOG__LEVEL), expected `debug`, `info`, `warning`, `error`, `critical` or `trace`".into()),
        ("DATABASE_URL", "sqlite://a\u{fffd}b", "the environment variable DATABASE_URL is not valid UTF-8".into()),
    ];
    for (name, value, expected) in table {
        assert_eq!(only_problem(with_env(&[(name, value)])), expected);
    }
}

#[test]
fn types_in_a_file_are_strict() {
    let (path, loaded) =
        with_file("[http]\nport = \"8080\"\nenabled = 1\n[lease]\nttl = 15\n[worker]\nqueues = \"a,b\"\n");
    let file = path.display();
    assert_eq!(
        problems(loaded),
        [
            format!("`http.enabled` is `1` (from file {file}), expected `true` or `false` (or `1` or `0`)"),
            format!("`http.port` is `8080` (from file {file}), expected a whole number from 0 to 65535"),
            format!(
                "`worker.queues` is `a,b` (from file {file}), expected at least one queue name: `[\"high\", \"low\"]` \
                 in a file, `high,low` elsewhere"
            ),
            format!(
                "`lease.ttl` is `15` (from file {file}), expected a duration with its unit, such as `200ms`, \
                 `30s` or `5m`, longer than zero"
            ),
        ]
    );
}

#[test]
fn all_problems_are_told_at_once_one_a_line() {
    let error =
        with_env(&[("LOG_LEVEL", "LOUD"), ("TIKKUN_LEASE__RENEW", "8s"), ("TIKKUN_X", "1")]).unwrap_err();
    let text = error.to_string();
    assert_eq!(error.problems().len(), 3, "{text}");
    assert!(text.starts_with("cannot use this configuration, 3 problems:\n  - "), "{text}");
    assert_eq!(text.lines().count(), 4);
}

#[test]
fn broken_toml_names_file_line_and_column_but_not_the_line_itself() {
    let (path, loaded) = with_file("[http]\nport = 8080\ninternal_secret = hunter2\n");
    let text = only_problem(loaded);
    assert!(text.starts_with(&format!("{}, line 3, column 19: not valid TOML: ", path.display())), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
    let (_, loaded) = with_file("[http]\ninternal_secret = \"hunter2\n");
    assert!(!only_problem(loaded).contains("hunter2"));
    let (_, loaded) = with_file("[http]\ninternal_secret = \"hunter2\"\ninternal_secret = \"hunter2\"\n");
    assert!(!only_problem(loaded).contains("hunter2"));
}

#[test]
fn a_missing_file_is_named() {
    let sources = Sources { file: Some("/nowhere/t.toml".into()), ..Sources::none() };
    let text = only_problem(Settings::load(&sources));
    assert!(text.starts_with("cannot read the configuration file /nowhere/t.toml: "), "{text}");
}

#[test]
fn a_section_that_is_a_value_is_explained() {
    let (path, loaded) = with_file("broker = \"redis://u:hunter2@h\"\n");
    let expected =
        format!("`broker` in file {} is a section, expected `[broker]` with keys under it", path.display());
    assert_eq!(only_problem(loaded), expected);
}

// ---- engines ----

/// The file of the embedded queue.
fn queue_file(settings: &Settings) -> &str {
    match &settings.broker.engine {
        BrokerEngine::Embedded { file } => file.to_str().unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn redis_is_taken_as_its_urls_say_and_never_shown_with_its_password() {
    for url in ["redis://user:hunter2@host:6379/0", "rediss://:hunter2@host", "unix:///run/redis.sock"] {
        let loaded = with_env(&[("REDIS_URL", url), ("RQ_KEY_PREFIX", "shop")]).unwrap();
        let BrokerEngine::Redis(redis) = &loaded.settings.broker.engine else { panic!("{url}") };
        assert_eq!(redis.key_prefix, "shop");
        let shown = format!("{:?} {:?}", loaded.settings, loaded.settings.broker.shown);
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn urls_of_no_engine_are_refused_with_their_passwords_masked() {
    let table = [
        (
            "REDIS_URL",
            "host:6379",
            "`broker.url` (from env REDIS_URL) is `***`, expected `embedded`, `redis://host:6379/0`",
        ),
        (
            "DATABASE_URL",
            "postgres://u:hunter2@h",
            "`store.url` (from env DATABASE_URL) is `postgres://u:***@h`, expected the name of the database",
        ),
        (
            "DATABASE_URL",
            "postgresql+psycopg2://u:hunter2@h/d?sslmode=maybe",
            "`store.url` (from env DATABASE_URL) is `postgresql+psycopg2://u:***@h/d?sslmode=maybe`, expected `sslmode`",
        ),
        (
            "DATABASE_URL",
            "postgres://u:hunter2@one:5432,two:5432/d",
            "`store.url` (from env DATABASE_URL) is `postgres://u:***@one:5432,two:5432/d`, expected `postgres://user",
        ),
        (
            "DATABASE_URL",
            "mysql://u:hunter2@h/d",
            "`store.url` (from env DATABASE_URL) is `mysql://u:***@h/d`, expected `sqlite://path` or",
        ),
        (
            "DATABASE_URL",
            "sqlite://",
            "`store.url` (from env DATABASE_URL) is `sqlite://`, expected `sqlite://` and the path",
        ),
        (
            "ATTACHMENT_STORAGE_DRIVER",
            "s3",
            "`attachments.driver` (from env ATTACHMENT_STORAGE_DRIVER) is `s3`, which needs TIKKUN_",
        ),
    ];
    for (name, url, expected) in table {
        let text = only_problem(with_env(&[(name, url)]));
        assert!(text.starts_with(expected), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
}

#[test]
fn r2_names_the_variables_that_are_missing() {
    let found =
        problems(with_env(&[("ATTACHMENT_STORAGE_DRIVER", "r2"), ("R2_ENDPOINT", "https://e.example")]));
    assert_eq!(
        found[0],
        "`attachments.driver` (from env ATTACHMENT_STORAGE_DRIVER) is `r2`, which needs R2_BUCKET_NAME \
         (`attachments.r2_bucket`) and R2_ACCESS_KEY_ID (`attachments.r2_access_key_id`) and \
         R2_SECRET_ACCESS_KEY (`attachments.r2_secret_access_key`)"
    );
    assert_eq!(found.len(), 1, "{found:?}");
    let no_account = problems(with_env(&[("ATTACHMENT_STORAGE_DRIVER", "r2")]));
    assert!(no_account[0].contains("R2_ACCOUNT_ID"), "{no_account:?}");
}

/// What the deployment sets for R2.
const R2: [(&str, &str); 5] = [
    ("ATTACHMENT_STORAGE_DRIVER", "r2"),
    ("R2_ACCOUNT_ID", "acc123"),
    ("R2_BUCKET_NAME", "attachments"),
    ("R2_ACCESS_KEY_ID", "hunter2"),
    ("R2_SECRET_ACCESS_KEY", "hunter2"),
];

#[test]
fn r2_lies_at_the_accounts_own_endpoint_unless_another_is_given() {
    let r2 = with_env(&R2).unwrap().settings.attachments.r2;
    assert_eq!(r2.endpoint(), "https://acc123.r2.cloudflarestorage.com");
    let given = [R2.as_slice(), &[("R2_ENDPOINT", "http://127.0.0.1:9000")]].concat();
    assert_eq!(with_env(&given).unwrap().settings.attachments.r2.endpoint(), "http://127.0.0.1:9000");
    let wrong = [R2.as_slice(), &[("TIKKUN_ATTACHMENTS__R2_ACCOUNT_ID", "evil.example/#")]].concat();
    assert!(problems(with_env(&wrong)).iter().any(|text| text.contains("letters and digits")));
}

#[test]
fn an_endpoint_that_holds_the_bucket_already_is_a_warning() {
    for endpoint in ["https://acc123.r2.cloudflarestorage.com/attachments", "https://r2.example/attachments/"]
    {
        let given = [R2.as_slice(), &[("R2_ENDPOINT", endpoint)]].concat();
        let warnings = with_env(&given).unwrap().warnings;
        let text = "R2_ENDPOINT) ends with the bucket `attachments`";
        assert!(warnings.iter().any(|warning| warning.text.contains(text)), "{warnings:?}");
    }
    let s3 = |endpoint| {
        let flags =
            [("driver", "s3"), ("s3_bucket", "b"), ("s3_endpoint", endpoint), ("s3_path_style", "true")];
        let flags = flags.map(|(key, value)| (format!("attachments.{key}"), value));
        let flags: Vec<_> = flags.iter().map(|(key, value)| (key.as_str(), *value)).collect();
        with_flags(&flags).unwrap().warnings
    };
    assert!(s3("https://x.supabase.co/storage/v1/s3").is_empty());
    assert!(s3("https://b.example.com").is_empty(), "the store may be called so");
    assert!(s3("https://files.nyc3.digitaloceanspaces.com").is_empty());
    for endpoint in ["https://b.nyc3.digitaloceanspaces.com", "https://b.s3.fr-par.scw.cloud/"] {
        assert!(s3(endpoint)[0].text.contains("begins with the bucket `b`"), "{endpoint}");
    }
    assert!(s3("https://x.example/b")[0].text.contains("ends with the bucket `b`"));
}

#[test]
fn s3_needs_a_bucket_and_both_halves_of_a_key_or_none() {
    let driver = ("attachments.driver", "s3");
    assert_eq!(
        only_problem(with_flags(&[driver])),
        "`attachments.driver` (from flag) is `s3`, which needs TIKKUN_ATTACHMENTS__S3_BUCKET \
         (`attachments.s3_bucket`)"
    );
    let bucket = ("attachments.s3_bucket", "b");
    let loaded = with_flags(&[driver, bucket]).unwrap();
    let s3 = loaded.settings.attachments.s3;
    assert_eq!((s3.bucket.as_str(), s3.region.as_str(), s3.path_style), ("b", "", false));
    for (given, other) in [("access_key_id", "secret_access_key"), ("secret_access_key", "access_key_id")] {
        let half = (format!("attachments.s3_{given}"), "hunter2");
        let text = only_problem(with_flags(&[driver, bucket, (half.0.as_str(), half.1)]));
        assert!(text.contains(&format!("(`attachments.s3_{other}`)")) && !text.contains("hunter2"), "{text}");
    }
}

#[test]
fn a_bucket_that_no_driver_uses_is_worth_a_warning() {
    let loaded = with_env(&[("R2_BUCKET_NAME", "b")]).unwrap();
    assert_eq!(loaded.settings.attachments.driver, AttachmentDriver::Local);
    assert!(loaded.warnings[0].text.contains("`attachments.driver` is `local`"), "{:?}", loaded.warnings);
    let both = [R2.as_slice(), &[("TIKKUN_ATTACHMENTS__S3_BUCKET", "c")]].concat();
    let loaded = with_env(&both).unwrap();
    let text = &loaded.warnings[0].text;
    assert!(text.contains("s3_bucket") && text.contains("the bucket `attachments`"), "{text}");
}

#[test]
fn sqlite_urls_give_relative_and_absolute_files() {
    for (url, file) in [("sqlite://a/b.db", "a/b.db"), ("sqlite:///srv/b.db", "/srv/b.db")] {
        let settings = with_env(&[("DATABASE_URL", url)]).unwrap().settings;
        assert_eq!(sqlite_file(&settings), Path::new(file));
    }
    let moved = with_flags(&[("service.data", "/srv/tikkun")]).unwrap().settings;
    assert_eq!(queue_file(&moved), "/srv/tikkun/queue.db");
}

fn sqlite_file(settings: &Settings) -> &Path {
    match &settings.store.engine {
        StoreEngine::Sqlite { file } => file,
        other => panic!("{other:?}"),
    }
}

fn postgres(url: &str) -> (Loaded, PostgresSettings) {
    let loaded = with_env(&[("DATABASE_URL", url)]).unwrap();
    match loaded.settings.store.engine.clone() {
        StoreEngine::Postgres(postgres) => (loaded, postgres),
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_way_to_write_a_postgres_url_means_the_same() {
    for scheme in
        ["postgres", "postgresql", "postgresql+psycopg2", "postgresql+psycopg", "postgresql+asyncpg"]
    {
        let (loaded, settings) = postgres(&format!("{scheme}://u:hun%40ter2@db.example/app"));
        assert_eq!(settings.url.expose_secret(), "postgres://u:hun%40ter2@db.example/app");
        assert_eq!(settings.place, "db.example:5432/app");
        assert_eq!(loaded.settings.store.shown, format!("{scheme}://u:***@db.example/app"));
        assert!(!format!("{settings:?} {loaded:?}").contains("ter2"), "a password shows");
    }
    let (_, settings) = postgres("postgresql+psycopg2://u:p@/app?host=/run/postgresql&port=6432");
    assert_eq!(settings.place, "/run/postgresql:6432/app");
    let (_, settings) = postgres("postgresql+asyncpg://u:p@h:1/app?ssl=require&application_name=a%20b");
    assert!(settings.url.expose_secret().ends_with("/app?sslmode=require&application_name=a+b"));
}

#[test]
fn a_parameter_that_means_nothing_to_postgres_is_dropped_with_a_warning() {
    let (loaded, settings) = postgres("postgresql://u:p@h/app?connect_timeout=9&sslmode=disable");
    assert_eq!(settings.url.expose_secret(), "postgres://u:p@h/app?sslmode=disable");
    assert!(loaded.warnings[0].text.contains("says `connect_timeout`, which means nothing here"));
}

#[test]
fn patience_with_postgres_is_set_by_keys() {
    let env = [("DATABASE_URL", "postgres://h/app"), ("TIKKUN_STORE__LOCK_TIMEOUT", "200ms")];
    let loaded = with_env(&env).unwrap();
    let StoreEngine::Postgres(settings) = &loaded.settings.store.engine else { panic!() };
    let seconds = Duration::from_secs;
    assert_eq!((settings.max_connections, settings.acquire_timeout), (10, seconds(5)));
    assert_eq!(
        (settings.statement_timeout, settings.lock_timeout),
        (seconds(30), Duration::from_millis(200))
    );
    assert!(only_problem(with_env(&[("TIKKUN_STORE__MAX_CONNECTIONS", "0")])).contains("from 1 to 1000"));
}

// ---- contradictions ----

#[test]
fn contradictions_stop_the_start_and_name_both_sides() {
    let table: &[(&[(&str, &str)], &str)] = &[
        (
            &[("lease.renew", "7500ms")],
            "`lease.renew` (from flag) is `7s 500ms`, expected less than half of `lease.ttl` (TIKKUN_LEASE__TTL), which is `15s`",
        ),
        (
            &[("scheduler.interval", "40s")],
            "`scheduler.interval` (from flag) is `40s`, expected less than half of `scheduler.leadership_ttl` (TIKKUN_SCHEDULER__LEADERSHIP_TTL), which is `1m 15s`",
        ),
        (
            &[("deletion.stale_after", "19s")],
            "`tracker.heartbeat_interval` (TIKKUN_TRACKER__HEARTBEAT_INTERVAL) is `10s`, expected at most half of `deletion.stale_after` (from flag), which is `19s`",
        ),
        (
            &[("deletion.timeout", "5m")],
            "`deletion.runtime_limit` (TIKKUN_DELETION__RUNTIME_LIMIT) is `5m`, expected less than `deletion.timeout` (from flag), which is `5m`",
        ),
        (
            &[("rescuer.outbox_backoff_cap", "1s")],
            "`rescuer.outbox_backoff_first` (TIKKUN_RESCUER__OUTBOX_BACKOFF_FIRST) is `5s`, expected at most `rescuer.outbox_backoff_cap` (from flag), which is `1s`",
        ),
        (
            &[("supervision.delay_cap", "1ms")],
            "`supervision.delay_first` (TIKKUN_SUPERVISION__DELAY_FIRST) is `100ms`, expected at most `supervision.delay_cap` (from flag), which is `1ms`",
        ),
        (
            &[("service.role", "api"), ("http.enabled", "false")],
            "`service.role` (from flag) is `api`, which serves nothing while `http.enabled` (from flag) is `false`",
        ),
        (
            &[("http.bind", "0.0.0.0")],
            "`http.bind` (from flag) is `0.0.0.0`, which others can reach, but there is no secret: set INTERNAL_SECRET or bind 127.0.0.1",
        ),
        (
            &[("http.bind", "::")],
            "`http.bind` (from flag) is `::`, which others can reach, but there is no secret: set INTERNAL_SECRET or bind 127.0.0.1",
        ),
        (
            &[
                ("http.viewer_secret", "hunter2-hunter2-hunter2"),
                ("http.internal_secret", "hunter2-hunter2-hunter2"),
            ],
            "`http.viewer_secret` (from flag) is the same as `http.internal_secret` (from flag): whoever is given one would hold the other; take another text",
        ),
        (
            &[("worker.queue_caps", "hihg=1")],
            "`worker.queue_caps` (from flag) caps the queue `hihg`, which is neither listened to nor known; did you mean `high`?",
        ),
    ];
    for (flags, expected) in table {
        assert_eq!(only_problem(with_flags(flags)), *expected);
    }
}

#[test]
fn what_only_looks_like_a_contradiction_is_accepted() {
    let table: &[&[(&str, &str)]] = &[
        &[("http.bind", "0.0.0.0"), ("http.internal_secret", "hunter2-hunter2-hunter2")],
        &[("http.bind", "0.0.0.0"), ("http.enabled", "false")],
        &[
            ("http.viewer_secret", "hunter2-hunter2-hunter2"),
            ("http.operator_secret", "hunter3-hunter3-hunter3"),
        ],
        &[("http.viewer_secret", ""), ("http.operator_secret", "")],
        &[("http.base_path", "/ops/tikkun")],
        &[("http.bind", "::1")],
        &[("http.bind", "127.8.8.8")],
        &[("deletion.timeout", "never"), ("deletion.runtime_limit", "5h")],
        &[("worker.queue_caps", "broadcasts=1"), ("worker.queues", "maintenance")],
    ];
    for flags in table {
        with_flags(flags).unwrap_or_else(|e| panic!("{flags:?}: {e}"));
    }
}

#[test]
fn an_unusable_value_is_not_also_called_a_contradiction() {
    only_problem(with_flags(&[("lease.ttl", "soon")]));
    only_problem(with_flags(&[("worker.queues", ","), ("worker.queue_caps", "mine=1")]));
}

// ---- queues ----

#[test]
fn queue_lists_are_trimmed_and_repeats_are_dropped_with_a_warning() {
    let loaded = with_env(&[("RQ_QUEUES", " high, ,maintenance ,high,,")]).unwrap();
    let worker = &loaded.settings.worker;
    let names: Vec<&str> = worker.queues.iter().map(|queue| queue.as_str()).collect();
    assert_eq!(names, ["high", "maintenance"]);
    assert_eq!(worker.queues_as_given, " high, ,maintenance ,high,,");
    assert!(worker.listens_to("maintenance"));
    assert_eq!(
        loaded.warnings[0].text,
        "`worker.queues` (from env RQ_QUEUES) names `high` twice: the repeat is dropped"
    );
    assert_eq!(loaded.warnings.len(), 1 + 6, "{:?}", loaded.warnings);
}

#[test]
fn without_maintenance_the_warning_is_an_error() {
    let loaded = with_env(&[("RQ_QUEUES", "high")]).unwrap();
    let errors: Vec<_> = loaded.warnings.iter().filter(|w| w.level == WarningLevel::Error).collect();
    assert_eq!(errors.len(), 1);
    assert!(errors[0].text.starts_with("queue `maintenance` is not listened to"), "{errors:?}");
    assert!(with_env(&[("RQ_QUEUES", "high"), ("SERVICE_ROLE", "scheduler")]).unwrap().warnings.is_empty());
}

#[test]
fn caps_come_as_a_table_or_as_text() {
    let (_, from_file) = with_file("[worker]\nqueue_caps = { high = 2, low = 1 }\n");
    let from_env = with_env(&[("TIKKUN_WORKER__QUEUE_CAPS", "low=1, high=2")]);
    let caps = from_file.unwrap().settings.worker.queue_caps;
    assert_eq!(caps.get(&"high".into()), Some(&2));
    assert_eq!(from_env.unwrap().settings.worker.queue_caps, caps);
}

#[test]
fn threads_follow_the_slots() {
    for (slots, threads, expected) in [("6", "0", 6), ("6", "2", 2), ("2", "6", 2)] {
        let loaded = with_flags(&[("worker.slots", slots), ("worker.threads", threads)]).unwrap();
        assert_eq!(loaded.settings.worker.threads, expected);
    }
}

// ---- schedules ----

const NIGHTLY: &str = "[[schedule]]\nname = \"nightly\"\ncron = \"30 2 * * *\"\nfunction = \"shop.report\"\n";

#[test]
fn a_schedule_needs_three_keys_and_has_defaults_for_the_rest() {
    let (path, loaded) = with_file(NIGHTLY);
    let loaded = loaded.unwrap();
    let [schedule] = loaded.settings.schedules.as_slice() else { panic!("{:?}", loaded.settings.schedules) };
    assert_eq!((schedule.name.as_str(), schedule.rule.to_string().as_str()), ("nightly", "30 2 * * * UTC"));
    assert_eq!((schedule.kind.as_str(), schedule.queue.as_str()), ("shop.report", "default"));
    assert_eq!((schedule.missed, schedule.jitter), (Missed::Once, Duration::ZERO));
    assert!(schedule.args.positional.is_empty() && schedule.timeout.is_none() && schedule.retries.is_none());
    assert_eq!(loaded.origin("schedule"), Some(&Origin::File(path)));
    let shown = value(&loaded, "schedule").value;
    assert!(shown.contains("cron = \"30 2 * * *\"") && shown.contains("missed = \"once\""), "{shown}");
}

#[test]
fn a_schedule_takes_every_kind_of_argument_and_limits_of_its_own() {
    let rest = "args = [27, \"a\", true, 1.5, [1], { deep = \"b\" }]\nqueue = \"low\"\ntimeout = \"never\"\n\
                retries = 3\nretry_delay = \"5m\"\njitter = \"30s\"\nmissed = \"all\"\ntime_zone = \"Asia/Jerusalem\"\n";
    let (_, loaded) = with_file(&format!(
        "{NIGHTLY}{rest}[[schedule]]\nname = \"two\"\ncron = \"@daily\"\n\
        function = \"f\"\nargs = '[null]'\n[[schedule]]\nname = \"off\"\ncron = \"@daily\"\nfunction = \"f\"\n\
        enabled = false\n"
    ));
    let schedules = loaded.unwrap().settings.schedules;
    let names: Vec<_> = schedules.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["nightly", "two"], "in their order, without what is off");
    let args = serde_json::json!([27, "a", true, 1.5, [1], { "deep": "b" }]);
    assert_eq!(serde_json::json!(schedules[0].args.positional), args);
    assert_eq!(schedules[0].timeout, Some(Limit::Never));
    let retries = schedules[0].retries.clone().unwrap();
    assert_eq!((retries.left, retries.intervals), (3, vec![Duration::from_secs(300)]));
    assert_eq!(schedules[1].args.positional, [serde_json::Value::Null]);
}

/// What is written in place of what, and what is said of it.
const SPOILED: &[(&str, &str, &str)] = &[
    (
        "cron = \"30 2 * * *\"",
        "cron = \"61 2 * * *\"",
        "schedule `nightly` (from file FILE): `cron` is `61 2 * * *`, expected five fields that come due some day",
    ),
    (
        "cron = \"30 2 * * *\"",
        "cron = \"0 0 31 2 *\"",
        "schedule `nightly` (from file FILE): `cron` is `0 0 31 2 *`, expected five fields",
    ),
    (
        "cron = \"30 2 * * *\"",
        "",
        "schedule `nightly` (from file FILE): `cron` is missing, expected five fields",
    ),
    (
        "name = \"nightly\"",
        "",
        "schedule number 1 (from file FILE): `name` is missing, expected up to 64 letters",
    ),
    (
        "name = \"nightly\"",
        "name = \"every night\"",
        "schedule `every night` (from file FILE): `name` is `every night`, expected up to 64 letters, digits, `_` and `-`",
    ),
    (
        "function =",
        "funtion =",
        "schedule `nightly` (from file FILE) has an unknown key `funtion`; did you mean `function`?",
    ),
    (
        "name",
        "time_zone = \"Asia/Jerusalm\"\nname",
        "schedule `nightly` (from file FILE): `time_zone` is `Asia/Jerusalm`, expected a time zone by its IANA name, such as `Asia/Jerusalem` or `UTC`; did you mean `Asia/Jerusalem`?",
    ),
    ("name", "args = \"27\"\nname", "schedule `nightly` (from file FILE): `args` is `27`, expected an array"),
    (
        "name",
        "args = [2026-01-01]\nname",
        "schedule `nightly` (from file FILE): `args` is `[2026-01-01]`, expected an array",
    ),
    (
        "name",
        "missed = \"twice\"\nname",
        "schedule `nightly` (from file FILE): `missed` is `twice`, expected `skip`, `once` or `all`",
    ),
    (
        "name",
        "retries = 101\nname",
        "schedule `nightly` (from file FILE): `retries` is `101`, expected a whole number from 0 to 100",
    ),
    (
        "name",
        "queue = \"lwo\"\nname",
        "schedule `nightly`: `queue` is `lwo`, expected a queue that is listened to or known; did you mean `low`?",
    ),
];

#[test]
fn problems_of_a_schedule_name_it_the_key_the_value_and_what_was_expected() {
    for (from, to, expected) in SPOILED {
        let (path, loaded) = with_file(&NIGHTLY.replacen(from, to, 1));
        let expected = expected.replace("FILE", &path.display().to_string());
        assert!(problems(loaded)[0].starts_with(&expected), "expected {expected}");
    }
    let (path, loaded) = with_file(&NIGHTLY.repeat(2));
    let expected = format!(
        "schedule `nightly` (from file {}) is there twice: each needs a name of its own",
        path.display()
    );
    assert_eq!(only_problem(loaded), expected);
}

#[test]
fn a_list_is_told_from_a_section() {
    let (path, loaded) = with_file("[schedule]\nname = \"nightly\"\n");
    let file = path.display();
    assert_eq!(
        only_problem(loaded),
        format!("`schedule` in file {file} is a list, expected `[[schedule]]` with keys under each")
    );
    let (path, loaded) = with_file("[[schedules]]\nname = \"nightly\"\n");
    let expected =
        format!("unknown list `[[schedules]]` in file {}; did you mean `[[schedule]]`?", path.display());
    assert_eq!(only_problem(loaded), expected);
    assert!(
        only_problem(with_env(&[("TIKKUN_SCHEDULE__NAME", "x")])).contains("unknown environment variable")
    );
}

// ---- secrets ----

#[test]
fn a_page_secret_that_can_be_guessed_stops_the_start() {
    for key in ["TIKKUN_HTTP__VIEWER_SECRET", "TIKKUN_HTTP__OPERATOR_SECRET"] {
        for bad in ["hunter2", "hunter2-hunter2", "hunter2-hunter2 ", "hunter2\n"] {
            let problem = only_problem(with_env(&[(key, bad)]));
            assert!(problem.contains("16 characters or more") && problem.contains(key), "{problem}");
            assert!(!problem.contains("hunter2"), "{problem}");
        }
        let loaded = with_env(&[(key, "hunter2-hunter2-")]).unwrap();
        assert!(loaded.warnings.iter().all(|warning| !warning.text.contains("guessed")));
        assert!(!format!("{loaded:?} {:?}", loaded.effective()).contains("hunter2"));
    }
}

#[test]
fn a_base_path_that_cannot_be_one_is_refused() {
    for bad in ["tikkun", "/tikkun/", "/", "//x", "/a/../b", "/a b", "/a;b", "/api", "/page/x", "/metrics"] {
        assert!(only_problem(with_flags(&[("http.base_path", bad)])).contains("`http.base_path`"), "{bad}");
    }
}

#[test]
fn secrets_are_kept_but_never_printed() {
    let secret = [
        ("INTERNAL_SECRET", "hunter2"),
        ("R2_ACCESS_KEY_ID", "hunter2"),
        ("R2_SECRET_ACCESS_KEY", "hunter2"),
        ("TIKKUN_ATTACHMENTS__S3_ACCESS_KEY_ID", "hunter2"),
        ("TIKKUN_ATTACHMENTS__S3_SECRET_ACCESS_KEY", "hunter2"),
    ];
    let loaded = with_env(&secret).unwrap();
    let kept = loaded.settings.http.internal_secret.clone().unwrap();
    assert_eq!(kept.expose_secret(), "hunter2");
    assert!(loaded.warnings[0].text.contains("short enough to be guessed"), "{:?}", loaded.warnings);
    let shown = format!("{loaded:?} {:?} {:?}", loaded.settings, loaded.effective());
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn errors_never_hold_a_secret() {
    let sources = [
        vec![("INTERNAL_SECRET", "hunter2\n hunter2")],
        vec![("R2_ENDPOINT", "https://u:hunter2@h")],
        vec![("R2_ENDPOINT", "hunter2")],
        vec![("TIKKUN_ATTACHMENTS__S3_ENDPOINT", "https://u:hunter2@h")],
        vec![("REDIS_URL", "http://:hunter2@h")],
        vec![("TIKKUN_HTTP__INTERNAL_SECERT", "hunter2")],
        vec![("REDIS_URL", "redis://:hunter2@h"), ("TIKKUN_BROKER__URL", "redis://:hunter2@i")],
        vec![("INTERNAL_SECRET", "hunter2"), ("TIKKUN_HTTP__INTERNAL_SECRET", "x")],
    ];
    for env in sources {
        let error = with_env(&env).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    }
    for content in [
        "[http]\ninternal_secret = 4242\n",
        "[http]\ninternal_secret = [\"4242\"]\n",
        "[broker]\nurl = 4242\n",
        "[store]\nurl = { password = \"4242\" }\n",
    ] {
        let (path, loaded) = with_file(content);
        let text = only_problem(loaded).replace(&path.display().to_string(), "");
        assert!(!text.contains("4242"), "{text}");
    }
}

#[test]
fn a_python_worker_says_what_differs_from_the_usual_and_its_arguments_are_not_shown() {
    let text = "[[python]]\ncommand = [\"rq\", \"worker\", \"--url\", \"redis://:geheim@cache/0\"]\n\
                native = [\"delete_receipts_batch_job\"]\nisolation = \"warm\"\nlifetime = \"1h\"\n\
                start = \"spawn\"\npreload = \"off\"\n\
                [[python]]\ncommand = [\"rq\", \"worker\", \"low\"]\n";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tikkun.toml");
    std::fs::write(&path, text).unwrap();
    let env = pairs(&[("TIKKUN_PYTHON__BOOT_TIMEOUT", "7s")]);
    let loaded = Settings::load(&Sources { file: Some(path), env, ..Sources::none() }).unwrap();
    let [first, second] = loaded.settings.python_workers.as_slice() else { panic!("{loaded:?}") };
    assert_eq!((first.native.len(), first.slots, first.command.len()), (1, None, 4));
    let times = |worker: &PythonWorkerSettings| (worker.processes.boot_timeout, worker.processes.lifetime);
    let [seven, hour] = [7, 3600].map(Duration::from_secs);
    assert_eq!([times(first), times(second)], [(seven, hour), (seven, hour * 6)]);
    let isolation = [first, second].map(|worker| worker.processes.isolation);
    assert_eq!(isolation, [Isolation::Warm, Isolation::Job]);
    let start = [first, second].map(|worker| worker.processes.start);
    assert_eq!(start, [ChildStart::Spawn, ChildStart::Fork]);
    let shown = loaded.effective().iter().filter(|entry| entry.key == "python");
    let shown: Vec<_> = shown.map(|entry| entry.value.as_str()).collect();
    assert!(shown[0].contains("command = [\"rq\", \"worker\", \"…\"]"), "{shown:?}");
    assert_eq!(shown[1], "{ command = [\"rq\", \"worker\", \"low\"] }");
}

#[test]
fn a_python_worker_that_cannot_be_used_is_named_without_its_command() {
    let table = [
        (
            "command = \"rq worker --url redis://:geheim@cache/0\"",
            "`command` cannot be used, expected the program",
        ),
        ("slots = 2", "`command` is missing, expected the program and its arguments"),
        ("command = []", "`command` cannot be used"),
        ("command = [\"rq\"]\nslots = 0", "`slots` is `0`, expected a whole number from 1 to 1024"),
        (
            "command = [\"rq\"]\nmemory_growth = \"1KiB\"",
            "`memory_growth` is `1KiB`, expected a size from 1MiB",
        ),
        ("command = [\"rq\"]\nstart = \"thread\"", "`start` is `thread`, expected `fork` or `spawn`"),
        (
            "command = [\"rq\"]\nstart = \"spawn\"\npreload = [\"shop\"]",
            "`preload` is for processes that are forked: with the start `spawn` each imports all by itself",
        ),
    ];
    for (text, expected) in table {
        let problem = only_problem(with_file(&format!("[[python]]\n{text}\n")).1);
        assert!(problem.starts_with("`[[python]]` number 1 (from file "), "{problem}");
        assert!(problem.contains(expected) && !problem.contains("geheim"), "{problem}");
    }
    assert!(only_problem(with_file("python = 5\n").1).contains("expected `[[python]]` with keys under each"));
}
