//! Checks that span several settings, each of which is valid by itself.

use secrecy::{ExposeSecret as _, SecretString};

use super::environment::variable;
use super::nearest::nearest;
use super::problem::Warning;
use super::reader::Reader;
use super::sections::attachments::{AttachmentDriver, AttachmentSettings};
use super::sections::http::HttpSettings;
use super::sections::python::{ChildStart, NOTHING_AHEAD, PreloadChoice, PythonSettings};
use super::sections::service::Role;
use super::settings::Settings;
use super::value::Value;
use crate::job::QueueName;

/// Refuses contradictions, and adds the warnings that need more than one section.
pub(super) fn check(settings: &Settings, reader: &mut Reader<'_>) {
    http(settings, reader);
    endpoints(&settings.attachments, reader);
    times(settings, reader);
    queues(settings, reader);
    python(settings, reader);
}

/// Refuses `text` if `broken`, unless one of the keys is unusable and thus already reported.
fn contradiction(
    reader: &mut Reader<'_>,
    keys: &[&str],
    broken: bool,
    text: impl FnOnce(&[String]) -> String,
) {
    if broken && keys.iter().all(|key| reader.is_read(key)) {
        let names: Vec<String> = keys.iter().map(|key| reader.name(key)).collect();
        reader.refuse(text(&names));
    }
}

fn http(settings: &Settings, reader: &mut Reader<'_>) {
    let http = &settings.http;
    let keys = ["service.role", "http.enabled"];
    contradiction(reader, &keys, settings.service.role == Role::Api && !http.enabled, |names| {
        format!("{} is `api`, which serves nothing while {} is `false`", named(names, 0), named(names, 1))
    });
    let open = http.enabled && !http.bind.to_canonical().is_loopback() && http.internal_secret.is_none();
    contradiction(reader, &["http.bind", "http.enabled", "http.internal_secret"], open, |names| {
        format!(
            "{} is `{}`, which others can reach, but there is no secret: set {} or bind 127.0.0.1",
            named(names, 0),
            http.bind,
            variable("http.internal_secret")
        )
    });
    secrets(http, reader);
    if http.secret_is_short() && reader.is_read("http.internal_secret") {
        let name = reader.name("http.internal_secret");
        reader
            .warnings
            .push(Warning::warn(format!("{name} is short enough to be guessed: use 32 characters or more")));
    }
}

fn python(settings: &Settings, reader: &mut Reader<'_>) {
    let PythonSettings { start, preload, .. } = &settings.python;
    let is_given = *preload != PreloadChoice::Off && reader.is_given("python.preload");
    let broken = *start == ChildStart::Spawn && is_given;
    contradiction(reader, &["python.preload", "python.start"], broken, |names| {
        format!("{} {NOTHING_AHEAD} ({} is `spawn`)", named(names, 0), named(names, 1))
    });
}

/// The fewest parts of a host name in which a vendor's name follows that of the bucket.
const HOST_OF_BUCKET: usize = 4;

/// Warns of an endpoint that holds the bucket's name already: at its end, as Cloudflare's page shows it, or at the
/// beginning of its host, as DigitalOcean, Scaleway and Hetzner show it. Every key is then looked for in a folder of
/// that name, and deleting an object that does not exist is no error. An application with the same endpoint has its
/// objects in that folder, so this is not refused.
fn endpoints(attachments: &AttachmentSettings, reader: &mut Reader<'_>) {
    let (key, endpoint, bucket) = match attachments.driver {
        AttachmentDriver::Local => return,
        AttachmentDriver::R2 => {
            ("attachments.r2_endpoint", attachments.r2.endpoint(), &attachments.r2.bucket)
        }
        AttachmentDriver::S3 => {
            ("attachments.s3_endpoint", attachments.s3.endpoint.clone(), &attachments.s3.bucket)
        }
    };
    let Some(url) = url::Url::parse(&endpoint).ok().filter(|_| !bucket.is_empty()) else { return };
    let host = url.host_str().unwrap_or_default();
    let holds = if url.path().trim_end_matches('/').rsplit('/').next() == Some(bucket) {
        "ends"
    } else if host.split('.').count() >= HOST_OF_BUCKET
        && host.strip_prefix(bucket.as_str()).is_some_and(|rest| rest.starts_with('.'))
    {
        "begins"
    } else {
        return;
    };
    let name = reader.name(key);
    reader.warnings.push(Warning::warn(format!(
        "{name} {holds} with the bucket `{bucket}`, which is added to it; give it without, unless the application has the \
         same and its objects lie below `{bucket}/`"
    )));
}

