//! `/api/receipts/…`: what the application's own front calls: deletions of the caller's tenant.

mod deletions;
mod plan;
mod retry;
mod routes;

pub(super) use routes::routes;
