//! A plain HTTP client: one request, one connection, one answer.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// Longer than any request may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: String,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// A header's value; names are compared in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let named = |line: &&str| line.split(':').next().is_some_and(|key| key.eq_ignore_ascii_case(name));
        Some(self.headers.lines().find(named)?.split_once(':')?.1.trim())
    }

    /// The answer, when its status is the one expected.
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }
}

/// Sends a request without a body; none when nobody listens there any more.
pub fn try_call(at: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)]) -> Option<Answer> {
    exchange(at, &head(method, path, headers, "Content-Length: 0"), &[])
}

/// Sends a body in one piece.
pub fn call_with_body(
    at: SocketAddr,
    (method, path): (&str, &str),
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let length = format!("Content-Length: {}", body.len());
    exchange(at, &head(method, path, headers, &length), body).expect("an answer")
}

/// Sends a body in chunks, without saying before how long it will be.
pub fn call_in_chunks(
    at: SocketAddr,
    (method, path): (&str, &str),
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let mut chunked = Vec::new();
    for chunk in body.chunks(8192) {
        chunked.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        chunked.extend_from_slice(chunk);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    exchange(at, &head(method, path, headers, "Transfer-Encoding: chunked"), &chunked).expect("an answer")
}

fn head(method: &str, path: &str, headers: &[(&str, &str)], framing: &str) -> String {
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}{framing}\r\n\r\n")
}

/// Reads while it writes: a server that has heard enough answers before the body is through.
fn exchange(at: SocketAddr, head: &str, body: &[u8]) -> Option<Answer> {
    let mut stream = TcpStream::connect_timeout(&at, PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    let mut writer = stream.try_clone().unwrap();
    let mut bytes = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // A connection closed half-way is the reader's to judge.
            let _ = writer.write_all(head.as_bytes()).and_then(|()| writer.write_all(body));
        });
        let _ = stream.read_to_end(&mut bytes);
    });
    let text = String::from_utf8_lossy(&bytes);
    let (headers, body) = text.split_once("\r\n\r\n")?;
    let status = headers.split(' ').nth(1)?.parse().ok()?;
    let chunked = headers.to_ascii_lowercase().contains("transfer-encoding: chunked");
    let body = if chunked { unchunked(body) } else { body.to_owned() };
    Some(Answer { status, headers: headers.to_owned(), body })
}

fn unchunked(mut rest: &str) -> String {
    let mut whole = String::new();
    while let Some((length, tail)) = rest.split_once("\r\n") {
        let length = usize::from_str_radix(length.trim(), 16).unwrap_or(0);
        if length == 0 {
            break;
        }
        whole.push_str(&tail[..length]);
        rest = tail[length..].trim_start_matches("\r\n");
    }
    whole
}
