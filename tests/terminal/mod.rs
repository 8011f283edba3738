//! The command line as people meet it: in a real terminal, with tables that fit it, and with a next step in every
//! error.

mod desk;
mod errors;
mod pty;
mod tables;
mod top;
mod watch;
