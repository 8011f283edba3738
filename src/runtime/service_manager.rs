//! Notifications to systemd or a compatible service manager: the process is ready, alive, stopping. Without a
//! service manager nothing is sent.
//!
//! Signs of life come from the control plane, and only while `/healthz` would answer 200. If its thread is
//! blocked or a loop has stopped, there are none, and the service manager restarts the process.

use std::pin::pin;
use std::time::Duration;

use actix_web::web;
use sd_notify::NotifyState;
use tokio::sync::watch;

use crate::http::Probes;

/// The process drains.
pub(super) const STOPPING: NotifyState<'static> = NotifyState::Stopping;
/// The time limit of a notification.
const DEADLINE: Duration = Duration::from_secs(5);

/// How much longer than the next delay the service manager is asked to wait: as long as one attempt may take.
const ONE_TRY: Duration = Duration::from_secs(60);
/// How often it is asked during a wait whose length nobody knows.
const ASKED_EVERY: Duration = Duration::from_secs(5);

/// Notifies that the process is ready once its first lease is held; from then on, if a watchdog is
/// configured, that it is alive.
pub(super) async fn attend(mut lease_held: watch::Receiver<bool>, probes: web::Data<Probes>) {
    if lease_held.wait_for(|held| *held).await.is_err() {
        return;
    }
    tell(NotifyState::Ready).await;
    let period = sd_notify::watchdog_enabled().filter(|period| !period.is_zero());
    if let Some(period) = period {
        // Half of the watchdog's limit, as systemd recommends.
        signs_of_life(period / 2, || probes.stopped(), async || tell(NotifyState::Watchdog).await).await;
    }
}

/// Asks the service manager to wait for so long, and one attempt more.
pub(super) async fn ask_for_time(time: Duration) {
    let longer = u32::try_from((time + ONE_TRY).as_micros()).unwrap_or(u32::MAX);
    tell(NotifyState::ExtendTimeoutUsec(longer)).await;
}

/// Does this part of the start, and asks the service manager to wait until it is done. Cancel safe if `work` is.
pub(super) async fn while_starting<T>(work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    loop {
        ask_for_time(ASKED_EVERY).await;
        if let Ok(done) = tokio::time::timeout(ASKED_EVERY, &mut work).await {
            return done;
        }
    }
}

/// Sends a notification from another thread, so that the control plane does not block on the socket.
pub(super) async fn tell(what: NotifyState<'static>) {
    let told = actix_rt::task::spawn_blocking(move || sd_notify::notify(&[what]));
    match tokio::time::timeout(DEADLINE, told).await {
        Ok(Ok(Ok(()))) => {}
        Ok(Ok(Err(error))) => tracing::warn!(%error, "the service manager at NOTIFY_SOCKET cannot be told"),
        Ok(Err(error)) => tracing::warn!(%error, "the service manager cannot be told"),
        Err(_) => tracing::warn!("the service manager at NOTIFY_SOCKET does not listen"),
    }
}

async fn signs_of_life(every: Duration, stopped: impl Fn() -> Vec<String>, sign: impl AsyncFn()) {
    let mut was_well = true;
    loop {
        let stopped = stopped();
        let well = stopped.is_empty();
        if well {
            sign().await;
        } else if was_well {
            tracing::error!(?stopped, "no sign of life is given any more: these loops stand still");
        }
        was_well = well;
        tokio::time::sleep(every).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervision::Turns;
    use std::cell::Cell;

    #[actix_rt::test]
    async fn no_sign_of_life_is_given_while_a_loop_stands_still() {
        let turns = Turns::default();
        let probes = |longest| Probes::new(turns.clone(), longest);
        let (patient, strict) = (probes(Duration::from_secs(3600)), probes(Duration::ZERO));
        let _loop = turns.register("fetch");
        // Alive twice, then stopped for three checks, then alive again.
        let (looks, signs) = (Cell::new(0), Cell::new(0));
        let judge = || {
            looks.set(looks.get() + 1);
            if (3..6).contains(&looks.get()) { strict.stopped() } else { patient.stopped() }
        };
        let (told, heard) = tokio::sync::oneshot::channel();
        let told = Cell::new(Some(told));
        let sign = async || {
            signs.set(signs.get() + 1);
            if signs.get() == 3 {
                told.take().unwrap().send(looks.get()).unwrap();
            }
        };
        tokio::select! {
            () = signs_of_life(Duration::from_millis(1), judge, sign) => {}
            look = heard => assert_eq!(look, Ok(6), "the third sign comes with the sixth look"),
        }
    }
}
