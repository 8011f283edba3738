//! Checks whether a server can carry jobs: its version, that it is no cluster, and this user's permissions.

use std::sync::atomic::{AtomicBool, Ordering};

use super::server::Server;
use super::wait::LEAST;
use crate::fault::{Fault, FaultKind};
use crate::queue::broker::EVERY_LENGTH;

/// The oldest version with the commands used here: `BLMOVE`, `LPOP` with a count, `ZMSCORE`.
const OLDEST: (u32, u32) = (6, 2);

/// The ACL rules that are needed: the commands in the scripts, those outside, and the scripts themselves.
const COMMANDS: &str = "+blmove +client +config|get +del +evalsha +exists +expire +get +hdel +hello +hexists +hget \
     +hgetall +hincrby +hmget +hset +hsetnx +hvals +info +lindex +llen +lpop +lpos +lpush +lrange +lrem +persist \
     +pexpire +pexpireat +ping +pttl +publish +rename +rpush +sadd +scan +scard +script|load +select +set +smembers \
     +smove +srandmember +srem +subscribe +sunionstore +time +type +unsubscribe +xadd +xrevrange +zadd +zcard \
     +zcount +zmscore +zrandmember +zrange +zrangebyscore +zrem +zrevrange +zscore";

/// Parts of error texts, of all versions, which mean that this user lacks a permission.
const DENIALS: [&str; 7] = [
    "NOPERM",
    "no permissions",
    "can't run this command",
    "can't access at least one of the keys",
    "NOAUTH",
    "Authentication required",
    "authentication failed",
];
/// Parts of error texts for a command that does not exist or was renamed.
const UNKNOWN: [&str; 2] = ["nknown Redis command", "unknown command"];

/// Whether the broker's server was checked and found fit.
#[derive(Default)]
pub(super) struct Fitness(AtomicBool);

impl Fitness {
    /// Checks the server the first time, and again until that succeeds. Returns only faults that waiting
    /// cannot solve: a server at its memory limit, for example, can still grant a lease.
    pub(super) async fn look_once(&self, server: &Server) -> Result<(), Fault> {
        if self.0.load(Ordering::Acquire) {
            return Ok(());
        }
        match prove(server).await {
            Ok(()) => {
                self.0.store(true, Ordering::Release);
                Ok(())
            }
            Err(fault) if fault.kind() == FaultKind::Permanent => Err(fault),
            Err(_) => Ok(()),
        }
    }
}

/// As [`Broker::prove`](crate::queue::Broker::prove).
pub(super) async fn prove(server: &Server) -> Result<(), Fault> {
    let proven = match is_fit(server).await {
        Ok(()) => commands_are_served(server).await,
        unfit => unfit,
    };
    proven.map_err(|fault| {
        let text = fault.chain();
        if !is_answered(&fault) || !DENIALS.iter().any(|denial| text.contains(denial)) {
            return fault;
        }
        let keys = &server.keys.rq;
        let user = server.link.source.user();
        let said = format!(
            "Redis does not let the user `{user}` do all that Tikkun needs ({text}); check user and password, or give Tikkun a \
             user of its own: `ACL SETUSER tikkun on >PASSWORD ~{keys}:* resetchannels &{keys}:* {COMMANDS}`"
        );
        Fault::new(FaultKind::Permanent, said)
    })
}

fn is_answered(fault: &Fault) -> bool {
    fault.kind() != FaultKind::Unavailable
}

/// Checks the server's information. If it refuses to give that, only its behaviour counts.
async fn is_fit(server: &Server) -> Result<(), Fault> {
    let mut commands = redis::pipe();
    commands.cmd("INFO").arg("server").cmd("INFO").arg("cluster");
    let told: Result<(String, String), Fault> =
        server.link.ask(&commands, || "ask Redis for its version".to_owned()).await;
    match told {
        Ok((about, cluster)) => {
            unfit(&about, &cluster).map_or(Ok(()), |why| Err(Fault::new(FaultKind::Permanent, why)))
        }
        Err(fault) if is_answered(&fault) => Ok(()),
        Err(fault) => Err(fault),
    }
}

