//! An HTTP server that writes down what it is asked.
#![allow(dead_code, reason = "not every test binary uses all of it")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use parking_lot::Mutex;

/// A request as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The first line, without the version.
    pub line: String,
    /// The headers in their spelling, sorted.
    pub headers: Vec<String>,
    pub body: String,
}

/// The server. It answers `/error` with 500, leads from `/moved` to `/landed`
/// or from `/moved?to=` to the address there, never answers `/silent`, and is content
/// with everything else.
pub struct Recorder {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    unanswered: Arc<Unanswered>,
}

/// The requests that it never answers.
#[derive(Default)]
struct Unanswered {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Recorder {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let unanswered = Arc::<Unanswered>::default();
        let (notes, open) = (Arc::clone(&seen), Arc::clone(&unanswered));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (notes, open) = (Arc::clone(&notes), Arc::clone(&open));
                thread::spawn(move || answer(stream, &notes, &open));
            }
        });
        Self { address, seen, unanswered }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Everything it was asked so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().clone()
    }

    /// The most requests that it left unanswered at once.
    pub fn most_unanswered(&self) -> usize {
        self.unanswered.most.load(Ordering::Relaxed)
    }

    /// How often it was asked for this path.
    pub fn asked_for(&self, path: &str) -> usize {
        self.seen().iter().filter(|one| one.line.ends_with(&format!(" {path}"))).count()
    }
}

fn answer(mut stream: TcpStream, notes: &Mutex<Vec<Seen>>, unanswered: &Unanswered) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        match reader.read_line(&mut line) {
            Ok(read) if read > 0 && line != "\r\n" => lines.push(line.trim_end().to_owned()),
            Ok(read) if read > 0 => break,
            _ => return,
        }
    }
    let line = lines.remove(0).trim_end_matches(" HTTP/1.1").to_owned();
    let length = lines
        .iter()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).unwrap();
    lines.sort();
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    notes.lock().push(Seen { line, headers: lines, body: String::from_utf8(body).unwrap() });
    let to = path.split_once("?to=").map_or("/landed", |(_, to)| to);
    let head = match path.split('?').next().unwrap_or_default() {
        "/error" => "500 Internal Server Error\r\nContent-Length: 0",
        "/moved" => &format!("302 Found\r\nLocation: {to}\r\nContent-Length: 0"),
        "/silent" => {
            let now = unanswered.now.fetch_add(1, Ordering::Relaxed) + 1;
            unanswered.most.fetch_max(now, Ordering::Relaxed);
            // Until the other side has enough.
            let _ = reader.read(&mut [0]);
            unanswered.now.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        _ => "200 OK\r\nContent-Length: 2\r\n\r\nok",
    };
    let end = if head.ends_with("ok") { "" } else { "\r\n\r\n" };
    let _ = stream.write_all(format!("HTTP/1.1 {head}{end}").as_bytes());
}
