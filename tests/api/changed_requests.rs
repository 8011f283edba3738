//! Requests changed at random: each is answered in the client's error, or well, and the service goes on.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::fuzz::fuzz;
use crate::service::ground::Ground;
use crate::service::process::SECRET;

/// Only a failing test waits so long for an answer.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn fuzz_requests() {
    let ground = Ground::new().await;
    let mut service = ground.service().set("TIKKUN_HTTP__TRUSTED_PROXIES", "127.0.0.1").start().await;
    service.is_ready().await;
    let address = service.address;
    let body = r#"{"queue": "default", "kind": "tikkun.noop", "args": [1, {"a": null}], "delay": "1s"}"#;
    let head = format!(
        "Host: localhost\r\nX-Internal-Secret: {SECRET}\r\nX-Business-Id: 7\r\nX-User-Id: 5\r\nX-User-Role: owner"
    );
    let requests = [
        format!(
            "GET /api/v1/jobs?queue=default&state=failed&limit=10&search=a%20b HTTP/1.1\r\n{head}\r\n\r\n"
        ),
        format!(
            "POST /api/v1/jobs HTTP/1.1\r\n{head}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ),
        format!("GET /api/v1/jobs/a%2Fb HTTP/1.1\r\n{head}\r\n\r\n"),
        format!("POST /api/receipts/jobs/1/cancel HTTP/1.1\r\n{head}\r\nContent-Length: 0\r\n\r\n"),
        format!("GET /api/jobs/health HTTP/1.1\r\n{head}\r\n\r\n"),
        format!("GET /?view=jobs&lang=he HTTP/1.1\r\n{head}\r\nCookie: tikkun_session=abc\r\n\r\n"),
    ];
    let peers = AtomicU32::new(0);
    fuzz("requests", requests.map(String::into_bytes), |request| {
        // Each from another address: too many wrong secrets from one are not even looked at.
        let peer = Ipv4Addr::from_bits(peers.fetch_add(1, Ordering::Relaxed) | 10 << 24);
        let end = request.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let (first, rest) = request.split_at(end);
        let request = [first, format!("X-Forwarded-For: {peer}\r\n").as_bytes(), rest].concat();
        let mut line = TcpStream::connect(address).unwrap();
        line.set_read_timeout(Some(PATIENCE)).unwrap();
        // Whoever refuses the beginning may close before the end has come.
        let _ = line.write_all(&request).and_then(|()| line.shutdown(Shutdown::Write));
        let mut answer = Vec::new();
        match line.read_to_end(&mut answer) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "no answer in time"),
        }
        let status = answer.strip_prefix(b"HTTP/1.1 ").and_then(|rest| rest.first());
        assert_ne!(status, Some(&b'5'), "{}", String::from_utf8_lossy(&answer));
    });
    assert_eq!(service.restarts(), 0);
    assert_eq!(service.terminate().await, Some(0));
}
