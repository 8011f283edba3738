//! The page at `/`: its files are part of the binary. There is no build step and nothing from other origins.

mod files;

pub(super) use files::routes;
