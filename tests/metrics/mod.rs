//! What machines watch: the figures of a whole service by a real Prometheus' tools, and what is shipped beside them.

use crate::servers::redis;
use crate::service::ground;
use crate::service::process;

mod exposition;
mod outage;
mod promtool;
mod scrape;
mod shipped;
