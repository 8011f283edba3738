//! The connections to the back ends as configured: the database and password of a Redis; for TLS the trusted
//! authorities, with the same settings everywhere; and the proxy for a bucket.

use crate::servers::http::Recorder;
use crate::servers::postgres as postgres_server;
use crate::servers::redis as redis_server;
use crate::servers::s3;
mod certificates;
mod relay;
mod renewed;

use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use certificates::Certificates;
use postgres_server::Server;
use redis_server::Redis;
use relay::{Proxy, TlsFront};
use s3::{BUCKET, KEY_ID, S3Server, SECRET};
use sqlx::{Connection as _, PgConnection};
use tempfile::TempDir;
use tikkun::config::{ProxySettings, WebhookProxies};
use tikkun::job::WebhookRequest;
use tikkun::webhooks::WebhookSender;

/// Longest wait for a server.
const PATIENCE: Duration = Duration::from_secs(20);
/// The certificates of all tests.
static MADE: LazyLock<Certificates> = LazyLock::new(Certificates::make);

/// What a command says, and its exit code.
fn tikkun(args: &[&str], env: &[(&str, &str)]) -> (i32, String) {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tikkun"));
    command.env_clear().envs(env.iter().copied()).current_dir(folder.path()).args(args);
    let ended = command.stdin(Stdio::null()).output().unwrap();
    let said = [ended.stdout, ended.stderr].concat();
    (ended.status.code().unwrap(), String::from_utf8(said).unwrap())
}

/// Each variable for authorities, and whether it is to name the right ones.
fn trusts(file: &str) -> [(&'static str, String); 3] {
    ["SSL_CERT_FILE", "TIKKUN_TLS__CA_FILE", "SSL_CERT_DIR"].map(|name| {
        let folder = Path::new(file).parent().unwrap().display().to_string();
        (name, if name == "SSL_CERT_DIR" { folder } else { file.to_owned() })
    })
}

/// A Redis that speaks nothing but TLS; gone with the process that started it, however that ends.
struct TlsRedis {
    port: u16,
    watched: Child,
    folder: TempDir,
}

/// Starts the server and ends it when this pipe closes.
const WATCHED: &str = r#"
cd "$1"
redis-server --bind 127.0.0.1 --port 0 --unixsocket redis.sock --tls-port "$2" --tls-cert-file "$3/server.pem" --tls-key-file "$3/server.key" \
    --tls-ca-cert-file "$3/ca/ca.pem" --tls-auth-clients "$4" --save '' --daemonize no >log 2>&1 &
read -r _
kill -9 $!
"#;

impl TlsRedis {
    fn start(clients: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let watched = Command::new("/bin/sh")
            .args(["-c", WATCHED, "sh"])
            .args([folder.path(), Path::new(&port.to_string()), MADE.folder(), Path::new(clients)])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let began = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            let log = std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
            assert!(began.elapsed() < PATIENCE, "redis-server does not answer; its log:\n{log}");
            std::thread::yield_now();
        }
        Self { port, watched, folder }
    }

    /// A command without TLS.
    fn tell(&self, words: &[&str]) {
        let socket = self.folder.path().join("redis.sock");
        let answer = Command::new("redis-cli").arg("-e").arg("-s").arg(socket).args(words).output().unwrap();
        assert!(answer.status.success(), "{words:?}: {answer:?}");
    }

    /// Whether a job goes in, and what is said.
    fn answers(&self, host: &str, query: &str, env: &[(&str, &str)]) -> (bool, String) {
        let url = format!("rediss://{host}:{}/0{query}", self.port);
        let (code, said) = tikkun(&["enqueue", "f"], &[env, &[("REDIS_URL", &url)]].concat());
        (code == 0, said)
    }
}

impl Drop for TlsRedis {
    fn drop(&mut self) {
        drop(self.watched.stdin.take());
        let _ = self.watched.wait();
    }
}

