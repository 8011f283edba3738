//! The HTTP server of a process that waits for its back ends: probes, metrics, and the reason elsewhere.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::http::StatusCode;
use actix_web::middleware::from_fn;
use actix_web::{HttpRequest, HttpResponse, ResponseError as _, web};
use tokio::sync::watch;

use super::limits::{Limits, with_secret};
use super::server::{ServerSettings, open, with_metrics};
use super::{MetricsEndpoint, Probes, Problem, probes};
use crate::measure::Exposition;

/// The `Retry-After` of responses during the wait.
const COME_BACK: Duration = Duration::from_secs(5);

/// Why the process waits; `None` when it is about to serve.
type Waits = watch::Receiver<Option<String>>;

/// Serves on a socket until the back ends are open.
///
/// # Errors
/// If the socket cannot be used.
pub fn serve_start_up(
    socket: TcpListener,
    settings: &ServerSettings,
    probes: web::Data<Probes>,
    (waits, exposition): (Waits, Option<Exposition>),
) -> std::io::Result<(Server, SocketAddr)> {
    let waits = web::Data::new(waits);
    let endpoint = |exposition| MetricsEndpoint { exposition, probes: probes.clone(), look: None };
    let endpoint = exposition.map(|exposition| web::Data::new(endpoint(exposition)));
    open(socket, settings, move |config| {
        let page = web::scope("/api/v1").default_service(web::to(reason_of_page));
        let api = web::scope("/api").wrap(from_fn(with_secret)).default_service(web::to(reason));
        config.app_data(probes.clone()).app_data(waits.clone()).configure(probes::routes);
        with_metrics(config, endpoint.clone());
        config.service(page).service(api);
    })
}

async fn reason(waits: web::Data<Waits>) -> Result<HttpResponse, Problem> {
    Err(starting(waits.borrow().as_deref()))
}

/// Keeps an open page waiting and its user signed in. The reason is shown only with the secret.
async fn reason_of_page(
    limits: web::Data<Limits>,
    waits: web::Data<Waits>,
    request: HttpRequest,
) -> HttpResponse {
    match limits.check(&request) {
        Err(problem) if problem.status_code() == StatusCode::TOO_MANY_REQUESTS => problem.to_details(),
        checked => starting(waits.borrow().as_deref().filter(|_| checked.is_ok())).to_details(),
    }
}

fn starting(reason: Option<&str>) -> Problem {
    let message = match reason {
        Some(reason) => format!("this process has not started: {reason}"),
        None => "this process has not started; it waits for a back end".to_owned(),
    };
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "starting", message).retry_after(COME_BACK)
}
