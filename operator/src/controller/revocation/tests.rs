//! The controller against an API server that answers what is expected and notes what is not.

use std::{cell::OnceCell, collections::BTreeMap, time::Duration};

use futures::FutureExt;
use hallpass_core::name::IssuerId;
use hallpass_crds::token_revocation::TokenRevocation;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::*;
use crate::{
    controller::fixture::{Shared, after, client, context},
    index::fixture::{cluster_revocation, policy, revocation, subject},
    issuer::fixture::now,
};

mod many;

thread_local! {
    /// When the test began.
    static START: OnceCell<Instant> = const { OnceCell::new() };
}

/// The time of day goes as the time of the test does.
fn clock() -> Timestamp {
    let start = START.with(|start| *start.get_or_init(Instant::now));
    now() + start.elapsed()
}

struct Running {
    server: Shared,
    index: Index,
    keys: Keys,
    leader: watch::Sender<Tenure>,
    agreement: watch::Sender<Agreement>,
}

/// Both replicas have read that far.
fn read(version: u64) -> Agreement {
    Agreement {
        epochs: Epochs {
            namespaced: version,
            cluster: version,
        },
        replicas: 2,
        refused: 0,
        unread: Some(0),
    }
}

fn start(leads: bool, index: Index) -> Running {
    clock();
    let keys = Keys::of(&["https://id.example"]);
    let server = Shared::default();
    let (leader, leading) = watch::channel(Tenure::of(leads));
    let (agreement, agreed) = watch::channel(read(1_000_000));
    let (client, metrics) = (client(&server), Metrics::default());
    let context = Context { clock, ..context() };
    tokio::spawn(run(
        index.clone(),
        keys.clone(),
        agreed,
        client,
        leading,
        context,
        metrics,
    ));
    Running {
        server,
        index,
        keys,
        leader,
        agreement,
    }
}

fn index() -> Index {
    Index::filled(vec![], vec![], vec![])
}

fn account() -> Value {
    json!({"target": {"serviceAccount": "orders"}})
}

fn tidy(ttl: u32) -> Value {
    json!({"target": {"serviceAccount": "orders"}, "ttlSecondsAfterExpired": ttl})
}

impl Running {
    fn deliver(&self, revocation: &TokenRevocation) {
        self.index.deliver_revocation(revocation.clone());
    }

    /// The watch brings the statuses back that were written.
    fn bring_back(&self, revocation: &mut TokenRevocation) {
        let server = self.server.lock().unwrap();
        let written = server.statuses.last().unwrap()["body"]["status"].clone();
        drop(server);
        revocation.status = serde_json::from_value(written).unwrap();
        self.deliver(revocation);
    }

    /// The one key that there is.
    fn kid(&self) -> String {
        let ring = self.keys.ring(&IssuerId::of("https://id.example")).unwrap();
        ring.active(clock()).signing().kid().to_owned()
    }

    fn events(&self) -> Vec<Value> {
        std::mem::take(&mut self.server.lock().unwrap().events)
    }

    fn deletions(&self) -> Vec<(String, Value)> {
        std::mem::take(&mut self.server.lock().unwrap().deletions)
    }

    /// How many statuses are sent within so many seconds.
    async fn sent(&self, seconds: u64) -> usize {
        after(&self.server, seconds).await.len()
    }
}

#[tokio::test(start_paused = true)]
async fn a_status_is_written_once_with_one_event() {
    let running = start(true, index());
    let mut own = revocation("inc-1", 7, &account());
    running.deliver(&own);
    sleep(Duration::from_secs(1)).await;
    running.bring_back(&mut own);
    assert_eq!(after(&running.server, 400).await, ["inc-1 True Enforced"]);
    let events = running.events();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["regarding"]["kind"], "TokenRevocation");
    assert_eq!(events[0]["regarding"]["namespace"], "shop");
    assert_eq!(events[0]["reason"], "Enforced");
    assert_eq!(running.sent(400).await, 0);
}

