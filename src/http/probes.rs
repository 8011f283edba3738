//! `/healthz`, `/readyz`, `/startupz`: what this process itself can say, and whether its writes succeed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use actix_web::{HttpResponse, web};
use serde_json::json;

use super::Writes;
use crate::supervision::Turns;

/// What probes look at.
#[derive(Debug)]
pub struct Probes {
    /// The loops that must turn.
    pub turns: Turns,
    /// Set once the back ends are open.
    pub opened: AtomicBool,
    /// Set once everything runs.
    pub started: AtomicBool,
    /// Set once the process begins to drain or gives up.
    pub leaving: AtomicBool,
    /// Silence after which a loop counts as stopped.
    pub longest_turn: Duration,
    /// Writes that it is not ready without; none where it is ready all the same.
    pub needed_writes: Option<Writes>,
}

impl Probes {
    /// Probes of a process whose back ends are open, and that starts.
    #[must_use]
    pub fn new(turns: Turns, longest_turn: Duration) -> Self {
        Self {
            turns,
            opened: true.into(),
            started: false.into(),
            leaving: false.into(),
            longest_turn,
            needed_writes: None,
        }
    }

    /// Probes of a process that waits for its back ends: no loop turns yet.
    #[must_use]
    pub fn of_start_up() -> Self {
        Self { opened: false.into(), ..Self::new(Turns::default(), Duration::MAX) }
    }

    /// What a process that has not started waits for.
    fn waits_for(&self) -> &'static str {
        if self.started.load(Ordering::Acquire) {
            "no fetch from the queue has succeeded yet; the log says what it answers"
        } else if self.opened.load(Ordering::Acquire) {
            "the queue has not granted the first lease yet; the log says what it answers, if it answers"
        } else {
            "a back end is out of reach; the log says which, and so does /api to whoever has the secret"
        }
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
fn starting(probes: &Probes, stopped: Vec<String>) -> HttpResponse {
    let why = probes.waits_for();
    HttpResponse::ServiceUnavailable().json(json!({ "status": "starting", "stopped": stopped, "why": why }))
}

/// Alive: the control plane turns and the fetch loops advance, also while they wait out an outage.
async fn healthz(probes: web::Data<Probes>) -> HttpResponse {
    let stopped = probes.stopped();
    answer(stopped.is_empty(), if stopped.is_empty() { "alive" } else { "stopped" }, stopped)
}

/// Ready: started, not leaving, alive, no fetch loop whose first fetch has not succeeded yet, and what it writes is taken.
async fn readyz(probes: web::Data<Probes>) -> HttpResponse {
    let stopped = probes.stopped();
    if probes.leaving.load(Ordering::Acquire) {
        return answer(false, "leaving", stopped);
    }
    if !probes.started.load(Ordering::Acquire) {
        return starting(&probes, stopped);
    }
    if stopped.is_empty() && !probes.turns.unproven().is_empty() {
        return starting(&probes, stopped);
    }
    if let (true, Some(writes)) = (stopped.is_empty(), &probes.needed_writes)
        && let refused = writes.refused().await
        && !refused.is_empty()
    {
        let names: Vec<_> = refused.into_keys().collect();
        let why = format!("no write to the {} succeeds; the log says why", names.join(" and the "));
        return HttpResponse::ServiceUnavailable()
            .json(json!({ "status": "writes refused", "stopped": stopped, "why": why }));
    }
    answer(stopped.is_empty(), if stopped.is_empty() { "ready" } else { "stopped" }, stopped)
}

/// Started: everything was opened once.
async fn startupz(probes: web::Data<Probes>) -> HttpResponse {
    if probes.started.load(Ordering::Acquire) {
        answer(true, "started", Vec::new())
    } else {
        starting(&probes, Vec::new())
    }
}
