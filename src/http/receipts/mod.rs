//! `/api/receipts/…`: the calls of the application's front end, about deletions of the caller's tenant.

mod deletions;
mod plan;
mod retry;
mod routes;

pub(super) use routes::routes;
