//! A connection between browser and service that a test can cut and restore.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use parking_lot::Mutex;

/// The wire: its own address, and what runs over it.
pub struct Wire {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    cut: bool,
    open: Vec<TcpStream>,
}

impl Wire {
    /// A wire to `service`.
    pub fn to(service: SocketAddr) -> Self {
        Self::below(service, "")
    }

    /// A proxy that shows `service` under `path`, and takes that away from what it passes on.
    pub fn below(service: SocketAddr, path: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, state) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(State::default())));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let mut state = shared.lock();
                if state.cut {
                    continue;
                }
                let server = TcpStream::connect(service).unwrap();
                state.open.extend([client.try_clone().unwrap(), server.try_clone().unwrap()]);
                let (client_too, server_too) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                std::thread::spawn(move || pump(client, server, path));
                std::thread::spawn(move || pump(server_too, client_too, ""));
            }
        });
        Self { address, state }
    }

    /// Everything that is open breaks, and whoever comes is turned away.
    pub fn cut(&self) {
        let mut state = self.state.lock();
        state.cut = true;
        for stream in state.open.drain(..) {
            // It may have been closed already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Whoever comes gets through again.
    pub fn mend(&self) {
        self.state.lock().cut = false;
    }
}

/// Passes on what comes; of requests, which a browser sends in one piece, without `path`.
fn pump(mut from: TcpStream, mut to: TcpStream, path: &str) {
    let mut bytes = [0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut bytes) {
        let passed = match std::str::from_utf8(&bytes[..length]) {
            Ok(text) if !path.is_empty() => text.replacen(&format!(" {path}/"), " /", 1).into_bytes(),
            _ => bytes[..length].to_vec(),
        };
        if to.write_all(&passed).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}