fn unfit(about: &str, cluster: &str) -> Option<String> {
    let line = |text: &str, name: &str| {
        let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(found.trim().to_owned())
    };
    if let Some(version) = line(about, "redis_version") {
        let mut parts = version.split('.').map(|part| part.parse::<u32>().ok());
        let (major, minor) = (parts.next().flatten(), parts.next().flatten());
        if major.zip(minor).is_some_and(|found| found < OLDEST) {
            let (major, minor) = OLDEST;
            return Some(format!("this is Redis {version}, and Tikkun needs {major}.{minor} or newer"));
        }
    }
    (line(cluster, "cluster_enabled").as_deref() == Some("1")).then(|| {
        "this Redis is a node of a Redis Cluster, and RQ's keys lie in many slots: Tikkun needs one server that is no \
         cluster (replicas are fine)"
            .to_owned()
    })
}

/// Tries every kind of operation once, on keys of no job.
async fn commands_are_served(server: &Server) -> Result<(), Fault> {
    let call = server.prepare(&server.scripts.prove);
    let what = || "try what jobs need".to_owned();
    let mut refused: Vec<(String, String)> = server.link.invoke(&call, what).await?;
    let mut outside = redis::pipe();
    let nothing = server.keys.proof();
    outside.cmd("BLMOVE").arg(&nothing).arg(&nothing).arg("LEFT").arg("LEFT").arg(LEAST);
    outside.publish(server.keys.echo("proof"), "");
    let answers: Vec<redis::RedisResult<redis::Value>> =
        server.link.ask(outside.ignore_errors(), what).await?;
    for (name, answer) in ["BLMOVE", "PUBLISH"].into_iter().zip(answers) {
        refused.extend(answer.err().map(|error| (name.to_owned(), error.to_string())));
    }
    let Some((_, first)) = refused.first() else { return Ok(()) };
    let names: Vec<_> = refused.iter().map(|(name, _)| name.as_str()).collect();
    let text = format!("Redis refuses {}: {first}", names.join(", "));
    let unknown = UNKNOWN.iter().any(|unknown| first.contains(unknown));
    let kind = if unknown { FaultKind::Permanent } else { FaultKind::Retryable };
    Err(Fault::new(kind, text))
}

/// As [`Broker::prove_length`](crate::queue::Broker::prove_length): a line may lose what is longer than a packet.
pub(super) async fn prove_length(server: &Server) -> Result<(), Fault> {
    prove(server).await?;
    let mut call = server.prepare(&server.scripts.prove);
    call.arg("x".repeat(EVERY_LENGTH));
    let what = || format!("send a request of {} KiB", EVERY_LENGTH >> 10);
    server.link.invoke_heavy::<redis::Value>(&call, EVERY_LENGTH, what).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_old_or_a_cluster_is_told_and_what_says_nothing_is_not_judged() {
        assert!(unfit("redis_version:6.0.16\r\n", "").unwrap().contains("6.0.16"));
        assert!(unfit("redis_version:5.0.7\r\n", "").is_some());
        for fine in [
            "redis_version:6.2.0\r\n",
            "redis_version:7.2.4\r\n",
            "redis_version:10.0\r\n",
            "",
            "redis_version:?",
        ] {
            assert_eq!(unfit(fine, "# Cluster\r\ncluster_enabled:0\r\n"), None, "{fine}");
        }
        assert!(unfit("redis_version:7.0.15\r\n", "cluster_enabled:1\r\n").unwrap().contains("Cluster"));
    }

    /// Every command used in this folder is in the ACL line for users, and is tried before it is needed.
    #[test]
    fn every_command_of_the_scripts_is_tried_and_granted() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/queue/rq/scripts");
        let proof = include_str!("scripts/proof.lua");
        let (mut seen, mut paths) = (0, vec![folder]);
        while let Some(path) = paths.pop() {
            if path.is_dir() {
                paths.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
                continue;
            }
            let text = std::fs::read_to_string(path).unwrap();
            for opening in ["call('", "try('", "pcall('", "ask('", "pcall(call, '"] {
                for name in text.split(opening).skip(1).filter_map(|rest| rest.split('\'').next()) {
                    seen += 1;
                    let granted = format!("+{}", name.to_lowercase());
                    assert!(COMMANDS.split_whitespace().any(|one| one == granted), "{name} is not granted");
                    // Every user may read the time; without a scan no job suffers, only leftovers stay.
                    let needs_no_proof = matches!(name, "TIME" | "SCAN");
                    assert!(
                        needs_no_proof || proof.contains(&format!("ask('{name}'")),
                        "{name} is not tried"
                    );
                }
            }
        }
        assert!(seen > 150, "{seen}");
    }
}
