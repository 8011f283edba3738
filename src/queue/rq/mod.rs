//! The broker on Redis, in RQ's own format: its keys, hashes and registries, so that RQ's enqueuers, tools
//! and dashboards see no difference. Only this folder knows RQ's names.
//!
//! Read in this order: `address` and `link` (the way to the server), `keys` and `wire` (what lies on the server), `codec`
//! (a call and its result), `callbacks`, `scripts` (the atomic steps), `server` and `exchange` with `taken` and `ends` (the path of a
//! job), `wait`
//! (how a listener is woken), `leases` and `workers` (what RQ's readers see of this process), `commands` (requests to a
//! running worker), `fitness` (a server that cannot carry jobs), `memory` and `risks` (a server that
//! forgets), `reading` (one job, lists, searches, attempts), `stop`, `tend` (what RQ's own workers left behind).

mod address;
mod broker;
mod callbacks;
mod codec;
mod commands;
mod ends;
mod exchange;
mod fitness;
mod keys;
mod lease_record;
mod leases;
mod link;
mod memory;
mod pauses;
mod reading;
mod risks;
mod schedules;
mod scripts;
mod server;
mod steps;
mod stop;
mod taken;
mod tend;
mod troubles;
mod wait;
mod wire;
mod workers;

use std::sync::Arc;

use crate::fault::Fault;

pub use ends::webhook_requests;

use super::broker::Broker;
use super::measured::measured;

/// The settings of the connection to a Redis server.
#[derive(Clone, Debug)]
pub struct RqSettings {
    /// `redis://`, `rediss://` or `unix://`, with user, password and database, and for `rediss://` redis-py's
    /// `ssl_ca_certs`, `ssl_certfile` and `ssl_keyfile`. Never printed.
    pub url: secrecy::SecretString,
    /// The prefix of all RQ keys.
    pub prefix: String,
    /// The number of concurrent jobs, each shown as one RQ worker.
    pub slots: usize,
    /// The longest payload in bytes, as stored.
    pub payload_limit: usize,
    /// The longest payload in bytes, decompressed.
    pub expanded_limit: usize,
    /// The queues whose deliveries bring the [whole hash](super::Delivery::hash) of their job, for code in another language.
    pub whole_hashes: Vec<crate::job::QueueName>,
    /// The name of the worker, with the slot's number behind it if there are several; without it they are named after
    /// host and process.
    pub worker_name: Option<String>,
}

/// Prepares the connection to the server, which need not be reachable yet.
///
/// # Errors
/// A permanent one when the URL is invalid, or a file that it names cannot be used.
pub fn open(settings: &RqSettings) -> Result<Arc<dyn Broker>, Fault> {
    let source = Arc::new(address::Source::new(settings.url.clone())?);
    let names = link::names::Names::default();
    let workers = workers::Workers::new(settings.slots, settings.worker_name.clone());
    let limits = codec::Limits {
        stored: settings.payload_limit,
        plain: settings.expanded_limit,
        ..codec::Limits::default()
    };
    let keys = keys::Keys::new(&settings.prefix);
    let server = server::Server::new(
        [
            link::Link::new(Arc::clone(&source), names.clone(), keys.nothing()),
            link::Link::for_reads(Arc::clone(&source), names.clone(), keys.nothing()),
        ],
        keys,
        (workers, settings.whole_hashes.clone()),
        limits,
    );
    Ok(measured(broker::Rq::new(server, commands::Orders::new(source, names)), "redis"))
}
