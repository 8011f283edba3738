//! One process of the service, from opening its socket to its last settlement.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use actix_rt::Arbiter;
use actix_web::web;

use super::figures::Figures;
use super::ground::{DEADLINE, Ground};
use super::http_server::Shown;
use super::identity::this_process;
use super::leaving::{AtWork, Ended};
use super::probing::probes;
use super::python_jobs::PythonWorker;
use super::shutdown::{Leave, Signals, all_retired, gave_up, too_many_stuck};
use super::socket::listen;
use super::start_error::StartError;
use super::teams::Teams;
use super::tree::TreeBuilder;
use super::{Ports, opening, risks, service_manager};
use crate::config::Settings;
use crate::http::{Probes, Writes};
use crate::job::{Job, KindClash, Registry};
use crate::kinds::check_own;
use crate::supervision::Turns;
use crate::webhooks::WebhookSender;
use crate::worker::{Outages, Running, SlotPool};

/// Collects kinds of jobs for a [`Service`]; created by [`Service::builder`].
///
/// ```
/// use tikkun::config::{Settings, Sources};
/// use tikkun::job::{Completion, Job, JobContext, JobResult, NewJob};
/// use tikkun::runtime::{Ended, Service, System};
///
/// struct Greeting;
///
/// impl Job for Greeting {
///     const NAME: &'static str = "shop.greet";
///     type Args = (String,);
///
///     async fn run(&self, (name,): (String,), _: &JobContext) -> JobResult {
///         Ok(Completion::Finished(format!("hello, {name}").into()))
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let data = folder.path().display().to_string();
/// let sources = Sources::none().set("service.data", data).set("http.enabled", "false");
/// let settings = Settings::load(&sources)?.settings;
/// let ended = System::new().block_on(async {
///     let service = Service::builder(settings).with(Greeting).start().await?;
///     let broker = service.ports().broker.clone();
///     broker.enqueue(&[NewJob::of::<Greeting>("greet-1", "default", &("Dana".to_owned(),))?]).await?;
///     let done = async move {
///         while broker.job(&"greet-1".into()).await.is_ok_and(|job| job.is_some_and(|job| job.state.is_open())) {
///             tokio::time::sleep(std::time::Duration::from_millis(20)).await;
///         }
///     };
///     Ok::<_, Box<dyn std::error::Error>>(service.run_until(done).await)
/// })?;
/// assert_eq!(ended, Ended::Drained);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "nothing starts before `start`"]
pub struct ServiceBuilder {
    settings: Settings,
    own: Registry,
    clash: Option<KindClash>,
}

impl ServiceBuilder {
    /// Adds a kind of job. If its name is taken, [`start`](Self::start) fails. If kinds share only the last
    /// part of their names, jobs must use the full names.
    pub fn with<J: Job>(mut self, job: J) -> Self {
        let clash = self.own.free_for::<J>().err();
        self.clash = self.clash.or(clash);
        self.own = self.own.with(job);
        self
    }

    /// Starts the service on the arbiter of this thread. Must be called inside an actix system.
    ///
    /// # Errors
    /// If two kinds have the same name, before anything is opened; or if something cannot be opened or
    /// started. Nothing is left running.
    pub async fn start(self) -> Result<Service, StartError> {
        match self.clash {
            Some(clash) => Err(clash.into()),
            None => {
                check_own(&self.own)?;
                let teams = Teams::of_kinds(self.own, &self.settings);
                Service::start_with((self.settings, teams), Signals::listen()?).await
            }
        }
    }
}

/// A running service.
pub struct Service {
    settings: Settings,
    at_work: AtWork,
    probes: web::Data<Probes>,
    signals: Signals,
    /// Whether a service manager, if there is one, is notified of the state of this process.
    attended: bool,
    /// Kept so that test writes are made as long as the process runs.
    _writes: Writes,
    /// Kept so that metrics are aggregated as long as the process runs.
    _figures: Option<Figures>,
}

impl Service {
    /// A builder for a service with your own jobs besides those of Tikkun.
    pub fn builder(settings: Settings) -> ServiceBuilder {
        ServiceBuilder { settings, own: Registry::default(), clash: None }
    }

    /// Starts the service with Tikkun's own jobs on the arbiter of this thread. Must be called inside an
    /// actix system.
    ///
    /// # Errors
    /// Names what cannot be opened or started; nothing is left running.
    pub async fn start(settings: Settings) -> Result<Self, StartError> {
        Self::start_under(settings, Signals::listen()?).await
    }

    /// The same for a process that already listens to signals.
    ///
    /// # Errors
    /// Those of [`start`](Self::start).
    pub async fn start_under(settings: Settings, signals: Signals) -> Result<Self, StartError> {
        let teams = Teams::of_kinds(Registry::default(), &settings);
        Self::start_with((settings, teams), signals).await
    }

    /// The same for a process that runs the jobs of a Python worker.
    ///
    /// # Errors
    /// Those of [`start`](Self::start).
    pub async fn start_for(
        settings: Settings,
        worker: PythonWorker,
        signals: Signals,
    ) -> Result<Self, StartError> {
        let teams = Teams::of_worker(worker, &settings);
        Self::start_with((settings, teams), signals).await
    }

