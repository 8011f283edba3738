//! The SQLite engine under the queue and the store: one connection that writes, a few that read, and what their
//! errors mean.

mod database;
mod fault;

pub use database::{Database, Tuning, WriteTransaction};
pub use fault::{During, fault, kind, refuses_a_row};
