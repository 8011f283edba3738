//! The connection to the service: its event stream, one snapshot, and requests for changes.
//!
//! A broken connection is reopened while the view is open, unless the service refuses for good.

use std::time::Duration;

use futures::StreamExt as _;
use secrecy::ExposeSecret as _;
use serde_json::Value;
use tokio::sync::mpsc;

use super::super::advice::Advice;
use super::super::client::{Answer, Client, Header};
use super::super::ending::Complaint;
use super::super::page;
use super::super::reach::Place;
use super::change::Change;
use super::events::{Event, Events};
use crate::job::Backoff;

/// The time limit for the head of an answer, and for a whole snapshot.
const ANSWER: Duration = Duration::from_secs(5);
/// The service sends a keep-alive every 15 seconds; without three of them the connection counts as dead.
const SILENCE: Duration = Duration::from_secs(45);
/// The delays between attempts: short at first, since most outages are restarts.
const AGAIN: Backoff =
    Backoff { first: Duration::from_millis(500), cap: Duration::from_secs(5), ..Backoff::BATCH };

/// A message from the connection.
#[derive(Debug)]
pub(super) enum News {
    /// The connection is open.
    Live,
    /// A section of the board.
    Section { name: String, data: String },
    /// The connection broke for this reason; the next attempt is after `again`.
    Away { why: String, again: Duration },
    /// The service refused, and waiting would not help.
    Refused(Complaint),
    /// The result of a requested change.
    Told(Result<String, String>),
}

/// A connection to one service.
#[derive(Clone)]
pub(in crate::cli) struct Link {
    client: Client,
    place: Place,
}

/// Why there is no usable answer.
enum Broken {
    /// The service cannot be reached or is not ready.
    Away(String),
    /// The service refuses the secret, or has no `/api/v1`.
    Refused(Complaint),
}

impl Link {
    /// Connects with the first call.
    pub(in crate::cli) fn new(place: Place) -> Self {
        Self { client: Client::new(), place }
    }

    /// Sends what it receives until the receiver is closed, which is no error.
    pub(super) async fn follow(self, news: mpsc::Sender<News>) {
        let (mut last, mut failures) = (None, 0);
        while !news.is_closed() {
            match self.stream(&news, &mut last, &mut failures).await {
                Broken::Refused(complaint) => {
                    let _ = news.send(News::Refused(complaint)).await;
                    return;
                }
                Broken::Away(why) => {
                    failures += 1;
                    let again = AGAIN.plain(failures);
                    let _ = news.send(News::Away { why, again }).await;
                    tokio::select! {
                        () = tokio::time::sleep(again) => {}
                        () = news.closed() => {}
                    }
                }
            }
        }
    }

    /// Reads one stream until it ends.
    async fn stream(
        &self,
        news: &mpsc::Sender<News>,
        last: &mut Option<String>,
        failures: &mut u32,
    ) -> Broken {
        let mut stream = match self.open(last.as_deref()).await {
            Ok(answer) => answer.stream(),
            Err(broken) => return broken,
        };
        *failures = 0;
        let mut events = Events::default();
        if news.send(News::Live).await.is_err() {
            return Broken::Away("nobody looks any more".to_owned());
        }
        loop {
            let bytes = match tokio::time::timeout(SILENCE, stream.next()).await {
                Ok(Some(Ok(bytes))) => bytes,
                Ok(Some(Err(error))) => return Broken::Away(format!("the stream broke: {error}")),
                Ok(None) => return Broken::Away("the service has closed the stream".to_owned()),
                Err(_) => return Broken::Away("no sign of life".to_owned()),
            };
            let whole = match events.take(&bytes) {
                Ok(whole) => whole,
                Err(why) => return Broken::Away(why),
            };
            for Event { name, data } in whole {
                if news.send(News::Section { name, data }).await.is_err() {
                    return Broken::Away("nobody looks any more".to_owned());
                }
            }
            if let Some(id) = events.last() {
                *last = Some(id.to_owned());
            }
        }
    }

