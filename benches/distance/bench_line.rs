//! A long line to a server of this machine: whatever comes is passed on a fixed time later, both ways alike.
//!
//! `bench_line MICROSECONDS PORT`, with the time of one way. It writes the port on which it listens, and ends with its
//! input.

#![allow(
    clippy::disallowed_methods,
    reason = "no actor runs here, and its sleep is exact to a tenth of a millisecond"
)]

use std::io::{Error, Read as _, Result, Write as _, stdin};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

/// The most bytes that are passed on together.
const CHUNK: usize = 64 << 10;

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [way, port] = &*words else {
        return Err(Error::other("expected the microseconds of one way, and a port"));
    };
    let way = Duration::from_micros(way.parse().map_err(Error::other)?);
    let port: u16 = port.parse().map_err(Error::other)?;
    let line = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    println!("{}", line.local_addr()?.port());
    spawn(move || {
        for near in line.incoming().flatten() {
            // A server that is not there ends the connection, as it would without the line.
            let _ = join(near, port, way);
        }
    });
    stdin().read_to_end(&mut Vec::new()).map(drop)
}

/// Passes on what comes from either side.
fn join(near: TcpStream, port: u16, way: Duration) -> Result<()> {
    let far = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    for side in [&near, &far] {
        side.set_nodelay(true)?;
    }
    pass(near.try_clone()?, far.try_clone()?, way);
    pass(far, near, way);
    Ok(())
}

/// Reads and writes at the same time, so that what is on the way keeps nothing back.
fn pass(mut from: TcpStream, mut to: TcpStream, way: Duration) {
    let (sent, arrives) = mpsc::channel::<(Instant, Vec<u8>)>();
    spawn(move || {
        let mut chunk = vec![0; CHUNK];
        while let Ok(length @ 1..) = from.read(&mut chunk) {
            let Some(bytes) = chunk.get(..length) else { break };
            if sent.send((Instant::now() + way, bytes.to_vec())).is_err() {
                break;
            }
        }
    });
    spawn(move || {
        for (moment, bytes) in arrives {
            sleep(moment.saturating_duration_since(Instant::now()));
            if to.write_all(&bytes).is_err() {
                break;
            }
        }
        // Closed already: then the other side knows.
        let _ = to.shutdown(Shutdown::Both);
    });
}