    async fn start_with(
        (mut settings, mut teams): (Settings, Teams),
        mut signals: Signals,
    ) -> Result<Self, StartError> {
        let socket = settings.http.enabled.then(|| listen(settings.http.address())).transpose()?;
        let figures = Figures::begin(&settings);
        let (served, cleans_up) = ((socket.as_ref(), figures.as_ref()), settings.deletion.storage_delete);
        let ports = opening::open((&mut settings, &mut teams), served, &mut signals).await?;
        if let Some(figures) = &figures {
            figures.show_slots(&settings);
        }
        let mut service = Self::assemble((settings, teams), ports, signals, (socket, figures)).await?;
        service.attended = true;
        let AtWork { ports, process, tree, .. } = &service.at_work;
        risks::warn(Arc::clone(&ports.broker), process.queues.clone(), tree.lease_held.clone(), DEADLINE);
        risks::warn_of_deletions(ports, cleans_up, DEADLINE);
        actix_rt::spawn(service_manager::attend(tree.lease_held.clone(), service.probes.clone()));
        Ok(service)
    }

    /// The same without an HTTP server, on open back ends.
    ///
    /// # Errors
    /// If the actors do not start.
    pub(super) async fn start_behind(mut settings: Settings, ports: Ports) -> Result<Self, StartError> {
        settings.http.enabled = false;
        let teams = Teams::of_kinds(Registry::default(), &settings);
        Self::assemble((settings, teams), ports, Signals::listen()?, (None, None)).await
    }

    async fn assemble(
        (settings, teams): (Settings, Teams),
        ports: Ports,
        signals: Signals,
        (socket, figures): (Option<TcpListener>, Option<Figures>),
    ) -> Result<Self, StartError> {
        let process = this_process(&settings);
        let ground = Ground {
            settings: &settings,
            ports: &ports,
            process: &process,
            control: Arbiter::current(),
            turns: Turns::default(),
            outages: Outages::default(),
            webhooks: WebhookSender::new(settings.tls.ca_file.clone(), settings.webhook_proxies.clone()),
        };
        let (webhooks, pools) = (ground.webhooks.clone(), teams.pools());
        let descriptions = ground.descriptions().await?;
        let tree = TreeBuilder { ground, teams: &teams, descriptions }.build().await?;
        let writes = Writes::begin(Arc::clone(&ports.broker), ports.store.clone(), DEADLINE);
        let probes = web::Data::new(probes(&settings, &tree, &writes));
        let shown = Shown {
            settings: &settings,
            ports: &ports,
            process: &process,
            tree: &tree,
            teams: &teams,
            probes: &probes,
            writes: &writes,
            figures: figures.as_ref(),
        };
        let server = socket.map(|socket| shown.open(socket)).transpose()?;
        let at_work = AtWork { ports, process, tree, webhooks, pools, server };
        let service =
            Self { settings, at_work, probes, signals, attended: false, _writes: writes, _figures: figures };
        service.tell_when_started();
        tracing::info!(
            process.id = %service.at_work.process.id,
            role = %service.settings.service.role,
            queues = service.settings.worker.queues_as_given,
            address = service.address().map(|address| address.to_string()),
            "tikkun serves"
        );
        Ok(service)
    }

    /// The address of the HTTP server; if the port in the settings is 0, with the port that was chosen.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.at_work.server.as_ref().map(|server| server.address)
    }

    /// Completes when the first lease is held; only then are jobs fetched. Cancel safe.
    pub(super) async fn has_lease(&self) {
        let mut held = self.at_work.tree.lease_held.clone();
        if held.wait_for(|held| *held).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// The back ends in use.
    #[must_use]
    pub fn ports(&self) -> &Ports {
        &self.at_work.ports
    }

    /// The running jobs of this process, with their last reported progress. It stays up to date while the
    /// service runs.
    #[must_use]
    pub fn running(&self) -> Running {
        self.at_work.tree.running.clone()
    }

    /// The slots of this process, in one pool for each team of its workers.
    #[must_use]
    pub fn slots(&self) -> Vec<Arc<SlotPool>> {
        self.at_work.tree.pools.clone()
    }

    /// Runs until a signal, `stop` or a failure ends it, and then drains.
    pub async fn run_until(mut self, stop: impl Future<Output = ()>) -> Ended {
        let most = self.settings.service.max_stuck;
        let retired = self.at_work.tree.pools.iter().map(|pool| pool.gone()).collect();
        let leave = tokio::select! {
            signal = self.signals.next() => Leave::Told(signal),
            () = stop => Leave::Told("request"),
            () = all_retired(retired) => Leave::Told("shutdown of every worker"),
            escalation = gave_up(self.at_work.tree.top.gave_up()) => Leave::GaveUp(escalation),
            stuck = too_many_stuck(self.at_work.tree.table.stuck_threads(), most) => Leave::Stuck(stuck),
        };
        self.probes.leaving.store(true, Ordering::Release);
        if self.attended {
            actix_rt::spawn(service_manager::tell(service_manager::STOPPING));
        }
        leave.tell();
        let longest = self.settings.service.drain_timeout;
        let drained = self.at_work.drain(longest, &mut self.signals).await;
        self.at_work.close(drained).await;
        match (leave, drained) {
            (Leave::Told(_), true) => Ended::Drained,
            (Leave::Told(_), false) => Ended::DrainedInPart,
            _ => Ended::GaveUp,
        }
    }

    /// Marks the process as started once its first lease is held.
    fn tell_when_started(&self) {
        let (mut held, probes) = (self.at_work.tree.lease_held.clone(), self.probes.clone());
        actix_rt::spawn(async move {
            if held.wait_for(|held| *held).await.is_ok() {
                probes.started.store(true, Ordering::Release);
            }
        });
    }
}
