//! A test actor that follows instructions and records what happens to it.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use actix::fut::wrap_future;
use actix::{
    Actor, ActorContext, Addr, AsyncContext, Context, Handler, Message, ResponseActFuture, Running,
    Supervised,
};
use actix_rt::Arbiter;
use parking_lot::Mutex;

use super::super::*;
use crate::backoff::Backoff;

const PATIENCE: Duration = Duration::from_secs(20);
pub const HOUR: Duration = Duration::from_secs(3600);

/// Waits until `holds`.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} for: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Waits for `future`.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited {PATIENCE:?} for: {what}"),
    }
}

/// The recorded events, in order.
#[derive(Clone, Default)]
pub struct Diary(Arc<Mutex<Vec<String>>>);

impl Diary {
    pub fn note(&self, entry: String) {
        self.0.lock().push(entry);
    }

    pub fn entries(&self) -> Vec<String> {
        self.0.lock().clone()
    }

    /// Returns and clears the recorded events.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock())
    }

    pub fn count(&self, entry: &str) -> usize {
        self.0.lock().iter().filter(|noted| *noted == entry).count()
    }
}

/// How many more times each step panics.
#[derive(Clone, Default)]
pub struct Trouble {
    pub started: Arc<AtomicU32>,
    pub restarting: Arc<AtomicU32>,
    pub stopped: Arc<AtomicU32>,
    pub drop: Arc<AtomicU32>,
    pub refuses_to_stop: bool,
}

fn strike(left: &AtomicU32, step: &str) {
    if left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
        panic!("trouble in {step}");
    }
}

pub struct Probe {
    pub name: String,
    pub diary: Diary,
    pub trouble: Trouble,
}

impl Probe {
    fn note(&self, what: &str) {
        self.diary.note(format!("{} {what}", self.name));
    }
}

impl Actor for Probe {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Context<Self>) {
        strike(&self.trouble.started, "started");
        self.note("started");
    }

    fn stopping(&mut self, _: &mut Context<Self>) -> Running {
        self.note("stopping");
        if self.trouble.refuses_to_stop { Running::Continue } else { Running::Stop }
    }

    fn stopped(&mut self, _: &mut Context<Self>) {
        strike(&self.trouble.stopped, "stopped");
        self.note("stopped");
    }
}

impl Supervised for Probe {
    fn restarting(&mut self, _: &mut Context<Self>) {
        strike(&self.trouble.restarting, "restarting");
        self.note("restarting");
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.note("dropped");
        strike(&self.trouble.drop, "drop");
    }
}

macro_rules! message {
    ($($name:tt)*) => {
        #[derive(Message)]
        #[rtype(result = "()")]
        pub struct $($name)*;
    };
}
message!(Boom);
message!(BoomInSpawned);
message!(Leave);
message!(WaitForEver);
message!(NeverAnswer);
message!(Block(pub Receiver<()>));

#[derive(Message)]
#[rtype(result = "u32")]
pub struct Echo(pub u32);

#[derive(Message)]
#[rtype(result = "String")]
pub struct Where;

impl Handler<Boom> for Probe {
    type Result = ();
    fn handle(&mut self, _: Boom, _: &mut Context<Self>) {
        panic!("boom in {}", self.name);
    }
}

impl Handler<BoomInSpawned> for Probe {
    type Result = ();
    fn handle(&mut self, _: BoomInSpawned, ctx: &mut Context<Self>) {
        ctx.spawn(wrap_future::<_, Self>(async {
            tokio::task::yield_now().await;
            panic!("boom in a spawned future");
        }));
    }
}

impl Handler<Leave> for Probe {
    type Result = ();
    fn handle(&mut self, _: Leave, ctx: &mut Context<Self>) {
        ctx.stop();
    }
}

impl Handler<WaitForEver> for Probe {
    type Result = ();
    fn handle(&mut self, _: WaitForEver, ctx: &mut Context<Self>) {
        ctx.wait(wrap_future::<_, Self>(pending()));
    }
}

impl Handler<NeverAnswer> for Probe {
    type Result = ResponseActFuture<Self, ()>;
    fn handle(&mut self, _: NeverAnswer, _: &mut Context<Self>) -> Self::Result {
        Box::pin(wrap_future::<_, Self>(pending()))
    }
}

impl Handler<Block> for Probe {
    type Result = ();
    fn handle(&mut self, Block(release): Block, _: &mut Context<Self>) {
        let _ = release.recv();
    }
}

impl Handler<Echo> for Probe {
    type Result = u32;
    fn handle(&mut self, Echo(number): Echo, _: &mut Context<Self>) -> u32 {
        number
    }
}

impl Handler<Where> for Probe {
    type Result = String;
    fn handle(&mut self, _: Where, _: &mut Context<Self>) -> String {
        format!("{:?}", std::thread::current().id())
    }
}

/// A tree with its recorded events.
pub struct Stage {
    pub top: Supervisor,
    pub diary: Diary,
}

pub fn spec(name: &str, strategy: Strategy, restarts: usize) -> SupervisorSpec {
    let first = Duration::from_millis(1);
    SupervisorSpec::new(name, strategy).limit(RestartLimit { restarts, window: HOUR }).backoff(Backoff {
        first,
        cap: first,
        factor: 1.0,
        jitter: 0.0,
    })
}

impl Stage {
    /// One for one, 100 restarts, 1 ms before each.
    pub fn new() -> Self {
        Self::with(spec("top", Strategy::OneForOne, 100))
    }

    pub fn with(spec: SupervisorSpec) -> Self {
        let top = Supervisor::top(spec, HealthTable::new(), &Arbiter::current()).unwrap();
        Self { top, diary: Diary::default() }
    }

    pub fn probe(&self, name: &str, trouble: &Trouble) -> impl FnOnce() -> Probe + Send + 'static {
        let (name, diary, trouble) = (name.to_owned(), self.diary.clone(), trouble.clone());
        move || Probe { name, diary, trouble }
    }

    pub async fn start(&self, spec: ChildSpec) -> ChildHandle<Probe> {
        self.start_under(&self.top, spec, &Trouble::default()).await
    }

    pub async fn start_under(
        &self,
        supervisor: &Supervisor,
        spec: ChildSpec,
        trouble: &Trouble,
    ) -> ChildHandle<Probe> {
        let probe = self.probe(&spec.name, trouble);
        let child = supervisor.start_here(spec, probe).await.unwrap();
        self.until_state(child.name(), ChildState::Running).await;
        child
    }

    pub fn row(&self, name: &str) -> Option<ChildStatus> {
        self.top.table().snapshot().children.into_iter().find(|child| child.name == name)
    }

    pub async fn until_state(&self, name: &str, state: ChildState) {
        let what = format!("{name} {state:?}");
        until(&what, || self.row(name).is_some_and(|child| child.state == state)).await;
    }

    pub async fn until_gone(&self, name: &str) {
        until(&format!("{name} gone from the table"), || self.row(name).is_none()).await;
    }

    pub async fn until_restarted(&self, name: &str, times: u64) {
        let restarted = |child: ChildStatus| child.restarts == times && child.state == ChildState::Running;
        until(&format!("{name} restarted {times} times"), || self.row(name).is_some_and(restarted)).await;
    }
}

pub async fn echoes(address: &Addr<Probe>) -> bool {
    soon("an echo", address.send(Echo(7))).await == Ok(7)
}
