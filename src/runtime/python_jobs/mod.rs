//! Python jobs of a captured RQ worker: `command` starts it, `captured` is what was found, `keeper` starts it again when it
//! is gone or is to be renewed, `jobs` runs one job in one of its processes,
//! `answers` says what its answer means, `lines` takes what it writes, `clock` watches its time, `last` knows when the worker is to leave, `misfit`
//! whether it can be served beside others.

mod address;
mod answers;
mod captured;
mod clock;
mod command;
mod jobs;
mod keeper;
mod killed;
mod last;
mod lines;
mod misfit;
mod shim;

pub use address::redis_url;
pub use captured::PythonWorker;
pub use command::{Examined, PythonCommand};
pub use last::Last;
pub use misfit::misfit;
