//! Builds the HTTP server of a service, with everything that it reads.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::{Server, ServerHandle};
use actix_web::web;
use tokio::sync::watch;

use super::Ports;
use super::figures::Figures;
use super::identity::worker_config;
use super::ports::{queues, tracked_deletions};
use super::teams::Teams;
use super::tree::Tree;
use crate::config::Settings;
use crate::http::{
    Auth, BasePath, Board, BoardReader, Endpoints, Facade, Guesses, HealthReader, Identity, MetricsEndpoint,
    MetricsLook, PageParts, PageRules, PageSecrets, Planning, Probes, PythonReader, PythonWorkerReader,
    ServerSettings, TrustedProxies, Writes, serve, serve_start_up,
};
use crate::job_log::JobLog;
use crate::operations::{Deletions, Limiter, Thresholds};
use crate::queue::ProcessRecord;
use crate::tracking::Requests;

/// The parts of the process that the HTTP server uses.
pub(super) struct Shown<'a> {
    pub settings: &'a Settings,
    pub ports: &'a Ports,
    pub process: &'a ProcessRecord,
    pub tree: &'a Tree,
    pub probes: &'a web::Data<Probes>,
    pub writes: &'a Writes,
    pub teams: &'a Teams,
    pub figures: Option<&'a Figures>,
}

impl Shown<'_> {
    pub(super) fn open(&self, socket: TcpListener) -> std::io::Result<RunningServer> {
        let settings = server_settings(self.settings);
        let guesses = Arc::clone(&settings.guesses);
        let endpoints = Endpoints {
            probes: self.probes.clone(),
            metrics: None,
            health: web::Data::new(self.health_reader()),
            queues: web::Data::new(queues(self.settings, &self.ports.broker, self.back_end_deadline())),
            facade: self.settings.service.role.serves_receipts().then(|| web::Data::new(self.facade())),
            page: None,
        };
        let endpoints = Endpoints {
            page: self.page(&endpoints, guesses),
            metrics: self.metrics(&endpoints),
            ..endpoints
        };
        let board = endpoints.page.as_ref().map(|page| page.board.clone());
        let (server, address) = serve(socket, &settings, endpoints)?;
        let open = RunningServer { server: server.handle(), address, board };
        attend(server);
        Ok(open)
    }

    /// The time limit of a back-end call: half of a request's, so that a response is sent in any case.
    fn back_end_deadline(&self) -> Duration {
        self.settings.http.request_timeout / 2
    }

    fn health_reader(&self) -> HealthReader {
        let settings = self.settings;
        HealthReader {
            broker: Arc::clone(&self.ports.broker),
            store: self.ports.store.clone(),
            children: self.tree.table.clone(),
            running: self.tree.running.clone(),
            deletions: Arc::clone(&self.tree.descriptions),
            worker: worker_config(settings),
            schedules: settings.schedules.as_slice().into(),
            thresholds: Thresholds {
                failed: settings.http.degraded_failed,
                queued: settings.http.degraded_queued,
                cleanup_age: settings.cleanup_age(),
                needs_scheduler: settings.scheduler.enabled,
            },
            writes: self.writes.clone(),
            outages: self.tree.outages.clone(),
            python: self.python_reader(),
            deadline: self.back_end_deadline(),
        }
    }

    fn python_reader(&self) -> Option<PythonReader> {
        let workers = self.teams.python.iter().map(|team| PythonWorkerReader {
            queues: team.served.queues.clone(),
            pool: team.worker.pool(),
            hindrance: team.worker.hindrance(),
            preload: team.worker.preload(),
        });
        let workers: Vec<_> = workers.collect();
        (!workers.is_empty()).then(|| PythonReader { workers, beside_rust: self.teams.kinds.is_some() })
    }

    /// The endpoint for metrics.
    fn metrics(&self, endpoints: &Endpoints) -> Option<web::Data<MetricsEndpoint>> {
        let job_type = tracked_deletions(self.settings).job_type;
        let look = MetricsLook::new(endpoints.health.clone(), job_type);
        let exposition = self.figures?.exposition.clone();
        Some(web::Data::new(MetricsEndpoint { exposition, probes: self.probes.clone(), look: Some(look) }))
    }

    /// The parts of the page; starts to keep its board.
    fn page(&self, endpoints: &Endpoints, guesses: Arc<Guesses>) -> Option<PageParts> {
        let http = &self.settings.http;
        let of_python = || self.teams.kinds.is_none().then(|| web::Data::new(self.facade()));
        let facade = endpoints.facade.clone().or_else(of_python)?;
        let role = self.settings.service.role;
        let slots = if role.runs_jobs() { self.settings.worker.slots } else { 0 };
        let identity = Identity {
            process: self.process.clone(),
            role: role.to_string(),
            slots: u64::try_from(slots).unwrap_or(u64::MAX),
            read_only: http.read_only,
            interval: http.page_interval,
        };
        let board = web::Data::new(Board::new(http.page_interval));
        let (kept, job_log) = (board.clone(), JobLog::of_process());
        let health = endpoints.health.clone();
        let reader = BoardReader { health, facade: facade.clone(), job_log: Arc::clone(&job_log), identity };
        actix_rt::spawn(async move { kept.keep(&reader).await });
        let secrets = PageSecrets {
            internal: http.internal_secret.clone().map(Arc::new),
            viewer: http.viewer_secret.clone().map(Arc::new),
            operator: http.operator_secret.clone().map(Arc::new),
        };
        let rules = PageRules {
            session_time: http.session_time,
            read_only: http.read_only,
            base_path: BasePath::new(&http.base_path),
        };
        let ended = Arc::clone(&self.ports.store.ended_sessions);
        let auth = web::Data::new(Auth::new(secrets, rules, guesses, ended));
        let (process, configuration) = (self.process.clone(), self.settings.entries.clone());
        Some(PageParts { facade, auth, board, job_log, process, configuration })
    }

    fn facade(&self) -> Facade {
        let settings = self.settings;
        Facade {
            deletions: Deletions {
                requests: Requests {
                    tracker: self.tree.tracker.clone(),
                    broker: Arc::clone(&self.ports.broker),
                    tracked: tracked_deletions(settings),
                    deadline: self.back_end_deadline(),
                },
                jobs: Arc::clone(&self.ports.store.background_jobs),
                limiter: Limiter::new(settings.http.delete_all_per_minute),
            },
            stuck_after: (&settings.deletion).into(),
            planning: Planning {
                receipts: Arc::clone(&self.ports.store.receipts),
                target: self.ports.blobs.target().clone(),
                batch: settings.deletion.batch,
                throttle: settings.deletion.throttle,
            },
            certificates: Arc::clone(&self.ports.store.certificates),
        }
    }
}

