//! The page in a real Chromium.

use crate::api::calls;
use crate::service::ground;
use crate::service::process;
mod addresses;
mod browser;
mod bulk;
mod certificates;
mod drawing;
mod eyes;
mod keyboard;
mod long_lists;
mod looks;
mod python;
mod wire;
mod words;