#[tokio::test(start_paused = true)]
async fn one_of_the_cluster_is_reported_on_too() {
    let running = start(true, index());
    let spec = json!({"target": {"namespace": "shop"}});
    running
        .index
        .revoke(vec![], vec![cluster_revocation("inc-1", 7, &spec)]);
    sleep(Duration::from_secs(1)).await;
    let sent = running.server.lock().unwrap().statuses[0].clone();
    assert_eq!(sent["kind"], "clustertokenrevocations");
    assert_eq!(sent["body"]["kind"], "ClusterTokenRevocation");
    assert_eq!(
        sent["body"]["metadata"]["uid"],
        "0f2f4b9c-7c1c-4c5e-9f43-000000000007"
    );
    assert_eq!(sent["body"]["status"]["epoch"], "7");
    assert_eq!(
        running.events()[0]["regarding"]["kind"],
        "ClusterTokenRevocation"
    );
}

#[tokio::test(start_paused = true)]
async fn only_the_leader_writes() {
    let running = start(false, index());
    running.deliver(&revocation("inc-1", 7, &account()));
    assert_eq!(running.sent(60).await, 0);
    running.leader.send_replace(Tenure::of(true));
    assert_eq!(after(&running.server, 1).await, ["inc-1 True Enforced"]);
    running.leader.send_replace(Tenure::of(false));
    running.deliver(&revocation("inc-2", 8, &account()));
    assert_eq!(running.sent(60).await, 0);
}

