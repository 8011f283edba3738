//! The control socket of a zygote: orders go out, and what comes in is dispatched to the children that it concerns.
//!
//! A zygote lives as long as somebody owns its [`Lifeline`]: the handle, or a child. When the last owner is dropped,
//! the control socket closes, and the zygote leaves; one that does not is killed.

use std::collections::{HashMap, VecDeque};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::booting::ground::Ground;
use super::ending::Exit;
use super::frame::{FrameError, FrameReader};
use super::killing::{Fate, kill_group, kill_tree};
use super::messages::{FromZygote, ToZygote};
use super::preload::{Imported, Preloaded};
use super::sockets::{TRAVELLERS, send_with};

/// The longest frame from a zygote: none carries a payload.
pub(super) const MAX_CONTROL_FRAME: usize = 4 * 1024 * 1024;

/// How long a zygote may take to leave once its control socket is closed, before it is killed.
const LEAVE_GRACE: Duration = Duration::from_secs(2);

/// The most warnings that are kept.
const MAX_WARNINGS: usize = 64;

/// How a zygote ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZygoteEnd {
    /// Its end in words.
    pub words: String,
    /// The last line of its standard error.
    pub last_line: Option<String>,
}

/// What is to be sent to a zygote.
pub(super) struct Order {
    pub(super) message: ToZygote,
    pub(super) descriptors: Option<[OwnedFd; TRAVELLERS]>,
}

/// Somebody who waits for a fork.
pub(super) struct Waiting {
    /// Gets the child's process id, or why there is none.
    pub(super) tell: oneshot::Sender<Result<u32, String>>,
    pub(super) fate: watch::Sender<Fate>,
}

/// What keeps a zygote and its children alive. Held by the handle and by each child.
pub(super) struct Lifeline {
    orders: mpsc::Sender<Order>,
    pub(super) register: Arc<Register>,
    pub(super) gone: watch::Receiver<Option<ZygoteEnd>>,
    next_serial: AtomicU64,
    closing: CancellationToken,
    _ground: Ground,
}

impl Drop for Lifeline {
    fn drop(&mut self) {
        self.closing.cancel();
    }
}

impl Lifeline {
    /// That of children which no zygote forks. `gone` tells when no other can be started.
    pub(super) fn without_zygote(
        register: Arc<Register>,
        gone: watch::Receiver<Option<ZygoteEnd>>,
        ground: Ground,
    ) -> Self {
        let (orders, _) = mpsc::channel(1);
        let (next_serial, closing) = (AtomicU64::new(1), CancellationToken::new());
        Self { orders, register, gone, next_serial, closing, _ground: ground }
    }

    pub(super) fn next_serial(&self) -> u64 {
        self.next_serial.fetch_add(1, Ordering::Relaxed)
    }

    /// Hands an order to the task that writes. `false`: the zygote is gone. Cancel safe: an order is handed over as a
    /// whole or not at all.
    pub(super) async fn order(&self, order: Order) -> bool {
        self.gone.borrow().is_none() && self.orders.send(order).await.is_ok()
    }
}

/// Who waits for what from the zygote.
#[derive(Default)]
pub(super) struct Register {
    inner: Mutex<Entries>,
    /// Counts the children that were reaped.
    pub(super) reaped: watch::Sender<u64>,
    /// The modules that jobs have imported.
    pub(super) imported: watch::Sender<Imported>,
}

#[derive(Default)]
struct Entries {
    waiting: HashMap<u64, Waiting>,
    living: HashMap<u32, watch::Sender<Fate>>,
    warnings: Vec<String>,
    /// Those who wait for imports, in the order of their orders.
    preloading: VecDeque<oneshot::Sender<Preloaded>>,
    is_closed: bool,
}

impl Register {
    /// Notes who waits for the fork of that serial. When the zygote is gone they are told at once, by a closed channel.
    pub(super) fn expect(&self, serial: u64, waiting: Waiting) {
        let mut entries = self.inner.lock();
        if !entries.is_closed {
            entries.waiting.insert(serial, waiting);
        }
    }

    pub(super) fn forget(&self, serial: u64) {
        self.inner.lock().waiting.remove(&serial);
    }

    pub(super) fn warnings(&self) -> Vec<String> {
        self.inner.lock().warnings.clone()
    }

    /// Keeps a warning and logs it.
    pub(super) fn warn(&self, text: String) {
        tracing::warn!(warning = %text, "the python processes have a warning");
        let warnings = &mut self.inner.lock().warnings;
        if warnings.len() < MAX_WARNINGS && !warnings.contains(&text) {
            warnings.push(text);
        }
    }

    /// Notes who waits for the answer to the next order to import modules.
    pub(super) fn expect_imports(&self, waiting: oneshot::Sender<Preloaded>) {
        let mut entries = self.inner.lock();
        if !entries.is_closed {
            entries.preloading.push_back(waiting);
        }
    }

