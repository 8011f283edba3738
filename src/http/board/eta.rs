//! The remaining time of a deletion, as a range; nothing is returned before there is enough data.

use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use crate::http::views::{JobView, QueueService};
use crate::job::background::{BackgroundJob, Status};

/// How long a deletion must have run: its first batches meet cold caches and new connections.
const WARM_UP: Duration = Duration::from_secs(3);
/// How many reads are averaged, so that a pause between two batches does not count as a standstill.
const TOGETHER: usize = 3;
/// How many of the newest reads count.
const LOOKS: usize = 15;

/// One deletion.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::http) struct DeletionRow {
    /// The fields that the application's page shows, too.
    #[serde(flatten)]
    pub job: JobView,
    /// The tenant.
    pub business_id: i64,
    /// The queue job that works on it.
    pub queue_job: Option<String>,
    /// Seconds left at its highest recent rate; empty before there is enough data.
    pub eta_low: Option<f64>,
    /// Seconds left at its lowest recent rate.
    pub eta_high: Option<f64>,
    /// Receipts per second between the reads of the last minute, oldest first.
    pub rates: Vec<f64>,
}

/// Builds a row; `rates` are receipts per second, oldest first.
pub(in crate::http) fn deletion_row(
    job: &BackgroundJob,
    service: &QueueService,
    rates: Vec<f64>,
) -> DeletionRow {
    let progress = job.progress;
    let left = (progress.total - progress.processed).max(0) as f64;
    let since_start = job.started_at.and_then(|at| (service.now - at).to_std().ok()).unwrap_or_default();
    let known = job.status == Status::Running && left > 0.0;
    let speeds = known.then(|| speeds(&rates, job.note.rate, (progress.processed, since_start)));
    let bound = |better: fn(f64, f64) -> f64| {
        let speed = speeds.iter().flatten().copied().reduce(better)?;
        Some((left / speed).ceil())
    };
    DeletionRow {
        job: JobView::new(job, service),
        business_id: job.business_id.0,
        queue_job: job.note.queue_job.as_ref().map(ToString::to_string),
        eta_low: bound(f64::max),
        eta_high: bound(f64::min),
        rates,
    }
}

/// The rates at which it may continue; empty while there is too little data.
fn speeds(rates: &[f64], told: Option<f64>, (processed, since_start): (i64, Duration)) -> Vec<f64> {
    if since_start < WARM_UP || processed <= 0 {
        return Vec::new();
    }
    let newest: Vec<f64> = rates.iter().rev().take(LOOKS).copied().collect();
    let looks = newest.chunks_exact(TOGETHER).map(|some| some.iter().sum::<f64>() / TOGETHER as f64);
    let mut speeds: Vec<f64> = looks.chain(told).filter(|rate| *rate > 0.0).collect();
    if speeds.len() < 2 {
        // There are few reads: the average since its start must do.
        speeds.push(processed as f64 / since_start.as_secs_f64());
    }
    speeds
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn nothing_is_told_in_the_first_moments_whatever_the_speed() {
        let early = (500, Duration::from_secs(2));
        assert!(speeds(&[5000.0, 1.0, 2.0], Some(9000.0), early).is_empty());
        assert!(speeds(&[], Some(50.0), (0, LONG)).is_empty(), "nothing was done yet");
    }

    #[test]
    fn a_rest_between_batches_is_no_standstill() {
        let steady = [100.0, 0.0, 50.0, 0.0, 100.0, 50.0];
        let speeds = speeds(&steady, Some(50.0), (3000, LONG));
        assert_eq!(speeds, [50.0, 50.0, 50.0]);
    }

    #[test]
    fn who_comes_new_is_told_by_the_average() {
        assert_eq!(speeds(&[], None, (600, LONG)), [10.0]);
        assert_eq!(speeds(&[], Some(20.0), (600, LONG)), [20.0, 10.0]);
    }
}