#[tokio::test(start_paused = true)]
async fn pending_turns_when_the_last_replica_has_read_it_and_is_no_event() {
    let running = start(true, index());
    running.agreement.send_replace(read(6));
    let mut own = revocation("inc-1", 7, &account());
    running.deliver(&own);
    sleep(Duration::from_secs(1)).await;
    running.bring_back(&mut own);
    assert_eq!(after(&running.server, 20).await, ["inc-1 False Pending"]);
    assert_eq!(running.events().len(), 0);
    running.agreement.send_replace(read(7));
    assert_eq!(after(&running.server, 1).await, ["inc-1 True Enforced"]);
    assert_eq!(running.events().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_gives_service_account_tokens_turns_the_status() {
    let running = start(true, index());
    let mut own = revocation("inc-1", 7, &account());
    running.deliver(&own);
    sleep(Duration::from_secs(1)).await;
    running.bring_back(&mut own);
    assert_eq!(after(&running.server, 1).await, ["inc-1 True Enforced"]);
    let vault = policy("shop", "vault", "orders");
    running.index.deliver(crate::index::Stored(Ok(vault)));
    assert_eq!(
        after(&running.server, 1).await,
        ["inc-1 False OutsideGuard"]
    );
    let events = running.events();
    assert_eq!(events.last().unwrap()["type"], "Warning");
}

#[tokio::test(start_paused = true)]
async fn what_expires_is_told_soon_after_and_kept_without_a_ttl() {
    let running = start(true, index());
    let mut own = revocation("inc-1", 7, &account());
    running.deliver(&own);
    sleep(Duration::from_secs(1)).await;
    running.bring_back(&mut own);
    assert_eq!(running.sent(3600).await, 1);
    sleep(Duration::from_secs(12)).await;
    running.bring_back(&mut own);
    assert_eq!(after(&running.server, 0).await, ["inc-1 False Expired"]);
    assert_eq!(running.events().len(), 1, "nobody has to know at once");
    assert_eq!(running.sent(100_000).await, 0);
    assert_eq!(running.deletions(), []);
}

#[tokio::test(start_paused = true)]
async fn what_asked_for_it_is_deleted_once_its_time_has_come_and_its_status_says_so() {
    let running = start(true, index());
    let mut own = revocation("inc-1", 7, &tidy(60));
    running.deliver(&own);
    sleep(Duration::from_secs(3700)).await;
    assert_eq!(
        running.deletions(),
        [],
        "no status says yet that it has expired"
    );
    running.leader.send_replace(Tenure::over());
    running.bring_back(&mut own);
    sleep(Duration::from_secs(400)).await;
    assert_eq!(
        running.deletions(),
        [],
        "its tenure is over: nobody told it"
    );
    running.leader.send_replace(Tenure::of(false));
    sleep(Duration::from_secs(1)).await;
    running.leader.send_replace(Tenure::of(true));
    sleep(Duration::from_secs(2)).await;
    let path = "/apis/hallpass.dev/v1alpha1/namespaces/shop/tokenrevocations/inc-1";
    let uid = json!({"uid": "0f2f4b9c-7c1c-4c5e-9f43-000000000007"});
    assert_eq!(running.deletions(), [(path.to_owned(), uid)]);
    running.index.withdraw_revocation(own);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(running.deletions(), []);
    let mut own = revocation("inc-2", 8, &tidy(1_000_000));
    running.deliver(&own);
    sleep(Duration::from_secs(3700)).await;
    running.bring_back(&mut own);
    sleep(Duration::from_secs(900_000)).await;
    assert_eq!(running.deletions(), []);
    sleep(Duration::from_secs(101_000)).await;
    assert!(!running.deletions().is_empty());
}

#[tokio::test(start_paused = true)]
async fn t21_the_revocation_of_a_key_is_over_when_the_key_is_gone() {
    let running = start(true, index());
    let spec = json!({"target": {"key": running.kid()}, "ttlSecondsAfterExpired": 60});
    let other = json!({"target": {"key": "gone"}});
    let mut stored = cluster_revocation("inc-1", 7, &spec);
    let gone = cluster_revocation("inc-2", 8, &other);
    running.index.revoke(vec![], vec![stored.clone(), gone]);
    sleep(Duration::from_secs(1)).await;
    let written = running.server.lock().unwrap().statuses[0]["body"]["status"].clone();
    stored.status = serde_json::from_value(written).unwrap();
    assert_eq!(stored.status.as_ref().unwrap().conditions[0].status, "True");
    running.index.revoke(vec![], vec![stored.clone()]);
    running.sent(10).await;
    assert_eq!(running.sent(8000).await, 0, "the key is still there");
    assert_eq!(running.deletions(), []);
    running.keys.forget_all();
    assert_eq!(after(&running.server, 1).await, ["inc-1 False Expired"]);
}

#[tokio::test(start_paused = true)]
async fn t21_what_another_replica_leaves_out_is_in_force_no_more() {
    let refuses = Agreement {
        refused: 1,
        ..read(1_000_000)
    };
    let misreads = Agreement {
        unread: None,
        ..read(1_000_000)
    };
    let running = start(true, index());
    let mut own = revocation("inc-1", 7, &account());
    running.deliver(&own);
    sleep(Duration::from_secs(1)).await;
    running.bring_back(&mut own);
    assert_eq!(after(&running.server, 1).await, ["inc-1 True Enforced"]);
    // There is room for more of its namespace: what has none is another one's.
    running.agreement.send_replace(refuses);
    assert_eq!(running.sent(60).await, 0);
    running.agreement.send_replace(read(1_000_000));
    assert_eq!(running.sent(1).await, 0);
    // One replica tells of it before the other has read it.
    running.agreement.send_replace(misreads);
    assert_eq!(running.sent(14).await, 0);
    running.agreement.send_replace(read(1_000_000));
    assert_eq!(running.sent(60).await, 0);
    running.agreement.send_replace(misreads);
    assert_eq!(after(&running.server, 17).await, ["inc-1 False Pending"]);
    let new = revocation("inc-2", 8, &json!({"target": {"pod": "orders-0"}}));
    running.deliver(&new);
    assert_eq!(after(&running.server, 1).await, ["inc-2 False Pending"]);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_fails_is_tried_again_ever_more_rarely() {
    let running = start(true, index());
    running.server.lock().unwrap().status_refusal = Some(500);
    running.deliver(&revocation("inc-1", 7, &account()));
    let first = running.sent(60).await;
    assert!((6..=9).contains(&first), "{first} tries");
    let then = running.sent(600).await;
    assert!((10..=20).contains(&then), "{then} tries");
    // What else happens is no reason to try at once.
    running.deliver(&revocation("inc-2", 8, &account()));
    sleep(Duration::from_millis(400)).await;
    assert_eq!(after(&running.server, 0).await, ["inc-2 True Enforced"]);
    running.server.lock().unwrap().status_refusal = None;
    let sent = after(&running.server, 61).await;
    assert!(sent.contains(&"inc-1 True Enforced".to_owned()), "{sent:?}");
    assert!(!running.events().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_is_told_once() {
    let running = start(true, index());
    running.index.deliver_unreadable_revocation("broken");
    assert_eq!(after(&running.server, 1).await, ["broken False Invalid"]);
    running.index.deliver_unreadable_revocation("broken");
    assert_eq!(running.sent(4000).await, 0);
    assert_eq!(running.events().len(), 1);
    let unlockable = json!({"target": {"tokenID": "f2b1"}, "effect": "Lock"});
    running.deliver(&revocation("locks", 7, &unlockable));
    assert_eq!(after(&running.server, 1).await, ["locks False Invalid"]);
}
