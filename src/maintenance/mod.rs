//! Work by the clock, and bringing back what is lost: [`Scheduler`] puts in what is due, [`Rescuer`] finds the jobs of dead
//! processes and what storage still owes, [`LeaseKeeper`] tells the others that this process lives.

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
