//! Certificates that are renewed while a process runs hold from the next connection on.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use tikkun::config::WebhookProxies;
use tikkun::job::WebhookRequest;
use tikkun::queue::{Broker, RqSettings, open_rq};
use tikkun::webhooks::WebhookSender;

use super::relay::TlsFront;
use super::{MADE, PATIENCE, TlsRedis};
use crate::servers::http::Recorder;

/// Puts what was made under this name in the place of a file.
fn put(made: &str, folder: &Path, name: &str) {
    fs::copy(MADE.path(made), folder.join(name)).unwrap();
}

/// What is refused to a call on a new connection, if anything.
async fn refused(redis: &TlsRedis, broker: &dyn Broker) -> Option<String> {
    redis.tell(&["CLIENT", "KILL", "TYPE", "normal"]);
    // The first may still find the connection from before.
    let _ = broker.check().await;
    broker.check().await.err().map(|fault| fault.chain())
}

#[tokio::test]
async fn certificates_that_are_renewed_on_the_disk_are_those_of_the_next_connection_to_redis() {
    let (redis, folder) = (TlsRedis::start("yes"), tempfile::tempdir().unwrap());
    let folder = folder.path();
    for (made, name) in [("ca/ca.pem", "ca.pem"), ("client.pem", "client.pem"), ("client.key", "client.key")]
    {
        put(made, folder, name);
    }
    let file = |name: &str| folder.join(name).display().to_string();
    let files = format!(
        "ssl_ca_certs={}&ssl_certfile={}&ssl_keyfile={}",
        file("ca.pem"),
        file("client.pem"),
        file("client.key")
    );
    let settings = RqSettings {
        url: format!("rediss://localhost:{}/0?{files}", redis.port).into(),
        prefix: "rq".to_owned(),
        slots: 1,
        payload_limit: 1 << 20,
        expanded_limit: 1 << 20,
        whole_hashes: Vec::new(),
        worker_name: None,
    };
    let broker = open_rq(&settings).unwrap();
    assert_eq!(refused(&redis, &*broker).await, None);

    let [certificate, key, authority] =
        ["other-server.pem", "other-server.key", "other.pem"].map(|name| MADE.path(name));
    let renewed = ["tls-cert-file", &certificate, "tls-key-file", &key, "tls-ca-cert-file", &authority];
    redis.tell(&[&["CONFIG", "SET"], &renewed[..]].concat());
    let why = refused(&redis, &*broker).await.unwrap();
    assert!(why.contains("invalid peer certificate"), "{why}");
    put("other.pem", folder, "ca.pem");
    let why = refused(&redis, &*broker).await.unwrap();
    assert!(!why.contains("invalid peer certificate"), "the server is trusted: {why}");
    put("other-client.pem", folder, "client.pem");
    let halfway = refused(&redis, &*broker).await.unwrap();
    assert_eq!(halfway, why, "a certificate without its key is not used");
    put("other-client.key", folder, "client.key");
    assert_eq!(refused(&redis, &*broker).await, None);

    fs::remove_file(folder.join("client.key")).unwrap();
    assert_eq!(refused(&redis, &*broker).await, None, "what was read before still holds");
    let again = open_rq(&settings).err().map(|fault| fault.chain()).unwrap_or_default();
    assert!(again.contains("client.key"), "{again}");
    put("client.key", folder, "client.key");
    let again = open_rq(&settings).err().map(|fault| fault.chain()).unwrap_or_default();
    assert!(again.contains("client.key") && again.contains("client.pem"), "{again}");
}

#[tokio::test]
async fn authorities_that_are_renewed_on_the_disk_are_those_of_the_next_webhook() {
    let (server, folder) = (Recorder::start(), tempfile::tempdir().unwrap());
    let front = TlsFront::start(&server.url(), &MADE);
    put("other.pem", folder.path(), "ca.pem");
    let sender = WebhookSender::new(Some(folder.path().join("ca.pem")), WebhookProxies::default());
    let sent = async || {
        sender.send(vec![WebhookRequest {
            job: "a".into(),
            url: format!("https://localhost:{}/hook", front.address().port()),
            headers: Vec::new(),
            body: Some("{}".to_owned()),
            timeout: PATIENCE,
        }]);
        sender.all_sent().await;
        server.seen().len()
    };
    assert_eq!(sent().await, 0, "nobody vouches for it");
    put("ca/ca.pem", folder.path(), "ca.pem");
    let began = Instant::now();
    while sent().await == 0 {
        assert!(began.elapsed() < PATIENCE, "the authority that is there now is not trusted");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
