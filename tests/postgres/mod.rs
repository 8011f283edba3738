//! The whole service on PostgreSQL: a database that SQLAlchemy made, a server that goes away and comes back,
//! and the job that was there before us.

use crate::servers::postgres as server;
use crate::service::client;
use crate::service::process;
mod application;
mod commands;
mod going_back;
mod ground;
mod late_database;
mod outages;
