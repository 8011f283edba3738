//! Maps environment variables to keys. No other file reads the environment.

use std::ffi::OsString;

use super::keys::Keys;
use super::layers::{Layers, Origin, Raw};
use super::nearest::nearest;
use super::problem::Problem;

/// The variable that names the configuration file.
pub(super) const CONFIG_VARIABLE: &str = "TIKKUN_CONFIG";

/// The prefix of our own variables.
const PREFIX: &str = "TIKKUN_";

/// Variables that existing deployments set, and their keys.
pub(super) const DEPLOYMENT: [(&str, &str); 15] = [
    ("REDIS_URL", "broker.url"),
    ("RQ_KEY_PREFIX", "broker.key_prefix"),
    ("DATABASE_URL", "store.url"),
    ("RQ_QUEUES", "worker.queues"),
    ("SERVICE_ROLE", "service.role"),
    ("ATTACHMENT_STORAGE_DRIVER", "attachments.driver"),
    ("R2_ACCOUNT_ID", "attachments.r2_account_id"),
    ("R2_BUCKET_NAME", "attachments.r2_bucket"),
    ("R2_ACCESS_KEY_ID", "attachments.r2_access_key_id"),
    ("R2_SECRET_ACCESS_KEY", "attachments.r2_secret_access_key"),
    ("R2_ENDPOINT", "attachments.r2_endpoint"),
    ("INTERNAL_SECRET", "http.internal_secret"),
    ("RUN_MIGRATIONS_ON_START", "store.migrate"),
    ("STRICT_SCHEMA_CHECK", "store.strict_schema"),
    ("LOG_LEVEL", "log.level"),
];

/// The environment of the process. Bytes that are not UTF-8 become U+FFFD, which [`add`] refuses.
#[allow(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
pub(super) fn of_process() -> Vec<(String, String)> {
    std::env::vars_os()
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
        .collect()
}

/// The process's environment for a program that it starts: as it is, or without what is Tikkun's own if the program is
/// another user's.
#[allow(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
#[must_use]
pub fn for_program(is_of_another_user: bool) -> Vec<(OsString, OsString)> {
    let is_kept = |name: &OsString| !(is_of_another_user && is_own(&name.to_string_lossy()));
    std::env::vars_os().filter(|(name, _)| is_kept(name)).collect()
}

/// Whether a variable is Tikkun's own, and not one that an application may use for something else.
pub(super) fn is_own(name: &str) -> bool {
    name.starts_with(PREFIX) || name == "INTERNAL_SECRET"
}

/// Our own variable for a key: `lease.ttl` is `TIKKUN_LEASE__TTL`.
pub(super) fn own_variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "__").to_ascii_uppercase())
}

/// The variable that an error tells users to set: the deployment's, else our own.
pub(super) fn variable(key: &str) -> String {
    let deployment = DEPLOYMENT.iter().find(|(_, known)| *known == key);
    deployment.map_or_else(|| own_variable(key), |(name, _)| (*name).to_owned())
}

/// Adds the values of the environment: the deployment's variables first, our own above them.
pub(super) fn add(env: &[(String, String)], keys: &Keys, layers: &mut Layers) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (name, value) in env {
        let known = DEPLOYMENT.iter().find(|(variable, _)| variable == name);
        let Some((_, key)) = known.filter(|_| !value.trim().is_empty()) else { continue };
        add_one((name, value), key, layers, &mut problems);
    }
    for (name, value) in env {
        if !name.starts_with(PREFIX) || name == CONFIG_VARIABLE || is_service_link(name, value) {
            continue;
        }
        match keys.names().find(|key| own_variable(key) == *name) {
            Some(key) => add_one((name, value), key, layers, &mut problems),
            None => problems.push(unknown(name, keys)),
        }
    }
    problems
}

fn add_one((name, value): (&str, &str), key: &str, layers: &mut Layers, problems: &mut Vec<Problem>) {
    if value.contains(char::REPLACEMENT_CHARACTER) {
        problems.push(Problem::new(format!("the environment variable {name} is not valid UTF-8")));
    } else {
        layers.add(key, Origin::Env(name.to_owned()), Raw::Text(value.to_owned()));
    }
}

fn unknown(name: &str, keys: &Keys) -> Problem {
    let candidates: Vec<String> =
        keys.names().map(own_variable).chain([CONFIG_VARIABLE.to_owned()]).collect();
    let without_prefix = |name: &'_ str| name.strip_prefix(PREFIX).unwrap_or(name).to_ascii_uppercase();
    let bare: Vec<String> = candidates.iter().map(|name| without_prefix(name)).collect();
    let hint = match nearest(&without_prefix(name), bare.iter().map(String::as_str)) {
        Some(found) => format!("; did you mean {PREFIX}{found}?"),
        None => format!("; own variables are written {PREFIX}SECTION__KEY, with two underscores"),
    };
    Problem::new(format!("unknown environment variable {name}{hint}"))
}

/// Whether Kubernetes set this variable for a service named `tikkun`, as it does in every pod:
/// TIKKUN_SERVICE_HOST, TIKKUN_PORT=tcp://…, TIKKUN_PORT_8080_TCP_ADDR. Such variables are not ours.
fn is_service_link(name: &str, value: &str) -> bool {
    if name.contains("__") {
        return false;
    }
    let address = value.starts_with("tcp://") || value.starts_with("udp://");
    let per_port =
        name.split("_PORT_").nth(1).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || per_port
        || (name.ends_with("_PORT") && address)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::keys::MANUAL;

    #[test]
    fn every_deployment_variable_maps_to_a_key_whose_comment_names_it() {
        let keys = Keys::from_manual().unwrap();
        for (name, key) in DEPLOYMENT {
            assert!(keys.contains(key), "{key}");
            assert!(MANUAL.contains(&format!("Environment: {name}.")), "the manual does not name {name}");
        }
    }

    #[test]
    fn kubernetes_service_links_are_not_ours() {
        let table = [
            ("TIKKUN_SERVICE_HOST", "10.0.0.1", true),
            ("TIKKUN_SERVICE_PORT", "8080", true),
            ("TIKKUN_SERVICE_PORT_HTTP", "8080", true),
            ("TIKKUN_PORT", "tcp://10.0.0.1:8080", true),
            ("TIKKUN_PORT_8080_TCP_ADDR", "10.0.0.1", true),
            ("TIKKUN_API_PORT_8080_TCP", "tcp://10.0.0.1:8080", true),
            ("TIKKUN_PORT", "8080", false),
            ("TIKKUN_SERVICE__ROLE", "api", false),
            ("TIKKUN_HTTP__PORT", "tcp://10.0.0.1:8080", false),
        ];
        for (name, value, expected) in table {
            assert_eq!(is_service_link(name, value), expected, "{name}={value}");
        }
    }
}
