//! What has to be there for as long as a process that was started.

use std::os::fd::OwnedFd;

use super::shim_folder::ShimFolder;

/// What lives as long as the processes that were started with it.
pub(in crate::python) struct Ground {
    /// The only write end of the pipe whose closing has the kernel kill the processes.
    _pipe: OwnedFd,
    _shim: ShimFolder,
}

impl Ground {
    pub(super) fn new(pipe: OwnedFd, shim: ShimFolder) -> Self {
        Self { _pipe: pipe, _shim: shim }
    }
}
