//! A line to a server, which a test can break: while it is well, it passes on what comes from either side.

use std::future::pending;
use std::io::{ErrorKind, Result};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::{oneshot, watch};
use tokio::time::sleep;

/// The most bytes that are passed on together.
const CHUNK: usize = 16 << 10;
/// What a proxy says when it does not reach the server behind it.
const NOT_THE_SERVER: &[u8] = b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// How a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    Well,
    /// Every connection is reset, and so is a new one.
    Cut,
    /// Nothing arrives on either side until the line is well again; then everything does.
    Frozen,
    /// Nothing arrives any more on connections that were open, not even later; new ones are well. So does a gateway
    /// that has forgotten them.
    Forgotten,
    /// Requests arrive, and their connection is reset in place of an answer.
    Unanswered,
    /// A proxy answers in the server's place.
    Answered,
    /// Everything arrives so much later.
    Late(Duration),
    /// So many bytes pass in a second, each way.
    Narrow(u32),
    /// A connection on which so many bytes are sent without an answer is reset.
    Short(usize),
}

/// Where a server listens.
#[derive(Clone)]
pub enum Server {
    Port(u16),
    /// One that can be stopped and started again without anybody taking its place.
    Socket(PathBuf),
}

/// A line that is open until it is dropped.
pub struct Line {
    address: SocketAddr,
    condition: watch::Sender<Condition>,
    _stop: oneshot::Sender<()>,
}

impl Line {
    /// To a server, on a thread of its own: a test may block its own.
    pub fn to(server: Server) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (condition, seen) = watch::channel(Condition::Well);
        let (stop, stopped) = oneshot::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                tokio::select! { () = serve(listener, server, seen) => {} _ = stopped => {} }
            });
        });
        Self { address, condition, _stop: stop }
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    pub fn becomes(&self, condition: Condition) {
        self.condition.send_replace(condition);
    }
}

async fn serve(listener: std::net::TcpListener, server: Server, condition: watch::Receiver<Condition>) {
    let listener = TcpListener::from_std(listener).unwrap();
    loop {
        let (near, _) = listener.accept().await.unwrap();
        let (condition, server) = (condition.clone(), server.clone());
        tokio::spawn(async move {
            let is_cut = *condition.borrow() == Condition::Cut;
            // A server that is not there is met as it would be without the line.
            match server.connect().await {
                Ok(far) if !is_cut => join(near, far, condition).await,
                _ => near.set_zero_linger().unwrap(),
            }
        });
    }
}

/// Both directions of a connection to a server.
type Far = (Box<dyn AsyncRead + Send + Unpin>, Box<dyn AsyncWrite + Send + Unpin>);

impl Server {
    async fn connect(&self) -> Result<Far> {
        Ok(match self {
            Self::Port(port) => {
                let far = TcpStream::connect(("127.0.0.1", *port)).await?;
                far.set_nodelay(true)?;
                let (from, to) = far.into_split();
                (Box::new(from), Box::new(to))
            }
            Self::Socket(path) => {
                let (from, to) = UnixStream::connect(path).await?.into_split();
                (Box::new(from), Box::new(to))
            }
        })
    }
}

/// Passes on what comes until both sides have ended, or the line ends them.
async fn join(mut near: TcpStream, (from_far, to_far): Far, condition: watch::Receiver<Condition>) {
    near.set_nodelay(true).unwrap();
    let is_new = *condition.borrow() == Condition::Forgotten;
    let ended = {
        let (from_near, to_near) = near.split();
        let (mut cut, mut forgotten) = (condition.clone(), condition.clone());
        tokio::select! {
            ended = async {
                tokio::try_join!(
                    pass(from_near, to_far, condition.clone(), false),
                    pass(from_far, to_near, condition, true)
                )
            } => ended.map(drop),
            () = async { drop(cut.wait_for(|now| *now == Condition::Cut).await) } => {
                Err(ErrorKind::ConnectionReset.into())
            }
            () = async { drop(forgotten.wait_for(|now| *now == Condition::Forgotten && !is_new).await) } => {
                pending().await
            }
        }
    };
    if ended.is_err() {
        // One that has gone already needs no reset.
        let _ = near.set_zero_linger();
    }
}

/// One direction of a connection; an error resets it.
async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut condition: watch::Receiver<Condition>,
    answers: bool,
) -> Result<()> {
    let (mut chunk, mut sent) = (vec![0; CHUNK], 0);
    loop {
        let length = from.read(&mut chunk).await?;
        let now = *condition.borrow();
        match now {
            Condition::Frozen => drop(condition.wait_for(|now| *now != Condition::Frozen).await),
            Condition::Unanswered if answers => return Err(ErrorKind::ConnectionReset.into()),
            Condition::Answered if answers => {
                to.write_all(NOT_THE_SERVER).await?;
                return to.shutdown().await;
            }
            Condition::Short(longest) if !answers => {
                // What comes together is one request: an end of it fills no chunk.
                sent += length;
                if sent > longest {
                    return Err(ErrorKind::ConnectionReset.into());
                }
                sent = if length < CHUNK { 0 } else { sent };
            }
            Condition::Late(time) => sleep(time).await,
            Condition::Narrow(bytes) => {
                sleep(Duration::from_secs_f64(length as f64 / f64::from(bytes))).await;
            }
            _ => {}
        }
        match chunk.get(..length) {
            Some(bytes @ [_, ..]) => to.write_all(bytes).await?,
            _ => return to.shutdown().await,
        }
    }
}
