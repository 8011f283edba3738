//! One process of the service, from its first socket to its last settlement.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix_rt::Arbiter;
use actix_web::dev::ServerHandle;
use actix_web::web;

use super::figures::Figures;
use super::identity::this_process;
use super::shutdown::{Leave, Signals, all_retired, gave_up, too_many_stuck};
use super::socket::listen;
use super::tree::{DEADLINE, Planter, Tree};
use super::window::close;
use super::{OpenError, Ports, ServiceBuilder, opening, risks, service_manager};
use crate::actors::{Drain, Running};
use crate::config::{Role, Settings};
use crate::http::{Board, Probes, Writes};
use crate::job::{KindClash, Registry};
use crate::queue::ProcessRecord;
use crate::supervision::Turns;

/// A loop is stopped when it has been silent for this many of its longest waits.
const SILENT_WAITS: u32 = 4;
/// Longest wait for the actors to stop, after the drain: two that refuse use up their time to stop.
const STOP_ACTORS: Duration = Duration::from_secs(10);
/// Longest wait for the threads of jobs to end after that: what yields is dropped at once.
const END_THREADS: Duration = Duration::from_secs(1);
/// Longest wait until those who look at the workers are told that this one leaves.
const ANNOUNCE: Duration = Duration::from_secs(2);
/// Longest wait until the broker has taken the lease back.
const FAREWELL: Duration = Duration::from_secs(2);

/// A process that serves.
pub struct Service {
    pub(super) settings: Settings,
    pub(super) ports: Ports,
    pub(super) process: ProcessRecord,
    pub(super) tree: Tree,
    pub(super) probes: web::Data<Probes>,
    /// Whether its writes succeed.
    pub(super) writes: Writes,
    pub(super) window: Option<(ServerHandle, SocketAddr)>,
    /// What the page shows, where there is a page.
    pub(super) board: Option<web::Data<Board>>,
    pub(super) signals: Signals,
    /// What is counted, where somebody may ask.
    pub(super) figures: Option<Figures>,
    /// Whether a service manager, where there is one, is told how this process is.
    pub(super) attended: bool,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was told to leave, and everything in hand was settled.
    Drained,
    /// It was told to leave, and some jobs did not stop in time; their leases hand them over.
    DrainedInPart,
    /// It could not heal itself; the orchestrator should start a fresh one.
    GaveUp,
}

