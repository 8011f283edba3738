//! The handle of a supervisor: starts and stops children, and reports that it gave up.

use std::fmt;
use std::sync::Arc;

use actix::dev::channel::{AddressReceiver, channel};
use actix::{Actor, Addr, Supervised};
use actix_rt::{Arbiter, ArbiterHandle};
use tokio::sync::{mpsc, oneshot, watch};

use super::branch::Branch;
use super::children::Children;
use super::health::next_key;
use super::limit::RestartHistory;
use super::looping::Loop;
use super::minder::{MinderContext, mind};
use super::protocol::{Child, Event, Order, Reports, Which, stop_child};
use super::pulse::Pulse;
use super::{ChildHandle, ChildSpec, Escalation, HealthTable, Restart, StartError, SupervisorSpec};

/// Starts, watches, restarts and stops children. Clones are handles on the same supervisor.
///
/// The tree stops, last child first, when the last handle on its top is dropped.
#[derive(Clone)]
pub struct Supervisor(Arc<Handle>);

struct Handle {
    key: u64,
    name: Arc<str>,
    arbiter: ArbiterHandle,
    table: HealthTable,
    events: mpsc::UnboundedSender<Event>,
    /// The orders for the top, which has no parent.
    orders: mpsc::UnboundedSender<Order>,
    /// The parent's events; none at the top.
    parent: Option<mpsc::UnboundedSender<Event>>,
    gave_up: watch::Receiver<Option<Escalation>>,
}

impl Supervisor {
    /// Starts the top of a tree on `arbiter`, a thread that no job may block.
    ///
    /// # Errors
    /// [`StartError::NoArbiter`].
    pub fn top(
        spec: SupervisorSpec,
        table: HealthTable,
        arbiter: &ArbiterHandle,
    ) -> Result<Self, StartError> {
        let (key, (orders, received)) = (next_key(), mpsc::unbounded_channel());
        table.enter(key, &spec.name, None);
        let branch = NewBranch { key, spec, table, arbiter: arbiter.clone(), orders, parent: None };
        branch.start(received, None)
    }

