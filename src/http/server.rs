//! Builds and opens the HTTP server.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::middleware::from_fn;
use actix_web::{App, HttpServer, web};
use secrecy::SecretString;

use super::api::{Configuration, JobLogReader};
use super::limits::{Limits, bounded, with_secret};
use super::{
    Auth, BasePath, Board, Facade, Guesses, HealthReader, MetricsEndpoint, Probes, api, health, metrics,
    page, probes, queues, receipts,
};
use crate::config::Entry;
use crate::job_log::JobLog;
use crate::operations::Queues;
use crate::queue::ProcessRecord;

/// The settings of the server.
#[derive(Clone)]
pub struct ServerSettings {
    /// The value of `X-Internal-Secret`; if `None`, every `/api` call is answered 401.
    pub secret: Option<Arc<SecretString>>,
    /// The largest body, in bytes.
    pub body_limit: usize,
    /// The time limit of a request, both for reading and for answering it.
    pub timeout: Duration,
    /// Wrong secrets of the last minute.
    pub guesses: Arc<Guesses>,
    /// The path of the page behind a proxy.
    pub base_path: BasePath,
}

/// The endpoints of the server.
#[derive(Clone)]
pub struct Endpoints {
    /// Served in every role.
    pub probes: web::Data<Probes>,
    /// Served in every role, if metrics are enabled.
    pub metrics: Option<web::Data<MetricsEndpoint>>,
    /// Served in every role.
    pub health: web::Data<HealthReader>,
    /// Served in every role.
    pub queues: web::Data<Queues>,
    /// Served in the roles `api` and `all`.
    pub facade: Option<web::Data<Facade>>,
    /// Served where there is something to show: with the facade, and where Python jobs are run.
    pub page: Option<PageParts>,
}

/// The parts of the page and its API.
#[derive(Clone)]
pub struct PageParts {
    /// The deletions that are shown.
    pub facade: web::Data<Facade>,
    /// Authenticates the users.
    pub auth: web::Data<Auth>,
    /// The state that is shown.
    pub board: web::Data<Board>,
    /// The log lines of jobs that ran in this process.
    pub job_log: Arc<JobLog>,
    /// This process.
    pub process: ProcessRecord,
    /// The effective settings; secrets are masked.
    pub configuration: Vec<Entry>,
}

/// Serves on an open socket, so that its port is known before anything else starts.
///
/// # Errors
/// If the socket cannot be used.
pub fn serve(
    socket: TcpListener,
    settings: &ServerSettings,
    endpoints: Endpoints,
) -> std::io::Result<(Server, SocketAddr)> {
    open(socket, settings, move |config| endpoints.clone().routes(config))
}

impl Endpoints {
    fn routes(self, config: &mut web::ServiceConfig) {
        let api = web::scope("/api").wrap(from_fn(with_secret));
        let api = api.configure(health::routes).configure(queues::routes);
        let api = match &self.facade {
            Some(facade) => api.app_data(facade.clone()).configure(receipts::routes),
            None => api,
        };
        config.app_data(self.probes).app_data(self.health).app_data(self.queues);
        config.configure(probes::routes);
        with_metrics(config, self.metrics);
        with_page(config, self.page);
        config.service(api);
    }
}

/// Serves these routes within the limits.
pub(super) fn open(
    socket: TcpListener,
    settings: &ServerSettings,
    routes: impl Fn(&mut web::ServiceConfig) + Clone + Send + 'static,
) -> std::io::Result<(Server, SocketAddr)> {
    let address = socket.local_addr()?;
    let limits = web::Data::new(Limits {
        secret: settings.secret.clone(),
        body_limit: settings.body_limit,
        timeout: settings.timeout,
        guesses: Arc::clone(&settings.guesses),
        base_path: settings.base_path.clone(),
    });
    let limit = web::PayloadConfig::new(settings.body_limit);
    let server = HttpServer::new(move || {
        App::new()
            .app_data(limits.clone())
            .app_data(limit.clone())
            .wrap(from_fn(bounded))
            .configure(routes.clone())
    })
    .workers(1)
    .client_request_timeout(settings.timeout)
    .disable_signals()
    .listen(socket)?
    .run();
    Ok((server, address))
}

pub(super) fn with_metrics(config: &mut web::ServiceConfig, endpoint: Option<web::Data<MetricsEndpoint>>) {
    if let Some(endpoint) = endpoint {
        config.app_data(endpoint).configure(metrics::routes);
    }
}

/// Must come before `/api`, whose scope would answer all paths below it.
fn with_page(config: &mut web::ServiceConfig, page: Option<PageParts>) {
    let Some(page) = page else { return };
    config
        .app_data(page.facade)
        .app_data(page.auth)
        .app_data(page.board)
        .app_data(web::Data::new(JobLogReader { log: page.job_log, process: page.process }))
        .app_data(web::Data::new(Configuration(page.configuration)))
        .configure(api::routes)
        .configure(page::routes);
}
