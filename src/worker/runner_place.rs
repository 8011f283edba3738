//! The address of a slot's runner: written when a thread is replaced, read for every message.

use std::sync::Arc;

use actix::Addr;
use parking_lot::RwLock;

use super::attempt::Fence;
use super::job_runner::JobRunner;

/// A runner, and the fence of its thread.
#[derive(Clone)]
pub struct Post {
    /// The runner.
    pub runner: Addr<JobRunner>,
    /// Falls when its thread is given up.
    pub fence: Fence,
}

/// The address of one slot's runner. Clones share it.
#[derive(Clone)]
pub struct RunnerPlace(Arc<RwLock<Post>>);

impl RunnerPlace {
    /// An address with its first runner.
    #[must_use]
    pub fn new(post: Post) -> Self {
        Self(Arc::new(RwLock::new(post)))
    }

    /// The current runner. Use it for one message only.
    #[must_use]
    pub fn post(&self) -> Post {
        self.0.read().clone()
    }

    /// Sets another runner.
    pub fn publish(&self, post: Post) {
        *self.0.write() = post;
    }
}
