//! Tries modules in a child of their own, before the process that forks imports them.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::timeout;

use super::answers::Trial;
use crate::fault::{Fault, FaultKind};
use crate::python::child::Child;
use crate::python::conversation::Heard;
use crate::python::ending::Death;
use crate::python::messages::{FromChild, Mode, ToChild};
use crate::python::zygote::Zygote;

/// How long the child may take to be ready, and to leave.
const GRACE: Duration = Duration::from_secs(30);

/// Has a child import these modules, and says which must not be imported ahead of jobs. An import of one of them may
/// end the child, or take longer than `each`. Cancel safe: dropped, it leaves no process behind.
///
/// # Errors
/// There is no child, or it ended before its first import.
pub(super) async fn try_out(zygote: &Zygote, modules: &[String], each: Duration) -> Result<Trial, Fault> {
    let mut child = zygote.fork(Mode::Job, GRACE).await?;
    let mut at = None;
    let asked = child.talk.send(ToChild::Try(modules)).await;
    asked.map_err(|e| Fault::new(FaultKind::Unavailable, "ask a child to try modules").because(e))?;
    let why = loop {
        match timeout(each, child.talk.hear()).await {
            Ok(Heard::Said(FromChild::Tried(trial))) => {
                tokio::spawn(Child::finish(child, GRACE));
                return Ok(trial);
            }
            Ok(Heard::Said(FromChild::Phase(phase))) => at = Some(phase.name),
            Ok(Heard::Said(_)) => {}
            Ok(Heard::Ended(death)) => break format!("its import ends the process: {}", end(&death)),
            Err(_) => break format!("its import takes longer than {}", humantime::format_duration(each)),
        }
    };
    match at {
        Some(module) => Ok(Trial { left_out: BTreeMap::from([(module, why)]), is_whole: false }),
        None => Err(Fault::new(FaultKind::Unavailable, format!("a trial of modules did not begin: {why}"))),
    }
}

fn end(death: &Death) -> String {
    death.exit.map_or_else(|| "how is not known".to_owned(), |exit| exit.status.words())
}
