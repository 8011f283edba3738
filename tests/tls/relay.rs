//! Servers in front of a bucket: a TLS endpoint, and a proxy that leads there for every host name.

use std::io::{BufRead as _, BufReader, Read, Write, copy};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use parking_lot::Mutex;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::certificates::Certificates;

/// Takes TLS off, and hands one request a connection on.
pub struct TlsFront(SocketAddr);

/// Listens, and gives each connection a thread that ends with it.
fn listen(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = Arc::clone(&serve);
            thread::spawn(move || serve(stream));
        }
    });
    address
}

/// The lines of a head with what ends it, and how long the body is.
fn head(from: &mut impl Read) -> Option<(String, usize)> {
    let (mut text, mut byte) = (Vec::new(), [0]);
    while !text.ends_with(b"\r\n\r\n") {
        from.read_exact(&mut byte).ok()?;
        text.push(byte[0]);
    }
    let text = String::from_utf8(text).unwrap();
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().unwrap())
    });
    Some((text, length.unwrap_or(0)))
}

impl TlsFront {
    pub fn start(endpoint: &str, made: &Certificates) -> Self {
        let chain = CertificateDer::pem_file_iter(made.path("server.pem")).unwrap();
        let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
        let key = PrivateKeyDer::from_pem_file(made.path("server.key")).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = Arc::new(config.unwrap().with_no_client_auth().with_single_cert(chain, key).unwrap());
        let behind = endpoint.trim_start_matches("http://").to_owned();
        Self(listen(move |stream| {
            let mut tls = StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), stream);
            let Some((head, length)) = head(&mut tls) else { return };
            let mut body = vec![0; length];
            tls.read_exact(&mut body).unwrap();
            let mut server = TcpStream::connect(&behind).unwrap();
            let head = head.replacen("\r\n", "\r\nConnection: close\r\n", 1);
            server.write_all(&[head.as_bytes(), &body].concat()).unwrap();
            let _ = copy(&mut server, &mut tls);
            tls.conn.send_close_notify();
            let _ = tls.flush();
        }))
    }

    pub fn address(&self) -> SocketAddr {
        self.0
    }
}

/// A proxy, and what it was asked for.
pub struct Proxy {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    pub fn start(behind: SocketAddr) -> Self {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let notes = Arc::clone(&asked);
        let address = listen(move |stream| {
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            notes.lock().push(line.trim().to_owned());
            while line != "\r\n" {
                line.clear();
                reader.read_line(&mut line).unwrap();
            }
            let mut to = TcpStream::connect(behind).unwrap();
            let (mut from, mut back) = (to.try_clone().unwrap(), stream);
            back.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").unwrap();
            thread::spawn(move || {
                let _ = copy(&mut from, &mut back);
                let _ = back.shutdown(Shutdown::Both);
            });
            let _ = copy(&mut reader, &mut to);
            let _ = to.shutdown(Shutdown::Both);
        });
        Self { address, asked }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().clone()
    }
}
