//! `/healthz`, `/readyz`, `/startupz`: the state of this process, and whether its writes succeed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use actix_web::{HttpResponse, web};
use serde_json::json;
use tokio::sync::watch;

use super::Writes;
use crate::job::QueueName;
use crate::supervision::Turns;
use crate::worker::Outages;

/// The input of the probes.
#[derive(Debug)]
pub struct Probes {
    /// The loops that must advance.
    pub turns: Turns,
    /// Set once the back ends are open.
    pub opened: AtomicBool,
    /// Set once the first lease is held.
    pub started: AtomicBool,
    /// Set once the process begins to drain or gives up.
    pub leaving: AtomicBool,
    /// A loop that does not advance for this time counts as stopped.
    pub longest_turn: Duration,
    /// Why no job can be run now.
    pub hindrance: watch::Receiver<Option<String>>,
    /// The queues that are not served now.
    pub outages: Outages,
    /// The writes that must succeed for the process to be ready; `None` if none must.
    pub needed_writes: Option<Writes>,
}

impl Probes {
    /// Probes of a process that is starting, with its back ends open.
    #[must_use]
    pub fn new(turns: Turns, longest_turn: Duration) -> Self {
        Self {
            turns,
            opened: true.into(),
            started: false.into(),
            leaving: false.into(),
            longest_turn,
            hindrance: watch::Sender::new(None).subscribe(),
            outages: Outages::default(),
            needed_writes: None,
        }
    }

    /// Probes of a process that waits for its back ends; no loop runs yet.
    #[must_use]
    pub fn of_start_up() -> Self {
        Self { opened: false.into(), ..Self::new(Turns::default(), Duration::MAX) }
    }

    /// What a starting process waits for.
    fn waits_for(&self) -> &'static str {
        if self.started.load(Ordering::Acquire) {
            "no fetch from the queue has succeeded yet; the log says what it answers"
        } else if self.opened.load(Ordering::Acquire) {
            "the queue has not granted the first lease yet; the log says what it answers, if it answers"
        } else {
            "a back end is out of reach; the log says which, and so does /api to whoever has the secret"
        }
    }

    /// The loops that have not advanced for too long. Without any the process is alive.
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

/// The answer of a process that is starting, with what it waits for.
fn starting(probes: &Probes, stopped: Vec<String>) -> HttpResponse {
    let why = probes.waits_for();
    HttpResponse::ServiceUnavailable().json(json!({ "status": "starting", "stopped": stopped, "why": why }))
}

/// Alive: the control plane and the fetch loops advance, also during an outage.
async fn healthz(probes: web::Data<Probes>) -> HttpResponse {
    let stopped = probes.stopped();
    answer(stopped.is_empty(), if stopped.is_empty() { "alive" } else { "stopped" }, stopped)
}

/// Ready: started, not leaving, alive, each fetch loop has fetched once, the needed writes succeed, each queue is
/// served, and jobs can be run.
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
        let why = format!("writes to the {} are refused; the log says why", names.join(" and the "));
        return HttpResponse::ServiceUnavailable()
            .json(json!({ "status": "writes refused", "stopped": stopped, "why": why }));
    }
    let unserved = probes.outages.whole();
    if stopped.is_empty() && !unserved.is_empty() {
        let names: Vec<_> = unserved.iter().map(QueueName::as_str).collect();
        let why = format!("no job can be taken from {}; the log says why", names.join(", "));
        return HttpResponse::ServiceUnavailable()
            .json(json!({ "status": "queues not served", "stopped": stopped, "why": why }));
    }
    if let (true, Some(why)) = (stopped.is_empty(), probes.hindrance.borrow().as_ref()) {
        return HttpResponse::ServiceUnavailable()
            .json(json!({ "status": "jobs cannot run", "stopped": stopped, "why": why }));
    }
    answer(stopped.is_empty(), if stopped.is_empty() { "ready" } else { "stopped" }, stopped)
}

/// Started: the back ends are open, and the first lease is held.
async fn startupz(probes: web::Data<Probes>) -> HttpResponse {
    if probes.started.load(Ordering::Acquire) {
        answer(true, "started", Vec::new())
    } else {
        starting(&probes, Vec::new())
    }
}
