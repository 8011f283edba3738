//! How this server may lose jobs or keep them waiting: its behaviour with full memory, and after a restart; keys of
//! queues that hold something else.

use std::collections::HashMap;

use super::server::Server;
use crate::fault::Fault;
use crate::job::QueueName;
use crate::queue::upkeep::Risk;

/// The only policy with which a full server refuses writes instead of dropping keys.
const KEEPS_ALL: &str = "noeviction";

/// The sorted sets of a queue.
const REGISTRIES: [&str; 6] = ["wip", "finished", "failed", "deferred", "scheduled", "canceled"];

/// Asks the server. A hosted one may refuse to tell how it writes to disk; then that is not judged.
pub(super) async fn of(server: &Server, queues: &[QueueName]) -> Result<Vec<Risk>, Fault> {
    let what = || "ask Redis how it keeps its data".to_owned();
    let mut commands = redis::pipe();
    commands.cmd("INFO").arg("memory").cmd("INFO").arg("persistence");
    let (memory, persistence): (String, String) = server.link.ask(&commands, what).await?;
    let mut config = redis::pipe();
    config.cmd("CONFIG").arg("GET").arg("save");
    let save: Result<(HashMap<String, String>,), Fault> = server.link.ask(&config, what).await;
    let points = save.ok().and_then(|(mut config,)| config.remove("save"));
    let mut risks = found(&memory, &persistence, points.as_deref());
    risks.extend(misused(server, queues).await?);
    Ok(risks)
}

/// The keys of these queues, and those of all jobs, that hold something else than jobs need.
async fn misused(server: &Server, queues: &[QueueName]) -> Result<Vec<Risk>, Fault> {
    let keys = &server.keys;
    let all = [
        (keys.queues(), "set"),
        (keys.leases(), "zset"),
        (keys.deliveries(), "hash"),
        (keys.paused(), "hash"),
    ];
    let mut looked_at: Vec<_> = all.map(|(key, kind)| (None, key, kind)).into();
    for queue in queues {
        let registries = REGISTRIES.map(|kind| (keys.registry(kind, queue.as_str()), "zset"));
        let of_queue = registries.into_iter().chain([(keys.queue(queue.as_str()), "list")]);
        looked_at.extend(of_queue.map(|(key, kind)| (Some(queue.clone()), key, kind)));
    }
    let mut types = redis::pipe();
    for (_, key, _) in &looked_at {
        types.cmd("TYPE").arg(key);
    }
    let types: Vec<String> = server.link.ask(&types, || "look at the keys of the queues".to_owned()).await?;
    let each = looked_at.into_iter().zip(types);
    let misused = each.filter(|((_, _, kind), found)| found != kind && found != "none");
    Ok(misused
        .map(|((queue, key, kind), found)| Risk::Misused { queue, what: in_words(&key, &found, kind) })
        .collect())
}

fn in_words(key: &str, found: &str, kind: &str) -> String {
    format!("the key {key} is a {found}, where a {kind} belongs")
}

/// The risks that follow from the answers; `points` are its save points, `None` if unknown.
fn found(memory: &str, persistence: &str, points: Option<&str>) -> Vec<Risk> {
    let mut risks = Vec::new();
    if let Some(policy) = line(memory, "maxmemory_policy").filter(|policy| *policy != KEEPS_ALL) {
        risks.push(Risk::Evicts { policy: policy.to_owned() });
    }
    if line(persistence, "aof_enabled") == Some("0") && points.is_some_and(str::is_empty) {
        risks.push(Risk::Forgets);
    }
    risks
}

fn line<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_drops_keys_or_writes_nothing_down_is_a_risk_and_silence_is_none() {
        let evicts = Risk::Evicts { policy: "allkeys-lru".into() };
        let (lru, keeps) =
            ("# Memory\r\nmaxmemory_policy:allkeys-lru\r\n", "maxmemory_policy:noeviction\r\n");
        let (off, on) = ("aof_enabled:0\r\n", "aof_enabled:1\r\n");
        assert_eq!(found(lru, off, Some("")), [evicts, Risk::Forgets]);
        assert_eq!(found(keeps, on, Some("")), []);
        assert_eq!(found(keeps, off, Some("3600 1")), []);
        assert_eq!(found(keeps, off, None), []);
        assert_eq!(found("", "", None), []);
    }
}
