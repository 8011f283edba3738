//! `/healthz`, `/readyz`, `/startupz`: what this process itself can say, without asking anyone else.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use actix_web::{HttpResponse, web};
use serde_json::json;

use crate::supervision::Turns;

/// What probes look at.
#[derive(Debug)]
pub struct Probes {
    /// The loops that must turn.
    pub turns: Turns,
    /// Set once everything runs.
    pub started: AtomicBool,
    /// Set once the process begins to drain or gives up.
    pub leaving: AtomicBool,
    /// Silence after which a loop counts as stopped.
    pub longest_turn: Duration,
}

impl Probes {
    /// Probes of a process that starts.
    #[must_use]
    pub fn new(turns: Turns, longest_turn: Duration) -> Self {
        Self { turns, started: AtomicBool::new(false), leaving: AtomicBool::new(false), longest_turn }
    }

    /// Loops that have not turned for too long: the process is alive while there are none.
    #[must_use]
    pub fn stopped(&self) -> Vec<String> {
        self.turns.overdue(Instant::now(), self.longest_turn)
    }
}

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .service(web::resource("/healthz").route(web::get().to(healthz)))
        .service(web::resource("/readyz").route(web::get().to(readyz)))
        .service(web::resource("/startupz").route(web::get().to(startupz)));
}

fn answer(good: bool, status: &str, stopped: Vec<String>) -> HttpResponse {
    let mut answer = if good { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    answer.json(json!({ "status": status, "stopped": stopped }))
}

/// Everything is up but for the one thing that another has to grant.
fn starting(stopped: Vec<String>) -> HttpResponse {
    HttpResponse::ServiceUnavailable().json(json!({
        "status": "starting",
        "stopped": stopped,
        "why": "the queue has not granted the first lease yet; the log says what it answers, if it answers",
    }))
}

/// Alive: the control plane turns and the fetch loops advance, also while they wait out an outage.
async fn healthz(probes: web::Data<Probes>) -> HttpResponse {
    let stopped = probes.stopped();
    answer(stopped.is_empty(), if stopped.is_empty() { "alive" } else { "stopped" }, stopped)
}

/// Ready: started, not leaving, and alive.
async fn readyz(probes: web::Data<Probes>) -> HttpResponse {
    let stopped = probes.stopped();
    if probes.leaving.load(Ordering::Acquire) {
        return answer(false, "leaving", stopped);
    }
    if !probes.started.load(Ordering::Acquire) {
        return starting(stopped);
    }
    answer(stopped.is_empty(), if stopped.is_empty() { "ready" } else { "stopped" }, stopped)
}

/// Started: everything was opened once.
async fn startupz(probes: web::Data<Probes>) -> HttpResponse {
    if probes.started.load(Ordering::Acquire) {
        answer(true, "started", Vec::new())
    } else {
        starting(Vec::new())
    }
}
