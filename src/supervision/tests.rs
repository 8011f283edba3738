//! Supervisors with real actors: what a crash costs, and what it must not.

mod hang;
mod probe;
mod restart;
mod stop;
mod tree;
