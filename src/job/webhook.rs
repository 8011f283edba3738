//! Webhooks of a job, as RQ's `webhooks=[Webhook(url, 'finished')]`: HTTP requests that are made when it has ended.
//!
//! Their addresses and headers may hold secrets, so none of these values shows more than the host.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::{JobId, KindName};

/// The webhooks that were enqueued with a job, in the broker's own form.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Webhooks(Option<Arc<str>>);

impl Webhooks {
    /// Those in this text; an empty text has none.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self((!text.is_empty()).then(|| text.into()))
    }

    /// Whether there are none, as for most jobs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

impl fmt::Debug for Webhooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Webhooks(…)" } else { "Webhooks()" })
    }
}

/// What the webhooks of a job say of it, kept until the job has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookJob {
    /// The job.
    pub id: JobId,
    /// Its function.
    pub function: KindName,
    /// When it was last put into its queue.
    pub enqueued_at: Option<DateTime<Utc>>,
    /// Its webhooks; there are some.
    pub(super) webhooks: Webhooks,
}

impl WebhookJob {
    /// Its webhooks in the broker's own form.
    #[must_use]
    pub fn text(&self) -> &str {
        self.webhooks.0.as_deref().unwrap_or_default()
    }
}

/// One HTTP request about a job that has ended.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookRequest {
    /// The job.
    pub job: JobId,
    /// An address with `http` or `https`.
    pub url: String,
    /// All headers but those about the connection and the length of the body.
    pub headers: Vec<(String, String)>,
    /// The body of a POST; `None` for a GET.
    pub body: Option<String>,
    /// How long the request may take, from the connection to the head of the answer.
    pub timeout: Duration,
}

impl WebhookRequest {
    /// The host and port of the address, which may be shown.
    #[must_use]
    pub fn host(&self) -> &str {
        let rest = self.url.split_once("://").map_or("", |(_, rest)| rest);
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        authority.rsplit('@').next().unwrap_or_default()
    }
}

impl fmt::Debug for WebhookRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookRequest")
            .field("job", &self.job)
            .field("host", &self.host())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_host_of_a_webhook_is_shown() {
        let request = |url: &str| WebhookRequest {
            job: "j".into(),
            url: url.to_owned(),
            headers: vec![("Authorization".to_owned(), "hidden".to_owned())],
            body: Some("hidden".to_owned()),
            timeout: Duration::ZERO,
        };
        for url in ["https://hidden@shop.example:8443/hidden", "http://shop.example:8443?hidden=1"] {
            let request = request(url);
            assert_eq!(request.host(), "shop.example:8443");
            let shown = format!("{request:?}");
            assert!(shown.contains("shop.example") && !shown.contains("hidden"), "{shown}");
        }
        assert_eq!(request("nothing").host(), "");
        assert!(!format!("{:?}", Webhooks::new("hidden")).contains("hidden"));
    }
}
