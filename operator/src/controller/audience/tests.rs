//! The controller against an API server that answers what is expected and notes what is not.

use std::time::Duration;

use hallpass_crds::token_audience::TokenAudience;
use tokio::time::sleep;

use super::*;
use crate::controller::{
    fixture::{Shared, after, asking, audience, client, context, issuer, namespace, two_keys},
    issuer::keys::IssuerKeys,
};
use crate::index::Stored;

struct Running {
    server: Shared,
    index: Index,
    leader: watch::Sender<Tenure>,
    /// Whether the issuers have keys.
    keys: watch::Sender<bool>,
    /// Whether the keys have been read.
    read: watch::Sender<bool>,
    changes: watch::Sender<u64>,
}

fn start(leads: bool, has_keys: bool) -> Running {
    let (server, index) = (Shared::default(), Index::filled(vec![], vec![], vec![]));
    let shop = namespace("shop", ("team", "shop"));
    index.allow(
        vec![audience("payments")],
        vec![issuer("hallpass")],
        vec![shop],
    );
    let (leader, leading) = watch::channel(Tenure::of(leads));
    let (keys, have) = watch::channel(has_keys);
    let changes = watch::Sender::new(0);
    let look = move |issuer: &_, now| match *have.borrow() {
        true => two_keys(issuer, now),
        false => IssuerKeys::default(),
    };
    let (read, is_read) = watch::channel(true);
    let reports = KeyReports::new(look, move || *is_read.borrow(), changes.subscribe());
    let (client, metrics) = (client(&server), Metrics::default());
    tokio::spawn(run(
        index.clone(),
        reports,
        client,
        leading,
        context(),
        metrics,
    ));
    Running {
        server,
        index,
        leader,
        keys,
        read,
        changes,
    }
}

impl Running {
    fn ask(&self, policy: &str) {
        let policy = asking("mail", policy, &["sender"], "read");
        self.index.deliver(Stored(Ok(policy)));
    }

    /// The watch brings the status back that was written last.
    fn bring_back(&self) -> TokenAudience {
        let mut stored = audience("payments");
        let status = self
            .server
            .lock()
            .unwrap()
            .statuses
            .last()
            .cloned()
            .unwrap();
        stored.status = serde_json::from_value(status["body"]["status"].clone()).unwrap();
        let shop = namespace("shop", ("team", "shop"));
        self.index
            .allow(vec![stored.clone()], vec![issuer("hallpass")], vec![shop]);
        stored
    }
}

#[tokio::test(start_paused = true)]
async fn a_status_is_written_once_with_one_event() {
    let running = start(true, true);
    sleep(Duration::from_secs(1)).await;
    running.bring_back();
    assert_eq!(after(&running.server, 400).await, ["payments True Ready"]);
    let events = std::mem::take(&mut running.server.lock().unwrap().events);
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["regarding"]["kind"], "TokenAudience");
    assert_eq!(events[0]["metadata"]["namespace"], "payments");
    assert_eq!(after(&running.server, 400).await, [] as [&str; 0]);
}

#[tokio::test(start_paused = true)]
async fn only_the_leader_writes() {
    let running = start(false, true);
    assert_eq!(after(&running.server, 60).await, [] as [&str; 0]);
    running.leader.send_replace(Tenure::of(true));
    assert_eq!(after(&running.server, 1).await, ["payments True Ready"]);
    running.leader.send_replace(Tenure::of(false));
    running.ask("sender");
    assert_eq!(after(&running.server, 60).await, [] as [&str; 0]);
}

#[tokio::test(start_paused = true)]
async fn the_first_key_of_the_issuer_turns_the_status() {
    let running = start(true, false);
    assert_eq!(
        after(&running.server, 1).await,
        ["payments False IssuerNotReady"]
    );
    running.keys.send_replace(true);
    running.changes.send_replace(1);
    assert_eq!(after(&running.server, 1).await, ["payments True Ready"]);
    assert_eq!(running.server.lock().unwrap().events.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn f03_a_new_leader_takes_nothing_back_before_it_has_read_the_keys() {
    let running = start(true, true);
    sleep(Duration::from_secs(1)).await;
    running.bring_back();
    assert_eq!(after(&running.server, 0).await, ["payments True Ready"]);
    running.leader.send_replace(Tenure::of(false));
    running.keys.send_replace(false);
    running.read.send_replace(false);
    sleep(Duration::from_secs(1)).await;
    running.leader.send_replace(Tenure::of(true));
    assert_eq!(after(&running.server, 60).await, [] as [&str; 0]);
    // Of what is new it is said what is known.
    running.index.deliver_audience(audience("invoices"));
    let writes = after(&running.server, 1).await;
    assert_eq!(writes, ["invoices False IssuerNotReady"]);
    // Once they have been read, that they are missing is said.
    running.read.send_replace(true);
    running.changes.send_replace(1);
    let writes = after(&running.server, 1).await;
    assert_eq!(writes, ["payments False IssuerNotReady"]);
}

#[tokio::test(start_paused = true)]
async fn those_who_ask_cause_at_most_one_write_every_ten_seconds() {
    let running = start(true, true);
    sleep(Duration::from_secs(1)).await;
    running.bring_back();
    assert_eq!(after(&running.server, 0).await.len(), 1);
    let mut last = None;
    let mut writes = 0;
    for second in 0..41 {
        if second < 30 {
            running.ask(&format!("p{second}"));
        }
        sleep(Duration::from_secs(1)).await;
        if !running.server.lock().unwrap().statuses.is_empty() {
            last = running.bring_back().status;
            writes += after(&running.server, 0).await.len();
        }
    }
    assert!((3..=4).contains(&writes), "{writes} writes");
    let last = last.unwrap();
    assert_eq!((last.policies, last.refused_count), (Some(30), Some(30)));
    assert_eq!(running.server.lock().unwrap().events.len(), 1);
}