#[test]
fn jobs_go_into_the_database_that_the_address_names() {
    let redis = Redis::start_with_port();
    assert_eq!(redis.ask(&["config", "set", "requirepass", "hunter2"]), "OK");
    let (tcp, socket) = (redis.tcp_url(9), redis.socket().display().to_string());
    for (database, url) in [
        ("2", format!("{tcp}?db=2&password=hunter2")),
        ("3", tcp.replace("://", "://:hunter2@").replace("/9", "/3/")),
        ("4", format!("unix://{socket}?db=4&password=hunter2")),
        ("5", format!("unix://default:hunter2@{socket}?db=5&socket_timeout=3")),
    ] {
        let size = || redis.ask(&["--no-auth-warning", "-a", "hunter2", "-n", database, "dbsize"]);
        assert_eq!(size(), "0");
        let (code, said) = tikkun(&["enqueue", "f"], &[("REDIS_URL", &url)]);
        assert_eq!(code, 0, "{url}: {said}");
        assert_ne!(size(), "0", "{url}");
    }
}

#[test]
fn redis_is_trusted_by_whatever_names_its_authority() {
    let redis = TlsRedis::start("no");
    let ca = MADE.path("ca/ca.pem");
    for (name, value) in trusts(&ca) {
        let (answers, said) = redis.answers("localhost", "", &[(name, &value)]);
        assert!(answers, "{name}: {said}");
    }
    for (host, query, expected) in [
        ("localhost", "", false),
        ("localhost", &*format!("?ssl_ca_certs={ca}"), true),
        ("localhost", &*format!("?ssl_ca_certs={}", MADE.path("other.pem")), false),
        ("localhost", "?ssl_cert_reqs=none", true),
        ("127.0.0.1", &*format!("?ssl_ca_certs={ca}"), false),
        ("127.0.0.1", &*format!("?ssl_ca_certs={ca}&ssl_check_hostname=false"), true),
        ("127.0.0.1", "?ssl_check_hostname=false", false),
    ] {
        let (answers, said) = redis.answers(host, query, &[]);
        assert_eq!(answers, expected, "{host}{query}: {said}");
        assert!(expected || said.contains("certificate"), "{host}{query}: {said}");
    }
    let (answers, said) = redis.answers("localhost", "", &[("SSL_CERT_FILE", "/nowhere.pem")]);
    assert!(!answers && said.contains("/nowhere.pem") && said.contains("SSL_CERT_FILE"), "{said}");
}

#[test]
fn redis_that_wants_a_certificate_gets_it() {
    let redis = TlsRedis::start("yes");
    let trust = format!("?ssl_ca_certs={}", MADE.path("ca/ca.pem"));
    assert!(!redis.answers("localhost", &trust, &[]).0);
    let pair = format!("&ssl_certfile={}&ssl_keyfile={}", MADE.path("client.pem"), MADE.path("client.key"));
    let (answers, said) = redis.answers("localhost", &format!("{trust}{pair}"), &[]);
    assert!(answers, "{said}");
    let both = format!("?ssl_cert_reqs=none&ssl_certfile={}", MADE.path("both.pem"));
    let (answers, said) = redis.answers("localhost", &both, &[]);
    assert!(answers, "{said}");
}

