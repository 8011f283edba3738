//! The whole service on PostgreSQL: a database created by SQLAlchemy, a server that fails and recovers, and
//! the job that Tikkun replaces.

use crate::servers::postgres as server;
use crate::servers::s3;
use crate::service::client;
use crate::service::process;
mod application;
mod commands;
mod described;
mod going_back;
pub mod ground;
mod late_database;
mod outages;
