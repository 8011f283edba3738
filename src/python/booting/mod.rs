//! The start of the team's command, until it has become a zygote, or a child.

pub(super) mod boot;
pub(super) mod boot_error;
pub(super) mod boot_plan;
pub(super) mod ground;
mod other_user;
mod shim_folder;
pub(super) mod spawner;
mod started;