    fn preloaded(&self, told: Preloaded) {
        if let Some(waiting) = self.inner.lock().preloading.pop_front() {
            // Who waited may have given up.
            let _ = waiting.send(told);
        }
    }

    fn forked(&self, serial: u64, pid: u32) {
        let mut entries = self.inner.lock();
        let Some(Waiting { tell, fate }) = entries.waiting.remove(&serial) else {
            drop(entries);
            return kill_tree(pid);
        };
        entries.living.insert(pid, fate);
        drop(entries);
        if tell.send(Ok(pid)).is_err() {
            kill_tree(pid);
        }
    }

    fn unforked(&self, serial: u64, why: String) {
        if let Some(waiting) = self.inner.lock().waiting.remove(&serial) {
            // Who waited may have given up.
            let _ = waiting.tell.send(Err(why));
        }
    }

    fn exited(&self, pid: u32, exit: Exit) {
        if !exit.status.is_success() {
            // What a child that died left in its process group goes with it.
            kill_group(pid);
        }
        if let Some(fate) = self.inner.lock().living.remove(&pid) {
            fate.send_replace(Fate::Reaped(exit));
        }
        self.reaped.send_modify(|count| *count += 1);
    }

    fn close(&self) {
        let mut entries = self.inner.lock();
        entries.is_closed = true;
        entries.waiting.clear();
        entries.preloading.clear();
        for (_, fate) in entries.living.drain() {
            fate.send_replace(Fate::Unwatched);
        }
        drop(entries);
        self.reaped.send_modify(|count| *count += 1);
    }
}

/// What [`serve`] needs of a zygote that has said hello.
pub(super) struct Control {
    pub(super) frames: FrameReader<OwnedReadHalf>,
    pub(super) writer: OwnedWriteHalf,
    pub(super) register: Arc<Register>,
    pub(super) ground: Ground,
}

/// Begins to serve the control socket in two tasks. `end` ends the zygote's process and says how it went; it is
/// awaited once the socket has closed.
pub(super) fn serve<E>(control: Control, end: E) -> Lifeline
where
    E: Future<Output = ZygoteEnd> + Send + 'static,
{
    let (orders, asked) = mpsc::channel(64);
    let (tell_gone, gone) = watch::channel(None);
    let closing = CancellationToken::new();
    let Control { mut frames, writer, register, ground } = control;
    tokio::spawn(write_orders(writer, asked));
    let (told, is_closing) = (Arc::clone(&register), closing.clone());
    tokio::spawn(async move {
        let leave = async {
            is_closing.cancelled().await;
            tokio::time::sleep(LEAVE_GRACE).await;
        };
        tokio::select! {
            heard = listen(&mut frames, &told) => if let Err(e) = heard {
                told.warn(format!("the zygote is ended, for it cannot be understood: {e}"));
            },
            () = leave => {}
        }
        told.close();
        tell_gone.send_replace(Some(end.await));
    });
    Lifeline { orders, register, gone, next_serial: AtomicU64::new(1), closing, _ground: ground }
}

/// Dispatches what the zygote says until it closes its socket.
async fn listen(frames: &mut FrameReader<OwnedReadHalf>, register: &Register) -> Result<(), FrameError> {
    loop {
        let frame = match frames.next().await {
            Ok(Some(frame)) => frame,
            // A zygote that dies within a frame, or with orders unread, is as gone as one that leaves.
            Ok(None) | Err(FrameError::CutOff { .. } | FrameError::Connection(_)) => return Ok(()),
            Err(e) => return Err(e),
        };
        match FromZygote::decode(&frame)? {
            FromZygote::Forked { serial, pid } => register.forked(serial, pid),
            FromZygote::Unforked { serial, why } => register.unforked(serial, why),
            FromZygote::Exit { pid, exit } => register.exited(pid, exit),
            FromZygote::Preloaded(told) => register.preloaded(*told),
            FromZygote::Warning(text) | FromZygote::Refused(text) => register.warn(text),
            FromZygote::Hello(_) => {}
        }
    }
}

/// Writes orders until nobody can give one any more, and closes the socket then.
async fn write_orders(mut writer: OwnedWriteHalf, mut orders: mpsc::Receiver<Order>) {
    while let Some(order) = orders.recv().await {
        if let Err(e) = write_order(&mut writer, &order).await {
            tracing::debug!(error = %e, "an order did not reach the zygote");
            break;
        }
    }
}

pub(super) async fn write_order(writer: &mut OwnedWriteHalf, order: &Order) -> Result<(), FrameError> {
    let bytes = order.message.encode()?;
    let socket: &UnixStream = writer.as_ref();
    match &order.descriptors {
        Some(descriptors) => send_with(socket, &bytes, descriptors).await?,
        None => writer.write_all(&bytes).await?,
    }
    Ok(())
}
