//! Reports on every TokenAudience: whether its tokens can be issued, and who asks for some without
//! being allowed to.
//!
//! Level-triggered: whatever changed, all of them are looked at, and only those whose status says
//! something else are written. Nothing else depends on what is written here.

use std::collections::BTreeSet;

use hallpass_core::{consent::AudienceSet, name::ObjectName};
use hallpass_crds::token_audience::TokenAudienceStatus;
use jiff::Timestamp;
use kube::Client;
use tokio::{sync::watch, time::Instant};

use self::desired::{Asking, View, desired};
use super::{
    Context,
    issuer::keys::KeyReports,
    plan::{Memories, Write},
    round::{Rounds, UNSYNCED, told, while_leading},
    write::Writer,
};
use crate::{
    index::{Index, Snapshot},
    lease::tenure::Tenure,
    telemetry::Metrics,
};

mod desired;
#[cfg(test)]
mod tests;

/// Reports whenever this replica leads. Never returns.
///
/// # Guarantees
/// Nothing is sent any more once `leader` says that this replica does not lead.
pub async fn run(
    index: Index,
    keys: KeyReports,
    client: Client,
    leader: watch::Receiver<Tenure>,
    context: Context,
    metrics: Metrics,
) {
    let work = || async {
        let pod = &context.pod;
        let writer = Writer::new(client.clone(), pod, leader.clone(), metrics.clone());
        let mut memories = Memories::default();
        let mut rounds = Rounds::new([told(index.consents()), told(keys.changes())]);
        loop {
            rounds.next().await;
            let Ok(snapshot) = index.snapshot() else {
                rounds.again(Some(Instant::now() + UNSYNCED));
                continue;
            };
            let (writes, later) = plan(&snapshot, &keys, (context.clock)(), &mut memories).await;
            let retry = writer.carry_out(writes, &mut memories).await;
            rounds.again([later, retry].into_iter().flatten().min());
        }
    };
    while_leading(leader.clone(), work).await;
}

/// What is to be written now, and when to look again.
async fn plan(
    snapshot: &Snapshot,
    keys: &KeyReports,
    now: Timestamp,
    memories: &mut Memories<TokenAudienceStatus>,
) -> (Vec<Write<TokenAudienceStatus>>, Option<Instant>) {
    let rules = snapshot.rules();
    let asking = snapshot.asking();
    let asking = Asking::new(&rules.policies, &asking);
    let signing = signing(&rules.audiences, keys, now);
    let records = snapshot.stating().into_iter().map(|namespace| {
        let records = snapshot.audiences(namespace.as_str());
        (namespace, records)
    });
    let records: Vec<_> = records.collect();
    let alive = records.iter().flat_map(|(_, records)| records.values());
    memories.retain(&alive.map(|r| &*r.uid).collect::<BTreeSet<_>>());
    let (mut writes, mut later) = (Vec::new(), None);
    let only_new = keys.only_new();
    for (namespace, records) in records {
        let desired = |record: &_, old: Option<&_>| {
            let view = View {
                audiences: &rules.audiences,
                namespace: &namespace,
                asking: &asking,
                signing: &signing,
            };
            desired(record, &view, now, old)
        };
        let records = records
            .into_values()
            .filter(|r| !only_new || r.status.is_none());
        let at = memories.plan(namespace.as_str(), records, desired, &mut writes);
        later = [later, at].into_iter().flatten().min();
        // However many there are, requests are answered in between.
        tokio::task::yield_now().await;
    }
    (writes, later)
}

/// The issuers that have a key to sign with.
fn signing(audiences: &AudienceSet, keys: &KeyReports, now: Timestamp) -> BTreeSet<ObjectName> {
    let issuers = audiences.issuers();
    let signing = issuers.filter(|issuer| keys.of(issuer, now).active().is_some());
    signing.map(|issuer| issuer.name.clone()).collect()
}
