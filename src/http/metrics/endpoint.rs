//! Answers requests for metrics.

use std::sync::atomic::Ordering;

use actix_web::{HttpResponse, web};

use super::look::MetricsLook;
use super::own_process;
use crate::http::Probes;
use crate::measure::Exposition;
use crate::measure::list::{READY, STOPPED_LOOPS};

/// The media type of Prometheus' text format.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Renders the counted metrics, and reads the others first.
pub struct MetricsEndpoint {
    /// The counted metrics.
    pub exposition: Exposition,
    /// The state of this process.
    pub probes: web::Data<Probes>,
    /// Reads the other metrics; `None` while the process waits for its back ends.
    pub look: Option<MetricsLook>,
}

pub(in crate::http) fn routes(config: &mut web::ServiceConfig) {
    config.service(web::resource("/metrics").route(web::get().to(metrics)));
}

async fn metrics(endpoint: web::Data<MetricsEndpoint>) -> HttpResponse {
    endpoint.probe();
    own_process::read();
    if let Some(look) = &endpoint.look {
        look.bring_up_to_date().await;
    }
    HttpResponse::Ok().content_type(TEXT).body(endpoint.exposition.render())
}

impl MetricsEndpoint {
    fn probe(&self) {
        let stopped = self.probes.stopped().len();
        let started = self.probes.started.load(Ordering::Acquire);
        let proven = self.probes.turns.unproven().is_empty();
        let written = self.probes.needed_writes.as_ref().is_none_or(|writes| !writes.are_refused());
        let runs = self.probes.hindrance.borrow().is_none();
        let leaving = self.probes.leaving.load(Ordering::Acquire);
        let served = self.probes.outages.whole().is_empty();
        let ready = started && proven && written && served && runs && stopped == 0 && !leaving;
        STOPPED_LOOPS.gauge(&[]).set(stopped as f64);
        READY.gauge(&[]).set(f64::from(u8::from(ready)));
    }
}
