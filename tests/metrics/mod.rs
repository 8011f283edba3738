//! The metrics of a whole service, read by Prometheus' own tools, and the files shipped for them.

use crate::servers::redis;
use crate::service::ground;
use crate::service::process;

mod exposition;
mod outage;
mod promtool;
mod scrape;
mod shipped;
