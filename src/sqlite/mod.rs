//! The SQLite engine of the queue and the store: one connection that writes, a few that read, and the meaning
//! of errors.

mod connections;
mod database;
mod fault;
mod room;
mod wal_index;

pub use connections::{Connections, Transaction};
pub use database::{Database, Tuning};
pub use fault::{During, fault, kind, refuses_a_row};
