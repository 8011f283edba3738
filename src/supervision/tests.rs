//! Tests with real actors: what a crash may cost, and what it must not.

mod hang;
mod probe;
mod restart;
mod stop;
mod tree;