    /// Starts a supervisor below this one, on the same arbiter. Over its limit its children stop, last first,
    /// and this supervisor restarts them all at their old addresses, or gives up too.
    ///
    /// Not cancel safe: if dropped half-way, a row may stay that never starts.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn branch(&self, spec: SupervisorSpec) -> Result<Self, StartError> {
        let (key, (orders, received)) = (next_key(), mpsc::unbounded_channel());
        let name = Arc::from(spec.name.as_str());
        self.adopt(Child::branch(key, name, Restart::Permanent, orders.clone())).await?;
        let (table, arbiter) = (self.0.table.clone(), self.0.arbiter.clone());
        let parent = Some(self.0.events.clone());
        let reports = Reports::new(key, self.0.events.clone());
        NewBranch { key, spec, table, arbiter, orders, parent }.start(received, Some(reports))
    }

    /// Starts a child on the arbiter of this thread. See [`start`](Self::start).
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start_here<A>(
        &self,
        spec: ChildSpec,
        make: impl FnOnce() -> A + Send + 'static,
    ) -> Result<ChildHandle<A>, StartError>
    where
        A: Supervised + Actor<Context = actix::Context<A>>,
    {
        let arbiter = Arbiter::try_current().ok_or(StartError::NoArbiter)?;
        self.start(spec, &arbiter, make).await
    }

    /// Starts a child on `arbiter`, where `make` builds it. Returns once the child is registered, possibly
    /// before its first poll: its mailbox accepts messages at once. `make` should only assemble values; work
    /// that can fail belongs in `started`, which is retried.
    ///
    /// Cancel safe: if dropped half-way, nothing is left.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start<A>(
        &self,
        spec: ChildSpec,
        arbiter: &ArbiterHandle,
        make: impl FnOnce() -> A + Send + 'static,
    ) -> Result<ChildHandle<A>, StartError>
    where
        A: Supervised + Actor<Context = actix::Context<A>>,
    {
        if !arbiter.alive() {
            return Err(StartError::NoArbiter);
        }
        let key = next_key();
        let (orders, received) = mpsc::unbounded_channel();
        let (sender, mailbox) = channel(spec.mailbox);
        let address = Addr::new(sender);
        let handle = ChildHandle::new(key, &spec.name, address.clone(), self.0.events.clone()).owned();
        self.adopt(Child::actor(key, &spec, orders)).await?;
        let context = self.pack(key, &spec, (address, mailbox), received);
        let begin = move || {
            actix_rt::spawn(mind(context, make));
        };
        // If the function never runs, it is dropped with the child's reports, which report a loss.
        if arbiter.spawn_fn(begin) { Ok(handle.lent()) } else { Err(StartError::NoArbiter) }
    }

    /// Starts a loop on `arbiter`, supervised like an actor; each restart runs a new future from `begin`.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start_loop<F, L>(
        &self,
        spec: ChildSpec,
        arbiter: &ArbiterHandle,
        begin: F,
    ) -> Result<(), StartError>
    where
        F: Fn() -> L + Send + Unpin + 'static,
        L: Future<Output = ()> + 'static,
    {
        self.start(spec, arbiter, move || Loop(begin)).await.map(drop)
    }

    fn pack<A: Actor>(
        &self,
        key: u64,
        spec: &ChildSpec,
        (address, mailbox): (Addr<A>, AddressReceiver<A>),
        orders: mpsc::UnboundedReceiver<Order>,
    ) -> MinderContext<A> {
        let name: Arc<str> = Arc::from(spec.name.as_str());
        let is_watched = spec.heartbeat.is_some() || spec.judged_elsewhere;
        let pulse = is_watched.then(|| Arc::new(Pulse::new(spec.heartbeat)));
        if let Some(pulse) = &pulse {
            self.0.table.watch(key, &name, pulse);
        }
        let reports = Reports::new(key, self.0.events.clone());
        MinderContext { name, address, mailbox, shutdown: spec.shutdown, pulse, orders, reports }
    }

    async fn adopt(&self, child: Child) -> Result<(), StartError> {
        let (accepted, answer) = oneshot::channel();
        let _ = self.0.events.send(Event::Adopt { child: Box::new(child), accepted });
        answer.await.unwrap_or(Err(StartError::NotRunning))
    }

    /// Stops one child for good, within its shutdown time; `false` if there is none of that name. Cancel
    /// safe: the child is stopped in any case.
    pub async fn stop_child(&self, name: &str) -> bool {
        stop_child(&self.0.events, Which::Name(name.to_owned())).await
    }

    /// Gives up the thread of a child that is stuck in a poll. The child counts as stuck at once, whatever
    /// its heartbeat (it must have one, or be [judged elsewhere](ChildSpec::judged_elsewhere)), and neither
    /// restarts nor stops wait for it. Its name stays in the table until its thread returns and it stops, or
    /// the thread ends. Then the returned future completes. Dropping that future changes nothing.
    pub fn abandon<A: Actor>(
        &self,
        child: &ChildHandle<A>,
    ) -> impl Future<Output = ()> + Send + 'static + use<A> {
        let (gone, answer) = oneshot::channel();
        let _ = self.0.events.send(Event::Abandon { key: child.key(), gone });
        async move {
            let _ = answer.await;
        }
    }

    /// Stops all children, last first, each within its shutdown time, and then the supervisor itself. A
    /// second call does nothing. Cancel safe: the stop continues in any case.
    pub async fn stop(&self) {
        if let Some(parent) = &self.0.parent {
            stop_child(parent, Which::Key(self.0.key)).await;
        } else {
            let (done, stopped) = oneshot::channel();
            let _ = self.0.orders.send(Order::Stop { done });
            let _ = stopped.await;
        }
    }

    /// At the top, receives a value when the tree gave up. The process should then stop being ready, drain,
    /// stop the tree and exit with an error. Until then, children that have not failed go on, and nothing is
    /// restarted. A branch never reports here, because its parent decides.
    #[must_use]
    pub fn gave_up(&self) -> watch::Receiver<Option<Escalation>> {
        self.0.gave_up.clone()
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The table of the whole tree.
    #[must_use]
    pub fn table(&self) -> &HealthTable {
        &self.0.table
    }
}

impl fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Supervisor").field(&self.0.name).finish()
    }
}

/// A supervisor before its start.
struct NewBranch {
    key: u64,
    spec: SupervisorSpec,
    table: HealthTable,
    arbiter: ArbiterHandle,
    orders: mpsc::UnboundedSender<Order>,
    parent: Option<mpsc::UnboundedSender<Event>>,
}

impl NewBranch {
    fn start(
        self,
        received: mpsc::UnboundedReceiver<Order>,
        reports: Option<Reports>,
    ) -> Result<Supervisor, StartError> {
        let Self { key, spec, table, arbiter, orders, parent } = self;
        let name: Arc<str> = Arc::from(spec.name.as_str());
        let (events, heard) = mpsc::unbounded_channel();
        let (gave_up, told) = watch::channel(None);
        let branch = Branch {
            history: RestartHistory::new(spec.limit),
            spec,
            children: Children::new((key, Arc::clone(&name)), table.clone(), events.clone(), reports),
            orders: received,
            events: heard,
            gave_up,
        };
        if !arbiter.spawn_fn(move || drop(actix_rt::spawn(branch.run()))) {
            table.remove(key);
            return Err(StartError::NoArbiter);
        }
        Ok(Supervisor(Arc::new(Handle { key, name, arbiter, table, events, orders, parent, gave_up: told })))
    }
}