/// A running HTTP server.
pub(super) struct RunningServer {
    server: ServerHandle,
    pub(super) address: SocketAddr,
    /// The board of the page, if the page is served.
    board: Option<web::Data<Board>>,
}

impl RunningServer {
    pub(super) async fn close(&self) {
        if let Some(board) = &self.board {
            board.close();
            board.ended().await;
        }
        close(&self.server).await;
    }
}

fn server_settings(settings: &Settings) -> ServerSettings {
    ServerSettings {
        secret: settings.http.internal_secret.clone().map(Arc::new),
        body_limit: usize::try_from(settings.http.body_limit.0).unwrap_or(usize::MAX),
        timeout: settings.http.request_timeout,
        guesses: Arc::new(Guesses::new(TrustedProxies::new(settings.http.trusted_proxies.clone()))),
        base_path: BasePath::new(&settings.http.base_path),
    }
}

fn attend(server: Server) {
    actix_rt::spawn(async move {
        if let Err(error) = server.await {
            tracing::error!(%error, "the HTTP server broke");
        }
    });
}

/// The longest wait for requests in progress when the server closes.
const CLOSE: Duration = Duration::from_secs(2);

/// Closes a server after the requests in progress, or after [`CLOSE`].
async fn close(server: &ServerHandle) {
    if tokio::time::timeout(CLOSE, server.stop(true)).await.is_err() {
        server.stop(false).await;
    }
}

/// The HTTP server of a process that waits for its back ends. It has a copy of the socket: connections that
/// arrive while it closes are served by the next server.
pub(super) struct StartUpServer {
    server: ServerHandle,
}

impl StartUpServer {
    pub(super) fn open(
        settings: &Settings,
        socket: &TcpListener,
        waits: watch::Receiver<Option<String>>,
        figures: Option<&Figures>,
    ) -> std::io::Result<Self> {
        // No loop runs yet that could stop.
        let probes = web::Data::new(Probes::of_start_up());
        let exposition = figures.map(|figures| figures.exposition.clone());
        let (server, address) =
            serve_start_up(socket.try_clone()?, &server_settings(settings), probes, (waits, exposition))?;
        tracing::info!(address = %address, "tikkun waits for its back ends");
        let start_up = Self { server: server.handle() };
        attend(server);
        Ok(start_up)
    }

    pub(super) async fn close(self) {
        close(&self.server).await;
    }
}
