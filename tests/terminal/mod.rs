//! The command line as people and programs meet it: what commands answer, in a real terminal too, with tables that fit
//! it, and with a next step in every error.

mod certificates;
mod commands;
mod errors;
mod pty;
mod tables;
mod top;
mod watch;
mod working_folder;