    async fn open(&self, last: Option<&str>) -> Result<Answer, Broken> {
        let mut headers = vec![self.secret()];
        headers.extend(last.map(|id| ("Last-Event-ID", id)));
        let url = self.url(&["events"])?;
        let answer = tokio::time::timeout(ANSWER, self.client.get(&url, &headers)).await;
        let answer = answer.unwrap_or_else(|_| Err(page::late(ANSWER))).map_err(Broken::Away)?;
        match answer.status {
            200 => Ok(answer),
            status => Err(self.declined(status, "")),
        }
    }

    /// What the service says at this path below `/api/v1`, as JSON.
    ///
    /// # Errors
    /// Nobody answers in time, or what answers refuses or says no JSON.
    pub(in crate::cli) async fn look(&self, path: &[&str]) -> Result<Value, Complaint> {
        self.get(path).await.map_err(|broken| match broken {
            Broken::Away(why) => Complaint::failed(
                format!("no answer from {}: {}", self.place.base, page::safe(&why)),
                Advice::START_SERVICE,
            ),
            Broken::Refused(complaint) => complaint,
        })
    }

    async fn get(&self, path: &[&str]) -> Result<Value, Broken> {
        let url = self.url(path)?;
        let exchange = async {
            let answer = self.client.get(&url, &[self.secret()]).await.map_err(Broken::Away)?;
            match (answer.status, answer.json().await) {
                (200, Ok(body)) => Ok(body),
                (200, Err(error)) => Err(Broken::Away(format!("what it says is no JSON: {error}"))),
                (status, body) => Err(self.declined(status, detail(&body.unwrap_or_default()))),
            }
        };
        let answered = tokio::time::timeout(ANSWER, exchange).await;
        answered.unwrap_or_else(|_| Err(Broken::Away(page::late(ANSWER))))
    }

    /// Requests a change, and returns a message in either case.
    pub(super) async fn ask(&self, change: &Change) -> Result<String, String> {
        let url = self.url(&change.path()).map_err(|_| "the service's address cannot be used".to_owned())?;
        let exchange = async {
            let answer = self.client.post(&url, &[self.secret()]).await?;
            let status = answer.status;
            let body = answer.json().await.unwrap_or_default();
            match status {
                200 | 202 => Ok(change.done()),
                status => Err(format!("{status} {}", page::safe(detail(&body)))),
            }
        };
        let answered = tokio::time::timeout(ANSWER, exchange).await;
        answered.unwrap_or_else(|_| Err(page::late(ANSWER))).map_err(|why| format!("{change}: {why}"))
    }

    /// Classifies an answer other than 200.
    fn declined(&self, status: u16, detail: &str) -> Broken {
        let base = &self.place.base;
        match status {
            401 | 403 => {
                let text = format!(
                    "{base} answered {status}: it does not know the secret in `http.internal_secret` of this command"
                );
                Broken::Refused(Complaint::failed(text, Advice::CORRECT_SECRET))
            }
            404 => {
                let text = format!("{base} answered 404: it has no /api/v1");
                Broken::Refused(Complaint::failed(text, Advice::ASK_A_WINDOW))
            }
            _ if detail.is_empty() => Broken::Away(format!("it answered {status}")),
            _ => Broken::Away(format!("it answered {status}: {detail}")),
        }
    }

    fn url<S: AsRef<str>>(&self, path: &[S]) -> Result<String, Broken> {
        let text = format!("{}/api/v1", self.place.base);
        let mut url = url::Url::parse(&text).map_err(|error| Broken::Away(format!("{text}: {error}")))?;
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.extend(path);
        }
        Ok(url.into())
    }

    fn secret(&self) -> Header<'_> {
        ("X-Internal-Secret", self.place.secret.expose_secret())
    }
}

/// The detail of an error in the problem-details format.
fn detail(body: &Value) -> &str {
    let said = body.get("detail").or_else(|| body.get("message"));
    said.and_then(Value::as_str).unwrap_or_default()
}
