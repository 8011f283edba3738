//! The HTTP server: probes, metrics, health, worker config, queues, the receipts facade, the page and its
//! API.
//!
//! Probes and metrics are open and contain no secrets; everything under `/api` requires `X-Internal-Secret`,
//! or for `/api/v1` a session. Every error is JSON with a stable `code`.

mod api;
mod base_path;
mod board;
mod caller;
mod facade;
mod guesses;
mod health;
mod limits;
mod metrics;
mod page;
mod peer;
mod probes;
mod problem;
mod python;
mod queues;
mod receipts;
mod server;
mod start_up;
mod views;
mod writes;

pub use api::{Auth, PageRules, PageSecrets};
pub use base_path::BasePath;
pub use board::{Board, BoardReader, Identity};
pub use facade::{Facade, Planning};
pub use guesses::Guesses;
pub use health::{HealthReader, WorkerConfig};
pub use metrics::{MetricsEndpoint, MetricsLook};
pub use peer::TrustedProxies;
pub use probes::Probes;
pub use problem::Problem;
pub use python::{PythonReader, PythonWorkerReader};
pub use server::{Endpoints, PageParts, ServerSettings, serve};
pub use start_up::serve_start_up;
pub use writes::Writes;
