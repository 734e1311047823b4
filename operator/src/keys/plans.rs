//! What the issuers want of their keys, as the index has it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use hallpass_core::{
    consent::AudienceSet, issuer::Issuer, name::IssuerId, revocation::RevocationSet,
};
use jiff::Timestamp;
use tokio::sync::watch;

use super::{rotate::Plans, rotation::Plan};
use crate::{index::Index, restore::Restores};

/// Keeps `plans` as the index has the issuers that count. Returns when nobody wants them any more.
///
/// When the state of the cluster went back, a key that was removed may be there again, and whoever took it
/// before could sign with it: every issuer then wants an emergency rotation as of that time.
pub async fn run(index: Index, restores: Restores, plans: watch::Sender<Plans>) {
    let (mut consents, mut restores) = (index.consents(), restores.watch());
    let mut observed = index.revocations().observed();
    let mut revoked: Arc<BTreeSet<Box<str>>> = Arc::default();
    loop {
        observed.mark_unchanged();
        let keys = |set: &RevocationSet| (set.keys() != &*revoked).then(|| set.keys().clone());
        if let Some(keys) = index.revocations().ask(keys) {
            revoked = Arc::new(keys);
        }
        consents.mark_unchanged();
        let went_back = *restores.borrow_and_update();
        if let Ok(snapshot) = index.snapshot() {
            let wanted = wanted(&snapshot.rules().audiences, went_back, &revoked);
            plans.send_if_modified(|plans| {
                let changed = **plans != wanted;
                *plans = Arc::new(wanted);
                changed
            });
        }
        tokio::select! {
            // Its error says that the index is gone, and then the process ends too.
            changed = consents.changed() => if changed.is_err() { return },
            changed = restores.changed() => if changed.is_err() { return },
            changed = observed.changed() => if changed.is_err() { return },
            () = plans.closed() => return,
        }
    }
}

fn wanted(
    audiences: &AudienceSet,
    went_back: Option<Timestamp>,
    revoked: &Arc<BTreeSet<Box<str>>>,
) -> BTreeMap<IssuerId, Plan> {
    let issuers = audiences.issuers();
    let wanted = issuers.map(|issuer| {
        let mut plan = plan(issuer);
        plan.restored = went_back;
        plan.revoked = Arc::clone(revoked);
        (issuer.url.id(), plan)
    });
    wanted.collect()
}

/// What one issuer wants of its keys.
pub(crate) fn plan(issuer: &Issuer) -> Plan {
    Plan {
        algorithm: issuer.algorithm,
        rotate_every: issuer.rotate_every,
        rotate: issuer.asked.ordinary,
        rotate_now: issuer.asked.emergency,
        restored: None,
        revoked: Arc::default(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hallpass_crds::token_issuer::TokenIssuer;
    use serde_json::json;
    use tokio::time::timeout;

    use super::*;
    use crate::index::fixture::{cluster_revocation, issuer};

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn asking(rotate_now: &str) -> TokenIssuer {
        let mut stored = serde_json::to_value(issuer()).unwrap();
        stored["metadata"]["annotations"] = json!({"hallpass.dev/rotate-now": rotate_now});
        serde_json::from_value(stored).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn every_issuer_is_told_of_a_restore_and_of_what_is_asked_of_it() {
        let (index, restores) = (Index::filled(vec![], vec![], vec![]), Restores::default());
        index.allow(vec![], vec![issuer()], vec![]);
        let (wanted, mut plans) = watch::channel(Plans::default());
        let running = tokio::spawn(run(index.clone(), restores.clone(), wanted));
        let mut next = async || {
            let changed = timeout(Duration::from_secs(5), plans.changed()).await;
            changed.expect("the plans change").unwrap();
            let plans = plans.borrow_and_update();
            let plan = plans.values().next().unwrap();
            (plan.restored, plan.rotate_now)
        };
        assert_eq!(next().await, (None, None));
        let restored = at("2026-11-01T00:00:00Z");
        restores.note(restored, restored);
        assert_eq!(next().await, (Some(restored), None));
        index.allow(vec![], vec![asking("2026-11-02T00:00:00Z")], vec![]);
        let asked = Some(at("2026-11-02T00:00:00Z"));
        assert_eq!(next().await, (Some(restored), asked));
        running.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn a_revoked_key_is_in_every_plan_until_nobody_revokes_it() {
        let index = Index::filled(vec![], vec![], vec![]);
        index.allow(vec![], vec![issuer()], vec![]);
        let (wanted, mut plans) = watch::channel(Plans::default());
        let running = tokio::spawn(run(index.clone(), Restores::default(), wanted));
        let mut next = async || {
            let changed = timeout(Duration::from_secs(5), plans.changed()).await;
            changed.expect("the plans change").unwrap();
            let plans = plans.borrow_and_update();
            let revoked = &plans.values().next().unwrap().revoked;
            revoked
                .iter()
                .map(|kid| kid.to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(next().await, [] as [&str; 0]);
        let key = || cluster_revocation("inc-1", 7, &json!({"target": {"key": "kid-1"}}));
        index.revoke(vec![], vec![key()]);
        assert_eq!(next().await, ["kid-1"]);
        index.delete_cluster_revocation(key());
        assert_eq!(next().await, [] as [&str; 0]);
        running.abort();
    }
}
