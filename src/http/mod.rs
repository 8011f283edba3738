//! The window: probes, health, worker config, queues and the receipts facade.
//!
//! Probes are open and say nothing secret; everything under `/api` wants `X-Internal-Secret`. Every
//! answer of an error is JSON with a stable `code`.

mod caller;
mod facade;
mod gate;
mod health;
mod limiter;
mod lobby;
mod plan;
mod probes;
mod problem;
mod queues;
mod retry;
mod server;
mod views;

pub use facade::Facade;
pub use health::{HealthReader, Thresholds, WorkerConfig};
pub use limiter::Limiter;
pub use lobby::serve_lobby;
pub use plan::Planning;
pub use probes::Probes;
pub use problem::Problem;
pub use queues::QueueDesk;
pub use server::{HttpSettings, Window, serve};
pub use views::StuckAfter;
