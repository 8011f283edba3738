//! Python processes: a zygote that has imported the application once, and the children that it forks to run jobs.
//!
//! Tikkun starts the team's own command with a small Python entrance (the shim) on its path. Where the command would
//! begin to work, the process becomes the [`Zygote`]: a fork server that Tikkun asks for children over a socket. Where
//! forking is not safe, the command is started for each child, and its process becomes that child.
//! A [`Child`] runs one job (`job`) or many (`warm`) and answers over a socket of its own; its standard output and
//! error are pipes, so nothing that a job prints can be taken for an answer. A [`Pool`] keeps children ready ahead.
//!
//! Bytes of payloads pass through unread: only Python loads them. No process outlives its owner: dropping a
//! [`Child`] kills its process group, dropping the last owner of a zygote ends it, and the lifeline (a pipe that only
//! Tikkun holds) has the kernel kill the children when Tikkun dies by any means.

mod booting;
mod child;
mod control;
mod conversation;
mod ending;
mod fields;
mod frame;
mod hello;
mod job_result;
mod killing;
mod memory;
mod memory_watch;
mod messages;
mod oom_kills;
mod output;
mod pool;
mod pool_record;
mod pool_state;
mod preload;
mod process_record;
mod ran;
mod raw_job;
mod sockets;
mod zygote;

pub use booting::boot_error::BootError;
pub use booting::boot_plan::{BootPlan, Start};
pub use child::Child;
pub use control::ZygoteEnd;
pub use ending::{Death, Exit, Usage, WaitStatus};
pub use frame::{Frame, FrameError, FrameReader, MAX_FRAME, encode};
pub use hello::{Connection, Hello, WorkArguments};
pub use job_result::{JobOutcome, JobResult, ResultAttributes, ReturnedRetry};
pub use killing::Killer;
pub use memory::Memory;
pub use memory_watch::MemoryWatch;
pub use messages::{
    CallbackOrder, CallbackReason, ChildLimits, FromChild, FromZygote, Mode, Phase, ToChild, ToZygote,
};
pub use output::{OutputSink, Stream};
pub use pool::Pool;
pub use pool_record::{PoolCounts, PoolPlan, PoolSnapshot};
pub use preload::{Hazards, Preload, PreloadPlan, PreloadRound, PreloadSnapshot, Preloaded, Trial};
pub use process_record::{ProcessRow, ProcessState};
pub use ran::{Called, Ran};
pub use raw_job::RawJob;
pub use zygote::Zygote;

#[cfg(test)]
pub(crate) mod stand_in;
