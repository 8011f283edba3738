//! The queue on Redis, each claim under a prefix of its own.

use std::sync::Arc;

use async_trait::async_trait;
use tikkun::queue::{Broker, RqSettings, open_rq};

use crate::ground::*;
use crate::redis_server::SHARED;

/// Keys that no other test has.
pub struct Prefix(String);

impl Prefix {
    pub fn new() -> Self {
        Self(format!("rq-{}", uuid::Uuid::new_v4().simple()))
    }

    fn settings(&self) -> RqSettings {
        RqSettings {
            url: SHARED.url().into(),
            prefix: self.0.clone(),
            slots: 16,
            payload_limit: 1 << 20,
            expanded_limit: 16 << 20,
        }
    }
}

#[async_trait]
impl Fresh for Prefix {
    async fn open(&self) -> Arc<dyn Broker> {
        open_rq(&self.settings()).unwrap_or_else(|fault| panic!("{}", fault.chain()))
    }
}