/// Makes the server speak TLS with the certificate of the tests.
async fn with_tls(server: &Server) {
    let mut connection = PgConnection::connect(&server.url("postgres")).await.unwrap();
    let folder: String = sqlx::query_scalar("show data_directory").fetch_one(&mut connection).await.unwrap();
    let owner = std::fs::metadata(&folder).unwrap();
    for (made, name) in [("server.pem", "server.crt"), ("server.key", "server.key")] {
        let file = Path::new(&folder).join(name);
        // With the permissions of the original.
        std::fs::copy(MADE.path(made), &file).unwrap();
        chown(&file, Some(owner.uid()), Some(owner.gid())).unwrap();
    }
    sqlx::query("alter system set ssl = on").execute(&mut connection).await.unwrap();
    sqlx::query("select pg_reload_conf()").execute(&mut connection).await.unwrap();
    let began = Instant::now();
    let secure = format!("{}?sslmode=require", server.url("postgres"));
    while PgConnection::connect(&secure).await.is_err() {
        assert!(began.elapsed() < PATIENCE, "PostgreSQL does not speak TLS");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn postgres_is_trusted_by_whatever_names_its_authority() {
    let server = Server::shared();
    with_tls(server).await;
    let base = server.url(&server.empty_database().await).replace("127.0.0.1", "localhost");
    let answers = |query: &str, env: &[(&str, &str)]| {
        let url = format!("{base}{query}");
        let env = [env, &[("DATABASE_URL", &*url), ("TIKKUN_STORE__ACQUIRE_TIMEOUT", "3s")]].concat();
        let (code, said) = tikkun(&["migrate"], &env);
        (code == 0, said)
    };
    let ca = MADE.path("ca/ca.pem");
    for (name, value) in trusts(&ca) {
        for query in ["?sslmode=verify-full", "?sslmode=verify-ca", "?sslrootcert=system"] {
            let (answers, said) = answers(query, &[(name, &value)]);
            assert!(answers, "{name} {query}: {said}");
        }
    }
    for (query, expected) in [
        ("?sslmode=require".to_owned(), true),
        ("?sslmode=verify-full".to_owned(), false),
        ("?sslrootcert=system".to_owned(), false),
        (format!("?sslmode=verify-full&sslrootcert={ca}"), true),
        (format!("?sslmode=require&sslrootcert={ca}"), true),
        (format!("?sslmode=require&sslrootcert={}", MADE.path("other.pem")), false),
    ] {
        let (answers, said) = answers(&query, &[]);
        assert_eq!(answers, expected, "{query}: {said}");
        assert!(expected || said.contains("certificate"), "{query}: {said}");
    }
    let (works, said) = answers("", &[("PGSSLMODE", "verify-full"), ("PGSSLROOTCERT", &ca)]);
    assert!(works, "{said}");
}

#[test]
fn bucket_behind_a_proxy_is_reached_and_trusted_by_whatever_names_its_authority() {
    let server = S3Server::start();
    let front = TlsFront::start(&server.endpoint(), &MADE);
    let proxy = Proxy::start(front.address());
    let endpoint = "https://store.invalid:8443";
    let base = [
        ("ATTACHMENT_STORAGE_DRIVER", "r2"),
        ("R2_ENDPOINT", endpoint),
        ("R2_BUCKET_NAME", BUCKET),
        ("R2_ACCESS_KEY_ID", KEY_ID),
        ("R2_SECRET_ACCESS_KEY", SECRET),
    ];
    let selftest = |env: &[(&str, &str)]| tikkun(&["selftest", "--limit", "20s"], &[&base[..], env].concat());
    let ca = MADE.path("ca/ca.pem");
    for (name, value) in trusts(&ca) {
        let (code, said) = selftest(&[("HTTPS_PROXY", &proxy.url()), (name, &value)]);
        assert_eq!(code, 0, "{name}: {said}");
    }
    assert!(
        proxy.asked().iter().all(|line| line == "CONNECT store.invalid:8443 HTTP/1.1"),
        "{:?}",
        proxy.asked()
    );
    let before = proxy.asked().len();
    assert!(before > 0);
    let (code, said) =
        selftest(&[("HTTPS_PROXY", &proxy.url()), ("SSL_CERT_FILE", &ca), ("NO_PROXY", ".invalid")]);
    assert!(code == 1 && proxy.asked().len() == before, "nothing goes through it: {said}");
    let (code, said) = selftest(&[("HTTPS_PROXY", &proxy.url())]);
    assert!(code == 1 && said.contains("certificate"), "{said}");
}

/// How often the server was asked after one webhook to this address was made.
async fn sent(
    server: &Recorder,
    url: &str,
    (ca_file, proxies): (Option<&str>, WebhookProxies),
) -> Vec<String> {
    let before = server.seen().len();
    let sender = WebhookSender::new(ca_file.map(PathBuf::from), proxies);
    sender.send(vec![WebhookRequest {
        job: "a".into(),
        url: url.to_owned(),
        headers: vec![("X-Key".to_owned(), "hunter2".to_owned())],
        body: Some("{}".to_owned()),
        timeout: PATIENCE,
    }]);
    sender.all_sent().await;
    server
        .seen()
        .split_off(before)
        .into_iter()
        .map(|seen| format!("{} {:?} {}", seen.line, seen.headers, seen.body))
        .collect()
}

#[tokio::test]
async fn webhooks_go_through_tls_and_proxies_as_the_environment_names_them() {
    let server = Recorder::start();
    let front = TlsFront::start(&server.url(), &MADE);
    let tunnel = Proxy::start(front.address());
    let ca = MADE.path("ca/ca.pem");
    let proxy = |url: String, except: &str| {
        let login = Some(("me".to_owned(), "hunter3".to_owned().into()));
        Some(ProxySettings { url, login, except: except.to_owned() })
    };
    let direct = format!("https://localhost:{}/hook?x", front.address().port());
    let seen = sent(&server, &direct, (Some(&ca), WebhookProxies::default())).await;
    assert!(
        matches!(&seen[..], [one] if one.starts_with("POST /hook?x ") && one.ends_with(" {}")),
        "{seen:?}"
    );
    assert!(
        sent(&server, &direct, (None, WebhookProxies::default())).await.is_empty(),
        "nobody vouches for it"
    );

    let https = |except| WebhookProxies { http: None, https: proxy(tunnel.url(), except) };
    let seen = sent(&server, "https://store.invalid:8443/hook", (Some(&ca), https(""))).await;
    assert!(
        matches!(&seen[..], [one] if one.contains("Host: store.invalid:8443") && !one.contains("Proxy")),
        "{seen:?}"
    );
    assert_eq!(tunnel.asked(), ["CONNECT store.invalid:8443 HTTP/1.1"]);
    let except = sent(&server, "https://store.invalid:8443/hook", (Some(&ca), https("other,.invalid"))).await;
    assert!(except.is_empty() && tunnel.asked().len() == 1, "{except:?}");

    let http = |except| WebhookProxies { http: proxy(server.url(), except), https: None };
    let seen = sent(&server, "http://store.invalid/hook?x", (None, http(""))).await;
    let basic = "Proxy-Authorization: Basic bWU6aHVudGVyMw==";
    assert!(
        matches!(&seen[..], [one] if one.starts_with("POST http://store.invalid/hook?x ") && one.contains(basic)),
        "{seen:?}"
    );
    let direct = format!("{}/hook", server.url());
    let seen = sent(&server, &direct, (None, http("127.0.0.0/8"))).await;
    assert!(
        matches!(&seen[..], [one] if one.starts_with("POST /hook ") && !one.contains("Proxy")),
        "{seen:?}"
    );
}

#[tokio::test]
async fn a_webhook_that_is_led_to_another_host_leaves_its_headers_behind() {
    let server = Recorder::start();
    let elsewhere = Recorder::start();
    let seen = sent(&server, &format!("{}/moved", server.url()), (None, WebhookProxies::default())).await;
    assert!(
        seen.len() == 2 && seen[1].starts_with("GET /landed ") && seen[1].contains("hunter2"),
        "{seen:?}"
    );
    let led = format!("{}/moved?to={}/there", server.url(), elsewhere.url());
    let seen = sent(&server, &led, (None, WebhookProxies::default())).await;
    assert!(seen.len() == 1 && seen[0].contains("hunter2"), "{seen:?}");
    let there = elsewhere.seen();
    assert_eq!((there.len(), &*there[0].line), (1, "GET /there"));
    assert!(!there[0].headers.iter().any(|header| header.contains("hunter2")), "{there:?}");
}

#[test]
fn a_wrong_file_ends_the_start_at_once() {
    for (name, url) in [
        ("DATABASE_URL", "postgres://127.0.0.1:9/d?sslmode=verify-full&sslrootcert=/nowhere.pem"),
        ("DATABASE_URL", "postgres://127.0.0.1:9/d?sslcert=/nowhere.pem&sslkey=/nowhere.pem"),
        ("DATABASE_URL", "postgres://127.0.0.1:9/d?channel_binding=require"),
        ("DATABASE_URL", "postgres://127.0.0.1:9/d?SSLMODE=verify-full"),
        ("REDIS_URL", "rediss://127.0.0.1:9/0?ssl_ca_certs=/nowhere.pem"),
    ] {
        let (code, said) = tikkun(&["serve"], &[(name, url), ("TIKKUN_HTTP__PORT", "0")]);
        assert_eq!(code, 2, "{url}: {said}");
        assert!(said.contains(name), "{said}");
    }
}