/// Refuses equal secrets: whoever knows one would have the rights of the other.
fn secrets(http: &HttpSettings, reader: &mut Reader<'_>) {
    let viewer = ("http.viewer_secret", &http.viewer_secret);
    let operator = ("http.operator_secret", &http.operator_secret);
    let internal = ("http.internal_secret", &http.internal_secret);
    for ((key, one), (other_key, other)) in [(viewer, operator), (viewer, internal), (operator, internal)] {
        let text =
            |secret: &Option<SecretString>| secret.as_ref().map(|secret| secret.expose_secret().to_owned());
        let same = one.is_some() && text(one) == text(other);
        contradiction(reader, &[key, other_key], same, |names| {
            let (name, other) = (named(names, 0), named(names, 1));
            format!(
                "{name} is the same as {other}: whoever is given one would hold the other; take another text"
            )
        });
    }
}

fn times(settings: &Settings, reader: &mut Reader<'_>) {
    let Settings { lease, rescuer, scheduler, deletion, tracker, supervision, .. } = settings;
    let timeout = deletion.timeout.duration();
    let rules = [
        (
            ("lease.renew", lease.renew.show()),
            "less than half of",
            ("lease.ttl", lease.ttl.show()),
            lease.renew.saturating_mul(2) < lease.ttl,
        ),
        (
            ("scheduler.interval", scheduler.interval.show()),
            "less than half of",
            ("scheduler.leadership_ttl", scheduler.leadership_ttl.show()),
            scheduler.interval.saturating_mul(2) < scheduler.leadership_ttl,
        ),
        (
            ("tracker.heartbeat_interval", tracker.heartbeat_interval.show()),
            "at most half of",
            ("deletion.stale_after", deletion.stale_after.show()),
            tracker.heartbeat_interval.saturating_mul(2) <= deletion.stale_after,
        ),
        (
            ("deletion.runtime_limit", deletion.runtime_limit.show()),
            "less than",
            ("deletion.timeout", deletion.timeout.show()),
            timeout.is_none_or(|timeout| deletion.runtime_limit < timeout),
        ),
        (
            ("rescuer.outbox_backoff_first", rescuer.outbox_backoff_first.show()),
            "at most",
            ("rescuer.outbox_backoff_cap", rescuer.outbox_backoff_cap.show()),
            rescuer.outbox_backoff_first <= rescuer.outbox_backoff_cap,
        ),
        (
            ("supervision.delay_first", supervision.delay_first.show()),
            "at most",
            ("supervision.delay_cap", supervision.delay_cap.show()),
            supervision.delay_first <= supervision.delay_cap,
        ),
    ];
    for ((key, value), relation, (other, bound), holds) in rules {
        contradiction(reader, &[key, other], !holds, |names| {
            let (name, other) = (named(names, 0), named(names, 1));
            format!("{name} is `{value}`, expected {relation} {other}, which is `{bound}`")
        });
    }
}

fn queues(settings: &Settings, reader: &mut Reader<'_>) {
    let worker = &settings.worker;
    let known: Vec<&str> = worker.queues.iter().chain(&worker.known_queues).map(QueueName::as_str).collect();
    let keys = ["worker.queues", "worker.known_queues", "worker.queue_caps"];
    for queue in worker.queue_caps.keys().filter(|queue| !known.contains(&queue.as_str())) {
        let hint = nearest(queue.as_str(), known.iter().copied())
            .map_or_else(String::new, |found| format!("; did you mean `{found}`?"));
        contradiction(reader, &keys, true, |names| {
            format!(
                "{} caps the queue `{queue}`, which is neither listened to nor known{hint}",
                named(names, 2)
            )
        });
    }
    for schedule in settings.schedules.iter().filter(|one| !known.contains(&one.queue.as_str())) {
        let (name, queue) = (&schedule.name, &schedule.queue);
        let hint = nearest(queue.as_str(), known.iter().copied())
            .map_or_else(String::new, |found| format!("; did you mean `{found}`?"));
        contradiction(reader, &["worker.queues", "worker.known_queues"], true, |_| {
            format!(
                "schedule `{name}`: `queue` is `{queue}`, expected a queue that is listened to or known{hint}"
            )
        });
    }
    // What Python workers listen to is known once they are there.
    let is_all = settings.python_workers.is_empty() && settings.service.role.runs_jobs();
    if is_all && keys.iter().all(|key| reader.is_read(key)) {
        reader.warnings.extend(worker.warnings());
    }
}

fn named(names: &[String], at: usize) -> &str {
    names.get(at).map_or("", String::as_str)
}
