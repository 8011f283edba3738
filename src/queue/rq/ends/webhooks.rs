//! The requests of RQ's webhooks, as RQ makes them: in method, headers and body.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Timelike as _, Utc};
use serde::Deserialize;
use serde_json::Value;

use crate::job::exact::Exact;
use crate::job::{WebhookJob, WebhookRequest};
use crate::queue::delivery::{Disposition, Settlement};
use crate::queue::rq::codec;
use crate::queue::rq::wire;

/// What Python's own HTTP client sends of itself, which RQ uses.
const USER_AGENT: &str = "Python-urllib/3.11";

/// RQ's time for a webhook that names none, in seconds.
const TIMEOUT: u64 = 10;

/// How a job ended, as far as webhooks are sent for it.
pub(in crate::queue::rq) enum End<'a> {
    Finished,
    /// With the whole text of its failure.
    Failed(&'a str),
}

/// A webhook as RQ stores it. Further fields of later versions are ignored, as by RQ.
#[derive(Deserialize)]
struct Webhook {
    url: String,
    job_status: Status,
    #[serde(default)]
    method: Method,
    #[serde(default)]
    headers: Option<serde_json::Map<String, Value>>,
    #[serde(default = "default_timeout")]
    timeout: u64,
}

#[derive(Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Status {
    Finished,
    Failed,
}

#[derive(Deserialize, Default, PartialEq, Eq)]
#[serde(rename_all = "UPPERCASE")]
enum Method {
    #[default]
    Get,
    Post,
}

fn default_timeout() -> u64 {
    TIMEOUT
}

/// The requests to make for a job after this settlement was written. An end that others follow, and a stop, have none;
/// and code in another language that waits until its end is written makes its own.
#[must_use]
pub fn webhook_requests(
    job: &WebhookJob,
    Settlement { verdict, verbatim, .. }: &Settlement,
    ended_at: DateTime<Utc>,
) -> Vec<WebhookRequest> {
    if verbatim.as_ref().is_some_and(|words| words.written.is_some()) {
        return Vec::new();
    }
    let told = verbatim.as_ref().and_then(|words| words.traceback.as_deref());
    match verdict {
        Disposition::Ack { .. } => requests(job, &End::Finished, ended_at),
        Disposition::Discard { error, .. } => {
            let failure = told.map_or_else(|| wire::trace_of(error), str::to_owned);
            requests(job, &End::Failed(&failure), ended_at)
        }
        // It returned what it asked for, so there is no traceback.
        Disposition::Exhaust { .. } => requests(job, &End::Failed(""), ended_at),
        Disposition::RetryAt { .. }
        | Disposition::RunAgain { .. }
        | Disposition::Stop { .. }
        | Disposition::Forward { .. }
        | Disposition::Release { .. }
        | Disposition::Rescue => Vec::new(),
    }
}

/// The requests to make for a job that ended so. As in RQ, webhooks that cannot be read change nothing else.
pub(in crate::queue::rq) fn requests(
    job: &WebhookJob,
    end: &End<'_>,
    ended_at: DateTime<Utc>,
) -> Vec<WebhookRequest> {
    let Some(webhooks) = read(job.text()) else {
        tracing::warn!(job.id = %job.id, "the webhooks of a job cannot be read; none of them is sent");
        return Vec::new();
    };
    let wanted = match end {
        End::Finished => Status::Finished,
        End::Failed(_) => Status::Failed,
    };
    let of_this_end = webhooks.into_iter().filter(|webhook| webhook.job_status == wanted);
    of_this_end
        .map(|webhook| WebhookRequest {
            job: job.id.clone(),
            headers: headers(&webhook),
            body: (webhook.method == Method::Post).then(|| payload(job, end, ended_at)),
            timeout: Duration::from_secs(webhook.timeout),
            url: webhook.url,
        })
        .collect()
}

/// `None` if one of them is not as RQ would take it.
fn read(text: &str) -> Option<Vec<Webhook>> {
    let webhooks: Vec<Webhook> = serde_json::from_str(text).ok()?;
    let is_valid = |webhook: &Webhook| {
        let mut values = webhook.headers.iter().flatten();
        webhook.timeout > 0 && values.all(|(_, value)| value.is_string() || value.is_number())
    };
    webhooks.iter().all(is_valid).then_some(webhooks)
}

/// Those that RQ's client sends by itself, each replaced by one of that name in the webhook.
fn headers(webhook: &Webhook) -> Vec<(String, String)> {
    let own = [("Accept-Encoding", "identity"), ("User-Agent", USER_AGENT)].into_iter();
    let content_type = (webhook.method == Method::Post).then_some(("Content-Type", "application/json"));
    let mut headers: Vec<(String, String)> =
        own.chain(content_type).map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    for (name, value) in webhook.headers.iter().flatten() {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        headers.push((name.clone(), value));
    }
    headers
}

