//! The start of the team's command, until it has become a zygote.

pub(super) mod boot;
pub(super) mod boot_error;
pub(super) mod boot_plan;
mod other_user;
pub(super) mod shim_folder;
