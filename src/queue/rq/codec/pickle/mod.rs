//! Python's pickles: read without executing anything, and written so that every Python 3 can read them.
//!
//! A pickle is a program for a small stack machine. `machine` runs it on nodes that refer to each other by
//! number, so that a repeated reference costs nothing; `classes` knows the few classes with plain values;
//! `tree` converts the nodes to values and counts each repetition. `writer` does the opposite.
//!
//! - Read: protocols 2 to 5, as CPython 2.7 to 3 writes them for plain values and for datetimes in time zones
//!   of zoneinfo, pytz and dateutil.
//! - Refused, with the name and the argument: all other classes and functions; also older protocols, objects
//!   outside the pickle, values that contain themselves, and text that is no valid Unicode (a lone surrogate
//!   could not be written back).

mod atom;
mod classes;
mod input;
mod machine;
mod node;
mod opcode;
mod reduce;
mod tree;
mod writer;
mod zones;

pub use machine::read;
pub use writer::{write, write_object};
