//! Where the runner of a slot is found: written when a thread is replaced, read anew by every sender.

use std::sync::Arc;

use actix::Addr;
use parking_lot::RwLock;

use super::attempt::Fence;
use super::job_runner::JobRunner;

/// A runner, and the fence of the thread it is on.
#[derive(Clone)]
pub struct Post {
    /// The runner.
    pub runner: Addr<JobRunner>,
    /// Falls when its thread is given up.
    pub fence: Fence,
}

/// The place of one slot's runner. Clones are the same place.
#[derive(Clone)]
pub struct RunnerPlace(Arc<RwLock<Post>>);

impl RunnerPlace {
    /// A place with its first runner.
    #[must_use]
    pub fn new(post: Post) -> Self {
        Self(Arc::new(RwLock::new(post)))
    }

    /// The runner that is there now. Do not keep it for longer than one message.
    #[must_use]
    pub fn post(&self) -> Post {
        self.0.read().clone()
    }

    /// Puts another runner there.
    pub fn publish(&self, post: Post) {
        *self.0.write() = post;
    }
}
