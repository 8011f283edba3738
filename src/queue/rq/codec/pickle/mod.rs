//! Python's pickles, read without executing anything and written so that any Python reads them.
//!
//! A pickle is a program for a small stack machine. `machine` runs it over nodes that refer to each other
//! by number, so that a repeated reference costs nothing; `classes` knows the few classes whose values are
//! plain; `tree` then unfolds the nodes into values, each repetition paid for. `writer` goes the other way.
//!
//! - Read: protocols 2 to 5, what CPython 2.7 to 3 writes for plain values, and datetimes in time zones of zoneinfo,
//!   pytz and dateutil.
//! - Refused, by name and with the argument that holds it: every other class or function; besides older protocols, objects outside the pickle,
//!   values that contain themselves, text that is no Unicode (a lone surrogate could not be given back).

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
pub use writer::write;
