//! Counts the metrics of the process.

use std::time::{Duration, SystemTime};

use tokio::time::MissedTickBehavior;
use tokio_util::task::AbortOnDropHandle;

use crate::config::Settings;
use crate::measure::list::{BUILD_INFO, SLOTS, START_TIME};
use crate::measure::{Exposition, install};

/// The time between two aggregations of histograms; until then every recorded value takes up memory.
const ADD_UP: Duration = Duration::from_secs(1);

/// The metrics, which are aggregated as long as this exists.
pub(super) struct Figures {
    pub exposition: Exposition,
    _sums: AbortOnDropHandle<()>,
}

impl Figures {
    /// Starts to count, if metrics are enabled. Must be called before anything is counted.
    pub(super) fn begin(settings: &Settings) -> Option<Self> {
        let wanted = settings.http.enabled && settings.http.metrics;
        let exposition = wanted.then(install).flatten()?;
        let role = settings.service.role;
        BUILD_INFO.gauge(&[env!("CARGO_PKG_VERSION"), &role.to_string()]).set(1.0);
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        START_TIME.gauge(&[]).set(since.as_secs_f64());
        let sums = actix_rt::spawn(add_up(exposition.clone()));
        let figures = Self { exposition, _sums: AbortOnDropHandle::new(sums) };
        figures.show_slots(settings);
        Some(figures)
    }

    /// Shows how many jobs run at once, by these settings.
    pub(super) fn show_slots(&self, settings: &Settings) {
        let runs = settings.service.role.runs_jobs();
        SLOTS.gauge(&[]).set(if runs { settings.worker.slots as f64 } else { 0.0 });
    }
}

async fn add_up(exposition: Exposition) {
    let mut ticks = tokio::time::interval(ADD_UP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        exposition.add_up();
    }
}
