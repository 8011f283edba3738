//! Opens the back ends, and waits for those that cannot be reached: also at start-up an outage is waited out.
//!
//! A fault that waiting cannot resolve, such as a wrong password or a missing table, ends the start at once.
//! A wait is reported in the log, by the probes and in responses to requests with the secret.

use std::net::TcpListener;
use std::pin::pin;
use std::time::Duration;

use tokio::sync::watch;

use super::attachments;
use super::figures::Figures;
use super::ground::DEADLINE;
use super::http_server::StartUpServer;
use super::ports::{Ports, open_fit_broker, open_store, queue_file, tables_file};
use super::service_manager::{ask_for_time, while_starting};
use super::shutdown::Signals;
use super::start_error::{OpenError, PythonStartError, StartError};
use super::teams::Teams;
use crate::config::Settings;
use crate::job::Backoff;
use crate::user_log::USER_LOG;

/// If the back ends open within this time, no HTTP server is started for the wait.
const AT_ONCE: Duration = Duration::from_millis(300);

/// Starts the Python workers, which adds to the settings, and opens all back ends, however long it takes. Meanwhile
/// the socket is served, and a signal ends the wait.
pub(super) async fn open(
    (settings, teams): (&mut Settings, &mut Teams),
    (socket, figures): (Option<&TcpListener>, Option<&Figures>),
    signals: &mut Signals,
) -> Result<Ports, StartError> {
    let opening = Opening::default();
    let before = settings.clone();
    let mut ports = pin!(async {
        opening.boot(settings, teams).await?;
        Ok(opening.all(settings).await?)
    });
    if let Ok(opened) = tokio::time::timeout(AT_ONCE, &mut ports).await {
        return opened;
    }
    let start_up = |socket| StartUpServer::open(&before, socket, opening.waits.subscribe(), figures);
    let start_up = socket.map(start_up).transpose()?;
    let opened = tokio::select! {
        opened = &mut ports => opened,
        signal = signals.next() => Err(StartError::Left(signal)),
    };
    if let Some(start_up) = start_up {
        start_up.close().await;
    }
    opened
}

/// The back ends while they are being opened.
struct Opening {
    /// Why the process waits; `None` if it does not.
    waits: watch::Sender<Option<String>>,
    /// The delays between attempts.
    backoff: Backoff,
}

impl Default for Opening {
    fn default() -> Self {
        Self { waits: watch::Sender::new(None), backoff: Backoff::BATCH }
    }
}

impl Opening {
    /// Starts the Python workers that the settings name.
    async fn boot(&self, settings: &mut Settings, teams: &mut Teams) -> Result<(), PythonStartError> {
        if !settings.python_workers.is_empty() {
            self.waits.send_replace(Some("the Python workers are being started".to_owned()));
        }
        teams.boot(settings).await
    }

    /// Opens all three back ends.
    async fn all(&self, settings: &Settings) -> Result<Ports, OpenError> {
        let (queue, tables) = (queue_file(settings), tables_file(settings));
        let broker = async || self.awaited("the queue", open_fit_broker(settings)).await;
        let broker = self.reach(queue.is_some(), broker).await?;
        let store = async || self.awaited("the database", open_store(settings)).await;
        let store = self.reach(tables.is_some(), store).await?;
        let blobs = self.awaited("the attachments", attachments::open(settings)).await?;
        Ok(Ports { broker, store, blobs })
    }

    /// Opens one back end. One on the network is waited for while it cannot be reached; a local file is not.
    async fn reach<T>(
        &self,
        is_file: bool,
        open: impl AsyncFn() -> Result<T, OpenError>,
    ) -> Result<T, OpenError> {
        let mut failures = 0;
        loop {
            match open().await {
                Err(error) if error.is_outage() && !is_file => {
                    failures += 1;
                    self.wait(&error, failures).await;
                }
                opened => {
                    if failures > 0 && opened.is_ok() {
                        tracing::info!(target: USER_LOG, { failures }, "✓ [START] Opened (recovered!)");
                    }
                    self.waits.send_replace(None);
                    return opened;
                }
            }
        }
    }

    /// Awaits one attempt. It may take for ever, as on a disk that hangs, so a long one is reported.
    async fn awaited<T>(&self, what: &str, open: impl Future<Output = T>) -> T {
        let mut open = pin!(open);
        if let Ok(opened) = tokio::time::timeout(DEADLINE, &mut open).await {
            return opened;
        }
        let why = format!("cannot open {what} yet: no answer for {}", humantime::format_duration(DEADLINE));
        tracing::warn!("the start waits: {why}");
        self.waits.send_replace(Some(why));
        let opened = while_starting(open).await;
        tracing::info!("the start goes on: there is an answer from {what}");
        opened
    }

    async fn wait(&self, error: &OpenError, failures: u32) {
        let delay = self.backoff.plain(failures);
        tracing::warn!(%error, "the start waits for a back end that is out of reach");
        tracing::warn!(
            target: USER_LOG, { delay_s = delay.as_secs(), failures },
            "⏳ [START] Backing off {}s after {failures} failures", delay.as_secs()
        );
        self.waits.send_replace(Some(error.to_string()));
        ask_for_time(delay).await;
        tokio::time::sleep(delay).await;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::fault::{Fault, FaultKind};

    async fn reached(is_file: bool, answers: &[Option<FaultKind>]) -> (bool, usize) {
        let asked = Cell::new(0);
        let open = async || {
            let answer = answers[asked.replace(asked.get() + 1)];
            answer.map_or(Ok(()), |kind| Err(OpenError::new("the database", Fault::new(kind, "no answer"))))
        };
        let backoff = Backoff { first: Duration::ZERO, ..Backoff::BATCH };
        let opened = Opening { backoff, ..Opening::default() }.reach(is_file, open).await;
        (opened.is_ok(), asked.get())
    }

    #[tokio::test]
    async fn an_outage_is_waited_out_and_a_mistake_is_told_at_once() {
        let (out, unlucky, wrong) = (FaultKind::Unavailable, FaultKind::Retryable, FaultKind::Permanent);
        assert_eq!(reached(false, &[Some(out), Some(unlucky), Some(out), None]).await, (true, 4));
        assert_eq!(reached(false, &[Some(out), Some(wrong)]).await, (false, 2));
        assert_eq!(reached(true, &[Some(out)]).await, (false, 1));
    }
}
