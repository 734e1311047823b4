//! What the issuers want of their keys, as the index has it.

use std::{collections::BTreeMap, sync::Arc};

use hallpass_core::{consent::AudienceSet, issuer::Issuer};
use tokio::sync::watch;

use super::{rotate::Plans, rotation::Plan};
use crate::index::Index;

/// Keeps `plans` as the index has the issuers that count. Returns when nobody wants them any more.
pub async fn run(index: Index, plans: watch::Sender<Plans>) {
    let mut consents = index.consents();
    loop {
        consents.mark_unchanged();
        if let Ok(snapshot) = index.snapshot() {
            let wanted = wanted(&snapshot.rules().audiences);
            plans.send_if_modified(|plans| {
                let changed = **plans != wanted;
                *plans = Arc::new(wanted);
                changed
            });
        }
        tokio::select! {
            // Its error says that the index is gone, and then the process ends too.
            changed = consents.changed() => if changed.is_err() { return },
            () = plans.closed() => return,
        }
    }
}

fn wanted(audiences: &AudienceSet) -> BTreeMap<hallpass_core::name::IssuerId, Plan> {
    let issuers = audiences.issuers();
    issuers
        .map(|issuer| (issuer.url.id(), plan(issuer)))
        .collect()
}

/// What one issuer wants of its keys.
pub(crate) const fn plan(issuer: &Issuer) -> Plan {
    Plan {
        algorithm: issuer.algorithm,
        rotate_every: issuer.rotate_every,
        rotate: issuer.asked.ordinary,
        rotate_now: issuer.asked.emergency,
    }
}
