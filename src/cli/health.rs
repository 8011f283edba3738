//! `tikkun health`: asks the running service whether it is well; made for `HEALTHCHECK` of containers.

use std::time::Duration;

use awc::Client;
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::ending::{Complaint, finish};
use super::reach::loopback;
use super::{Common, page, spans};

/// Options of `health`.
#[derive(Debug, Args)]
pub(super) struct Health {
    /// Where the service is; without it this machine and `http.port`.
    #[arg(long, value_parser = base)]
    url: Option<String>,
    /// What to ask.
    #[arg(long, value_enum, default_value_t = Probe::Live)]
    probe: Probe,
    /// The longest wait for the answer.
    #[arg(long, default_value = "5s", value_parser = spans::some_time)]
    timeout: Duration,
}

/// A probe.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Probe {
    /// Its loops turn.
    Live,
    /// It takes work.
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
                    _ => Err(Complaint::failed(format!(
                        "{url} answered {status} ({}), expected 200{}",
                        page::safe(said),
                        stopped(&body)
                    ))),
                }
            }
            Err(why) => {
                if common.json {
                    page::json(&json!({ "url": url, "ok": false, "status": null, "error": why }));
                }
                Err(Complaint::failed(format!(
                    "no answer from {url}: {why}; is `tikkun serve` running there?"
                )))
            }
        }
    }
}

fn own_address(common: &Common) -> Result<String, Complaint> {
    let http = common.load(Vec::new()).map_err(Complaint::said)?.settings.http;
    if http.port == 0 {
        return Err(Complaint::usage("`http.port` is 0, so nobody knows the port; say where with --url"));
    }
    Ok(format!("http://{}", loopback(http.address())))
}

async fn ask(url: &str, timeout: Duration) -> Result<(u16, Value), String> {
    let client = Client::builder().timeout(timeout).finish();
    let exchange = async {
        let mut answer = client.get(url).send().await.map_err(|error| error.to_string())?;
        // Anything that answers 200 is well, whatever it says.
        let body = answer.json::<Value>().await.unwrap_or_default();
        Ok((answer.status().as_u16(), body))
    };
    let late = || format!("nothing came within {}", humantime::format_duration(timeout));
    tokio::time::timeout(timeout, exchange).await.unwrap_or_else(|_| Err(late()))
}

fn stopped(body: &Value) -> String {
    let names: Vec<&str> = body
        .get("stopped")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    if names.is_empty() { String::new() } else { format!("; stopped: {}", page::safe(&names.join(", "))) }
}

/// `http://host:port`, without what would come after it.
fn base(text: &str) -> Result<String, String> {
    let trimmed = text.trim_end_matches('/');
    let parsed = url::Url::parse(trimmed).ok().filter(|url| url.scheme() == "http" && url.has_host());
    match parsed {
        Some(url) if url.query().is_none() && url.fragment().is_none() => Ok(trimmed.to_owned()),
        _ => Err("expected http:// with host and port, such as http://127.0.0.1:8080".to_owned()),
    }
}
