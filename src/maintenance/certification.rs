//! Issues the certificates of deletions that have ended, whoever ended them. Each is due until it is issued, so that a
//! process that dies in between loses none, and any process may issue any of them.

use std::time::Duration;

use super::rescuer_ports::RescuerPorts;
use crate::certificate::Sealed;
use crate::deadline::answer_in;
use crate::fault::{Fault, FaultKind};
use crate::job::BackgroundJobId;
use crate::measure::list::CERTIFICATES;

/// The most certificates issued in one look, since orphaned jobs wait meanwhile.
const MOST: u32 = 100;

/// Issues certificates, look after look. What hinders it is logged once, and hides nothing else from the log.
#[derive(Debug, Default)]
pub(super) struct Certification {
    is_failing: bool,
}

impl Certification {
    /// Issues what is due.
    pub(super) async fn look(&mut self, ports: &RescuerPorts, deadline: Duration) {
        let issued = issue_due(ports, deadline).await;
        let failed_before = std::mem::replace(&mut self.is_failing, issued.is_err());
        if let Some(fault) = issued.err().filter(|_| !failed_before) {
            tracing::warn!(
                error = fault.chain(),
                "certificates of deletions cannot be issued; they stay due, and are tried again"
            );
        }
    }
}

/// Issues what is due. One that cannot be issued keeps no other from it; the fault is that of the first such one.
async fn issue_due(ports: &RescuerPorts, deadline: Duration) -> Result<(), Fault> {
    let certificates = &ports.store.certificates;
    let due = answer_in(deadline, "look for certificates that are due", certificates.due(MOST)).await?;
    let mut refused = None;
    for id in due {
        ports.turn.beat();
        let issue = certificates.issue(id, &ports.issuer);
        match answer_in(deadline, "issue a certificate", issue).await {
            Ok(Some(sealed)) => tell(id, &sealed),
            Ok(None) => {}
            Err(fault) if fault.kind() == FaultKind::Permanent => refused = refused.or(Some(fault)),
            Err(fault) => return Err(fault),
        }
    }
    refused.map_or(Ok(()), Err)
}

/// Counts the certificate, and logs the length and the head of the chain, by which cuts at its end are found later.
fn tell(id: BackgroundJobId, sealed: &Sealed) {
    let Ok(certificate) = sealed.certificate() else { return };
    let state = if certificate.r#final { "final" } else { "provisional" };
    let signed = if sealed.signature.is_some() { "signed" } else { "unsigned: `certificate.key` is not set" };
    let (length, head, owed) = (certificate.sequence, &sealed.hash, certificate.objects.owed);
    CERTIFICATES.counter(&[state]).increment(1);
    tracing::info!(
        background_job = %id, length, head, owed,
        "a certificate of background job {id} was issued, {state} and {signed}; the chain has {length} certificates and \
         its head is {head}"
    );
}
