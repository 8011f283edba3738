//! What is shown: the stream of events, the description, the configuration.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use super::calls::KNOWN;
use super::ground::Ground;
use super::process::{SECRET, Service};

/// The id behind the first sections of a stream, once it is there whole.
fn id_in(stream: &str) -> Option<&str> {
    stream.split_once("\nid: ")?.1.split_once("\n\n").map(|(id, _)| id)
}

/// Reads a stream until it holds `text` and an id, and answers all of it.
fn stream_until(service: &Service, last: Option<&str>, text: &str) -> String {
    let mut stream = TcpStream::connect(service.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let last = last.map(|id| format!("Last-Event-ID: {id}\r\n")).unwrap_or_default();
    write!(
        stream,
        "GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\nX-Internal-Secret: {SECRET}\r\n{last}\r\n"
    )
    .unwrap();
    let (mut all, mut bytes) = (String::new(), [0; 4096]);
    while !all.contains(text) || id_in(&all).is_none() {
        let length =
            stream.read(&mut bytes).unwrap_or_else(|error| panic!("{error}: waited for {text} in {all}"));
        assert!(length > 0, "the stream ended before {text}: {all}");
        all.push_str(&String::from_utf8_lossy(&bytes[..length]));
    }
    all
}

#[tokio::test]
async fn a_viewer_who_comes_back_is_sent_only_what_changed() {
    let ground = Ground::new().await;
    let service = ground.service().set("TIKKUN_HTTP__PAGE_INTERVAL", "100ms").start().await;
    let first = stream_until(&service, None, "event: tree");
    for section in ["overview", "queues", "workers", "running", "deletions", "python", "tree"] {
        assert!(first.contains(&format!("event: {section}\n")), "{first}");
    }
    let id = id_in(&first).unwrap();
    service.call("POST", "/api/v1/queues/low/pause", &[KNOWN]).expect(200);
    let second = stream_until(&service, Some(id), "\"paused\":true");
    assert!(!second.contains("event: workers\n") || !second.contains("event: tree\n"), "{second}");
}

#[tokio::test]
async fn the_description_knows_every_address_and_secrets_are_masked() {
    let ground = Ground::new().await;
    let service = ground.service().start().await;
    let described = service.call("GET", "/api/v1/openapi.json", &[KNOWN]).expect(200).json();
    let code = include_str!("../../src/http/api/routes.rs");
    for path in code.split("resource(\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        let path = format!("/api/v1{}", path.trim_start_matches("/api/v1"));
        assert!(described["paths"][&path].is_object(), "{path} is not described");
    }
    let config = service.call("GET", "/api/v1/config", &[KNOWN]).expect(200);
    assert!(!config.body.contains(SECRET) && config.body.contains("http.internal_secret"), "{config:?}");
    let page = service.call("GET", "/", &[]).expect(200);
    let policy = page.header("Content-Security-Policy").unwrap();
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
}