fn payload(job: &WebhookJob, end: &End<'_>, ended_at: DateTime<Utc>) -> String {
    let text = |text: &str| Exact::Str(text.to_owned());
    let (status, exc_info) = match end {
        End::Finished => ("finished", None),
        End::Failed(exc_info) => ("failed", Some(*exc_info)),
    };
    let mut fields = vec![
        ("job_id", text(job.id.as_str())),
        ("func_name", text(job.function.as_str())),
        ("status", text(status)),
        ("enqueued_at", job.enqueued_at.map_or(Exact::None, |time| Exact::Str(iso(time)))),
        ("ended_at", Exact::Str(iso(ended_at))),
    ];
    fields.extend(exc_info.map(|exc_info| ("exc_info", text(exc_info))));
    codec::write_json(&Exact::Dict(fields.into_iter().map(|(name, value)| (text(name), value)).collect()))
}

/// As Python's `isoformat`, which leaves out a fraction of zero.
fn iso(time: DateTime<Utc>) -> String {
    let is_whole = time.nanosecond() / 1000 == 0;
    time.to_rfc3339_opts(if is_whole { SecondsFormat::Secs } else { SecondsFormat::Micros }, false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Args, JobRecord, Limit, NewJob, RetryAsked, Webhooks};

    fn job(webhooks: &str) -> WebhookJob {
        let mut job =
            JobRecord::of(NewJob::new("j", "q", "shop.greet", Args::default()), DateTime::UNIX_EPOCH);
        job.webhooks = Webhooks::new(webhooks);
        job.webhook_job().unwrap()
    }

    fn sent(webhooks: &str, verdict: &Disposition) -> Vec<WebhookRequest> {
        let ended_at = DateTime::from_timestamp(1_800_000_000, 5_000).unwrap();
        let settlement = Settlement {
            job: "j".into(),
            queue: "q".into(),
            execution: "e".into(),
            verdict: verdict.clone(),
            remark: None,
            verbatim: None,
        };
        webhook_requests(&job(webhooks), &settlement, ended_at)
    }

    fn buried() -> Disposition {
        Disposition::Discard { error: "no \"luck\"".into(), keep: Limit::Never }
    }

    const BOTH: &str = r#"[{"url": "http://a/x", "job_status": "finished", "method": "GET", "headers": null, "timeout": 3},
        {"url": "https://b", "job_status": "failed", "method": "POST", "headers": {"content-type": "x/y", "X-N": 5}}]"#;

    #[test]
    fn each_end_has_its_own_webhooks_and_an_end_that_others_follow_has_none() {
        let finished = sent(BOTH, &Disposition::Ack { result: Value::Null, keep: Limit::Never });
        let [one] = &finished[..] else { panic!("{finished:?}") };
        assert_eq!((&*one.url, &one.body, one.timeout), ("http://a/x", &None, Duration::from_secs(3)));
        let failed = sent(BOTH, &buried());
        let [one] = &failed[..] else { panic!("{failed:?}") };
        assert_eq!((&*one.url, one.timeout), ("https://b", Duration::from_secs(10)));
        assert_eq!(
            one.body.as_deref(),
            Some(
                "{\"job_id\": \"j\", \"func_name\": \"shop.greet\", \"status\": \"failed\", \"enqueued_at\": \
                 \"1970-01-01T00:00:00+00:00\", \"ended_at\": \"2027-01-15T08:00:00.000005+00:00\", \"exc_info\": \
                 \"Traceback (most recent call last):\\n  run by tikkun\\ntikkun.JobFailed: no \\\"luck\\\"\"}"
            )
        );
        let given = |name: &str| {
            one.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name)).collect::<Vec<_>>()
        };
        assert_eq!(given("content-type"), [&("content-type".to_owned(), "x/y".to_owned())]);
        assert_eq!(given("x-n"), [&("X-N".to_owned(), "5".to_owned())]);
        let asked = RetryAsked::at_most(1);
        let exhausted = sent(BOTH, &Disposition::Exhaust { asked: asked.clone(), keep: Limit::Never });
        assert!(
            exhausted[0].body.as_ref().unwrap().ends_with("\"exc_info\": \"\"}"),
            "{:?}",
            exhausted[0].body
        );
        for none in [
            Disposition::RetryAt { delay: Duration::ZERO, error: "x".into() },
            Disposition::RunAgain { delay: Duration::ZERO, asked, keep: Limit::Never },
            Disposition::Stop { error: "x".into(), keep: Limit::Never },
            Disposition::Rescue,
        ] {
            assert_eq!(sent(BOTH, &none), [], "{none:?}");
        }
    }

    #[test]
    fn webhooks_that_rq_would_not_take_are_not_sent() {
        for bad in [
            "[",
            "{}",
            r#"[{"url": "http://a"}]"#,
            r#"[{"url": "http://a", "job_status": "stopped"}]"#,
            r#"[{"url": "http://a", "job_status": "failed", "method": "PUT"}]"#,
            r#"[{"url": "http://a", "job_status": "failed", "timeout": 0}]"#,
            r#"[{"url": "http://a", "job_status": "failed", "headers": {"a": []}}]"#,
            r#"[{"url": "http://a", "job_status": "failed"}, {"url": 5, "job_status": "failed"}]"#,
        ] {
            assert_eq!(sent(bad, &buried()), [], "{bad}");
        }
        let unknown = r#"[{"url": "http://a", "job_status": "failed", "later": 1}]"#;
        assert_eq!(sent(unknown, &buried()).len(), 1, "as RQ, it ignores what a later version adds");
    }
}
