//! Makes the chart's TokenIssuer, and reports on every one: its keys, its next rotation, and why no
//! tokens can be made if they cannot.
//!
//! Level-triggered: whatever changed, all of them are looked at. Nothing else depends on what is written
//! into a status.

use std::{collections::BTreeSet, time::Duration};

use hallpass_crds::token_issuer::TokenIssuerStatus;
use jiff::Timestamp;
use kube::Client;
use tokio::{sync::watch, time::Instant};

use self::{
    default::ChartIssuer,
    desired::{View, desired},
    keys::{IssuerKeys, KeyReports},
};
use super::{
    Context,
    plan::{Memories, Write},
    round::{Rounds, UNSYNCED, told, while_leading},
    write::Writer,
};
use crate::{
    config::{DefaultIssuer, Names},
    index::{Index, Snapshot},
    lease::tenure::Tenure,
    telemetry::Metrics,
};

mod default;
mod desired;
pub mod keys;
#[cfg(test)]
mod tests;

/// Who has the chart's issuer made, and what it says.
#[derive(Debug, Clone)]
pub struct Release {
    /// The names of the release.
    pub names: Names,
    /// The chart's values.
    pub issuer: DefaultIssuer,
}

/// Makes and reports whenever this replica leads. Never returns.
///
/// # Guarantees
/// Nothing is sent any more once `leader` says that this replica does not lead.
pub async fn run(
    index: Index,
    keys: KeyReports,
    release: Release,
    client: Client,
    leader: watch::Receiver<Tenure>,
    context: Context,
    metrics: Metrics,
) {
    let work = || async {
        let pod = &context.pod;
        let writer = Writer::new(client.clone(), pod, leader.clone(), metrics.clone());
        let mut chart = ChartIssuer::new(client.clone(), &release, leader.clone());
        let mut memories = Memories::default();
        let mut rounds = Rounds::new([told(index.consents()), told(keys.changes())]);
        loop {
            rounds.next().await;
            let Ok(snapshot) = index.snapshot() else {
                rounds.again(Some(Instant::now() + UNSYNCED));
                continue;
            };
            let made = chart.tend(&snapshot).await;
            let url = release.issuer.url.as_str();
            let (writes, later) = plan(&snapshot, &keys, url, (context.clock)(), &mut memories);
            let retry = writer.carry_out(writes, &mut memories).await;
            rounds.again([made, later, retry].into_iter().flatten().min());
        }
    };
    while_leading(leader.clone(), work).await;
}

/// What is to be written now, and when to look again.
fn plan(
    snapshot: &Snapshot,
    keys: &KeyReports,
    chart_url: &str,
    now: Timestamp,
    memories: &mut Memories<TokenIssuerStatus>,
) -> (Vec<Write<TokenIssuerStatus>>, Option<Instant>) {
    let records = snapshot.issuers();
    memories.retain(&records.values().map(|r| &*r.uid).collect::<BTreeSet<_>>());
    let mut change = None;
    let mut writes = Vec::new();
    let mut later = None;
    let only_new = keys.only_new();
    for record in records
        .into_values()
        .filter(|r| !only_new || r.status.is_none())
    {
        let keys = match &record.spec {
            Ok(issuer) => keys.of(issuer, now),
            Err(_) => IssuerKeys::default(),
        };
        change = [change, keys.next_change(now)].into_iter().flatten().min();
        let view = View {
            audiences: &snapshot.rules().audiences,
            keys,
            chart_url,
        };
        let desired = |record: &_, old: Option<&_>| desired(record, &view, now, old);
        let at = memories.plan("", [record], desired, &mut writes);
        later = [later, at].into_iter().flatten().min();
    }
    let change = change.and_then(|at| Duration::try_from(at.duration_since(now)).ok());
    let change = change.map(|left| Instant::now() + left + SLACK);
    (writes, [later, change].into_iter().flatten().min())
}

/// How long after a key was to do something else that is looked at.
const SLACK: Duration = Duration::from_secs(1);
