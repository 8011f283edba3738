//! `/api/v1` by plain calls: who comes in, what a change must bring, what is answered.

use crate::service::client;
use crate::service::ground;
use crate::service::process;

pub mod bulk;
pub mod calls;
mod certificates;
mod changed_requests;
mod changes;
mod jobs;
mod secrets;
mod sessions;
mod shown;
