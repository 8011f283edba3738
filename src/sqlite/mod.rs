//! The SQLite engine under the queue and the store: one connection that writes, a few that read, and what their
//! errors mean.

mod connections;
mod database;
mod fault;

pub use connections::{Connections, Transaction};
pub use database::{Database, Tuning};
pub use fault::{During, fault, kind, refuses_a_row};
