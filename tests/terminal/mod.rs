//! The command line in a real terminal: tables fit it, and every error names a next step.

mod desk;
mod errors;
mod pty;
mod tables;
mod top;
mod watch;
