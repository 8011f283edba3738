//! Work on a schedule, and recovery: [`Scheduler`] enqueues due jobs, [`Rescuer`] recovers the jobs of dead
//! processes and deletes leftover objects, [`LeaseKeeper`] shows other processes that this one is alive.

mod certification;
mod clock;
mod cron_plan;
mod foreign_workers;
mod leader_lease;
mod lease_keeper;
mod orphans;
mod outbox_alarm;
mod reconcile;
mod rescuer;
mod rescuer_ports;
mod scheduler;

pub use clock::Clock;
pub use lease_keeper::LeaseKeeper;
pub use rescuer::Rescuer;
pub use rescuer_ports::RescuerPorts;
pub use scheduler::{SCHEDULER_ROLE, Scheduler};
