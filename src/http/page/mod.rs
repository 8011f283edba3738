//! The page at `/`: files that are part of the binary. Nothing is built, nothing is fetched from elsewhere.

mod files;

pub(super) use files::routes;