/// Why a process does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A back end cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The window cannot be opened.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// It was told to leave while it waited for a back end.
    #[error("told to leave ({0}) before everything was open")]
    Left(&'static str),
    /// Two kinds of jobs have one name.
    #[error("cannot start: {0}")]
    Kinds(#[from] KindClash),
    /// The operating system refuses something else.
    #[error("cannot start: {0}")]
    System(#[from] std::io::Error),
    /// The tree of actors does not start.
    #[error("cannot start the actors: {0}")]
    Actors(#[from] crate::supervision::StartError),
}

impl Service {
    /// A service with jobs of one's own beside those that Tikkun brings along.
    pub fn builder(settings: Settings) -> ServiceBuilder {
        ServiceBuilder::new(settings)
    }

    /// Starts everything, on the arbiter of this thread, with Tikkun's own jobs. Must be called inside an
    /// actix system.
    ///
    /// # Errors
    /// Names what cannot be opened or started; nothing is left running.
    pub async fn start(settings: Settings) -> Result<Self, StartError> {
        Self::start_with(settings, Registry::default(), Signals::listen()?).await
    }

    /// The same for a process that has listened to signals since its own start.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_under(settings: Settings, signals: Signals) -> Result<Self, StartError> {
        Self::start_with(settings, Registry::default(), signals).await
    }

    pub(super) async fn start_with(
        settings: Settings,
        own: Registry,
        mut signals: Signals,
    ) -> Result<Self, StartError> {
        let socket = settings.http.enabled.then(|| listen(settings.http.address())).transpose()?;
        let figures = Figures::begin(&settings);
        let ports = opening::open(&settings, (socket.as_ref(), figures.as_ref()), &mut signals).await?;
        let mut service = Self::assemble((settings, own), ports, signals, (socket, figures)).await?;
        service.attended = true;
        risks::warn(Arc::clone(&service.ports.broker), service.tree.lease_held.clone(), DEADLINE);
        risks::warn_of_hindrances(Arc::clone(&service.ports.store.receipts), DEADLINE);
        actix_rt::spawn(service_manager::attend(service.tree.lease_held.clone(), service.probes.clone()));
        Ok(service)
    }

    /// The same, without a window, on back ends that are open already.
    ///
    /// # Errors
    /// When the actors do not start.
    pub(super) async fn start_behind(mut settings: Settings, ports: Ports) -> Result<Self, StartError> {
        settings.http.enabled = false;
        Self::assemble((settings, Registry::default()), ports, Signals::listen()?, (None, None)).await
    }

    async fn assemble(
        (settings, own): (Settings, Registry),
        ports: Ports,
        signals: Signals,
        (socket, figures): (Option<TcpListener>, Option<Figures>),
    ) -> Result<Self, StartError> {
        let process = this_process(&settings);
        let planter = Planter {
            settings: &settings,
            ports: &ports,
            process: &process,
            own: &own,
            control: Arbiter::current(),
            turns: Turns::default(),
        };
        let tree = planter.plant().await?;
        let longest = longest_wait(&settings);
        let writes = Writes::begin(Arc::clone(&ports.broker), ports.store.clone(), DEADLINE);
        // What is only seen and asked stays so while nothing can be written.
        let needed_writes = (settings.service.role != Role::Api).then(|| writes.clone());
        let probes = Probes { needed_writes, ..Probes::new(tree.turns.clone(), longest * SILENT_WAITS) };
        let probes = web::Data::new(probes);
        let mut service = Self {
            settings,
            ports,
            process,
            tree,
            probes,
            writes,
            window: None,
            board: None,
            signals,
            figures,
            attended: false,
        };
        if let Some(socket) = socket {
            service.open_window(socket)?;
        }
        service.tell_when_started();
        tracing::info!(
            process.id = %service.process.id,
            role = %service.settings.service.role,
            queues = service.settings.worker.queues_as_given,
            address = service.address().map(|address| address.to_string()),
            "tikkun serves"
        );
        Ok(service)
    }

    /// Where the window is; with port 0 in the settings this tells the port that was found.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.window.as_ref().map(|(_, address)| *address)
    }

    /// Completes when the first lease is held: from then on jobs are fetched. Cancel safe.
    pub(super) async fn has_lease(&self) {
        let mut held = self.tree.lease_held.clone();
        if held.wait_for(|held| *held).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// The back ends in use.
    #[must_use]
    pub fn ports(&self) -> &Ports {
        &self.ports
    }

    /// What runs in this process, with the progress that each job told last; it stays true while the service
    /// runs.
    #[must_use]
    pub fn running(&self) -> Running {
        self.tree.running.clone()
    }

    /// Serves until told to leave by a signal or by `stop`, or until it must; then drains.
    pub async fn run_until(mut self, stop: impl Future<Output = ()>) -> Ended {
        let most = self.settings.service.max_stuck;
        let leave = tokio::select! {
            signal = self.signals.next() => Leave::Told(signal),
            () = stop => Leave::Told("request"),
            () = all_retired(self.tree.all_retired.clone()) => Leave::Told("shutdown of every worker"),
            escalation = gave_up(self.tree.top.gave_up()) => Leave::GaveUp(escalation),
            stuck = too_many_stuck(self.tree.table.stuck_threads(), most) => Leave::Stuck(stuck),
        };
        self.probes.leaving.store(true, Ordering::Release);
        if self.attended {
            actix_rt::spawn(service_manager::tell(service_manager::STOPPING));
        }
        match &leave {
            Leave::Told(how) => {
                tracing::info!(how, "draining: no new jobs, and those in hand stop at their next safe point")
            }
            Leave::GaveUp(escalation) => {
                tracing::error!(?escalation, "restarts do not help; this process leaves")
            }
            Leave::Stuck(threads) => {
                tracing::error!(threads, "threads do not come back; this process leaves")
            }
        }
        let drained = self.drain().await;
        self.close(drained).await;
        match (leave, drained) {
            (Leave::Told(_), true) => Ended::Drained,
            (Leave::Told(_), false) => Ended::DrainedInPart,
            _ => Ended::GaveUp,
        }
    }

    /// Takes no more jobs, and waits until those in hand are settled; `false` when time ran out first.
    async fn drain(&mut self) -> bool {
        if let Some(runners) = &self.tree.runners {
            runners.drain();
        }
        let (broker, process) = (&self.ports.broker, &self.process.id);
        let announced = tokio::time::timeout(ANNOUNCE, broker.announce_leave(process));
        let listeners = self.tree.listeners.iter();
        let settled = futures::future::join_all(listeners.map(|listener| listener.send(Drain)));
        let drained = async {
            let (answers, announced) = futures::join!(settled, announced);
            if let Ok(Err(fault)) = announced {
                tracing::warn!(error = fault.chain(), "nobody was told that this process is leaving");
            }
            answers
        };
        tokio::select! {
            answers = drained => answers.iter().all(Result::is_ok),
            () = tokio::time::sleep(self.settings.service.drain_timeout) => {
                tracing::warn!("jobs did not stop within {}; they are handed over",
                    humantime::format_duration(self.settings.service.drain_timeout));
                false
            }
            signal = self.signals.next_in_a_drain() => {
                tracing::warn!(signal, "told to leave once more; jobs in hand are handed over");
                false
            }
        }
    }

    /// Stops the actors, last started first, gives the lease back and closes the window. While a job that is not
    /// settled may still run here, the lease stays: nobody is to run it beside this process.
    async fn close(mut self, drained: bool) {
        let bounded = tokio::time::timeout(STOP_ACTORS, self.tree.top.stop());
        if bounded.await.is_err() {
            tracing::warn!("actors did not stop in time");
        }
        let ended = self.tree.end_threads(END_THREADS).await;
        if !drained && !ended {
            tracing::warn!("code of a job still runs; the lease is not given back, it runs out by itself");
        }
        let role = crate::actors::SCHEDULER_ROLE;
        let farewell = async {
            self.ports.broker.resign(role, &self.process.id).await?;
            match drained || ended {
                true => self.ports.broker.end_lease(&self.process.id).await,
                false => Ok(()),
            }
        };
        match tokio::time::timeout(FAREWELL, farewell).await {
            Ok(Ok(())) => {}
            Ok(Err(fault)) => {
                tracing::warn!(error = fault.chain(), "the lease is not given back; it runs out by itself")
            }
            Err(_) => tracing::warn!("the lease is not given back in time; it runs out by itself"),
        }
        if let Some(board) = &self.board {
            board.close();
            board.ended().await;
        }
        if let Some((window, _)) = &self.window {
            close(window).await;
        }
        tracing::info!("tikkun has left");
    }

    /// It has started once its first lease is held: from then on it gets jobs.
    fn tell_when_started(&self) {
        let (mut held, probes) = (self.tree.lease_held.clone(), self.probes.clone());
        actix_rt::spawn(async move {
            if held.wait_for(|held| *held).await.is_ok() {
                probes.started.store(true, Ordering::Release);
            }
        });
    }
}

/// The longest time that a loop which is well may be silent.
fn longest_wait(settings: &Settings) -> Duration {
    let waits = [
        settings.worker.fetch_patience,
        settings.lease.renew,
        settings.rescuer.interval,
        settings.scheduler.interval,
        settings.tracker.progress_interval,
    ];
    waits.into_iter().fold(Duration::from_secs(5), Duration::max)
}
