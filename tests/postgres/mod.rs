//! The whole service on PostgreSQL: a database created by SQLAlchemy, a server that fails and recovers, and
//! the job that Tikkun replaces.

use crate::servers::postgres as server;
use crate::service::client;
use crate::service::process;
mod application;
mod commands;
mod going_back;
mod ground;
mod late_database;
mod outages;
