//! The page and its API: the API by plain calls, the page in a real Chromium.

use crate::service::client;
use crate::service::ground;
use crate::service::process;
mod addresses;
mod api;
mod browser;
mod bulk;
mod drawing;
mod eyes;
mod keyboard;
mod long_lists;
mod looks;
mod secrets;
mod wire;
mod words;
