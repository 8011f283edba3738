//! `tikkun health`: asks the running service whether it is healthy; made for `HEALTHCHECK` in containers.

use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::advice::Advice;
use super::client::Client;
use super::ending::{Complaint, finish};
use super::reach::{base, own_address};
use super::{Common, page, spans};

/// Options of `health`.
#[derive(Debug, Args)]
pub(super) struct Health {
    /// The service's URL; by default this machine with `http.port`.
    #[arg(long, value_parser = base, value_hint = clap::ValueHint::Url)]
    url: Option<String>,
    /// The probe to ask.
    #[arg(long, value_enum, default_value_t = Probe::Live)]
    probe: Probe,
    /// How long to wait for the answer.
    #[arg(long, default_value = "5s", value_parser = spans::some_time)]
    timeout: Duration,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Probe {
    /// Its event loops respond.
    Live,
    /// It accepts work.
    Ready,
    /// It has started.
    Startup,
}

impl Probe {
    fn path(self) -> &'static str {
        match self {
            Self::Live => "/healthz",
            Self::Ready => "/readyz",
            Self::Startup => "/startupz",
        }
    }
}

impl Health {
    pub(super) fn run(self, common: &Common) -> u8 {
        finish(self.ask(common))
    }

    fn ask(self, common: &Common) -> Result<(), Complaint> {
        let base = match self.url {
            Some(url) => url,
            None => own_address(common)?,
        };
        let url = format!("{base}{}", self.probe.path());
        let answer = actix_rt::System::new().block_on(ask(&url, self.timeout));
        match answer {
            Ok((status, body)) => {
                if common.json {
                    page::json(&json!({ "url": url, "ok": status == 200, "status": status, "body": body }));
                }
                let said = body.get("status").and_then(Value::as_str).unwrap_or("no word");
                match (status, common.json) {
                    (200, true) => Ok(()),
                    (200, false) => {
                        page::line(&page::safe(said));
                        Ok(())
                    }
                    _ => {
                        let text =
                            format!("{url} answered {status} ({said}), expected 200{}", stopped(&body));
                        Err(Complaint::failed(text, Advice::LOOK_AT_HEALTH))
                    }
                }
            }
            Err(why) => {
                if common.json {
                    page::json(&json!({ "url": url, "ok": false, "status": null, "error": why }));
                }
                Err(Complaint::failed(format!("no answer from {url}: {why}"), Advice::START_SERVICE))
            }
        }
    }
}

async fn ask(url: &str, timeout: Duration) -> Result<(u16, Value), String> {
    let exchange = async {
        let answer = Client::new().get(url, &[]).await?;
        let status = answer.status;
        // Status 200 means healthy, whatever the body contains.
        Ok((status, answer.json().await.unwrap_or_default()))
    };
    tokio::time::timeout(timeout, exchange).await.unwrap_or_else(|_| Err(page::late(timeout)))
}

fn stopped(body: &Value) -> String {
    let names: Vec<&str> = body
        .get("stopped")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    if names.is_empty() { String::new() } else { format!("; stopped: {}", names.join(", ")) }
}
