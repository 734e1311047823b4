//! What becomes of the index when the definitions of its kinds are deleted.

use hallpass_core::revocation::Marks;

use super::{super::fixture::revocation, *};
use crate::issuer::fixture::now;

/// A lock, as it was stored under that version.
fn lock(version: u64) -> Value {
    let spec = json!({"target": {"serviceAccount": "orders"}, "effect": "Lock"});
    serde_json::to_value(revocation("lock", version, &spec)).unwrap()
}

/// Longer than a watch request lasts.
const TURN: u64 = 6;

/// Kubernetes deletes the definitions, and with them every object.
async fn delete_definitions(server: &Shared) {
    {
        let mut server = server.lock().unwrap();
        server.definitions = Definitions::Going;
        let (policies, revocations) = (
            std::mem::take(&mut server.policies),
            std::mem::take(&mut server.revocations),
        );
        server.next = policies.iter().map(|o| event("DELETED", o)).collect();
        server.next_of_revocations = revocations.iter().map(|o| event("DELETED", o)).collect();
    }
    seconds(TURN).await;
    server.lock().unwrap().definitions = Definitions::Gone;
}

async fn synced() -> (Shared, Index) {
    let server = server();
    server.lock().unwrap().revocations = vec![lock(7)];
    let index = start(&server);
    seconds(1).await;
    assert!(is_locked(&index));
    (server, index)
}

fn is_locked(index: &Index) -> bool {
    let marks = Marks {
        namespace: "shop",
        service_account: "orders",
        pod: "orders-1",
        policy: "orders",
        audience: "a",
        issuer: None,
    };
    let revocations = index.revocations();
    revocations.ask(|set| set.admit(marks, now()).is_err())
}

fn missing(index: &Index) -> Vec<&'static str> {
    let kinds = Kind::DEFINED.iter().map(|kind| kind.as_str());
    let is_missing = |kind: &&str| {
        let line = format!("hallpass_definition_missing{{kind=\"{kind}\"}} 1");
        counted(index, &line)
    };
    kinds.filter(is_missing).collect()
}

#[tokio::test(start_paused = true)]
async fn f20_what_goes_with_its_definition_goes_on_for_as_long_as_the_api_server_answers() {
    let (server, index) = synced().await;
    delete_definitions(&server).await;
    for _ in 0..2 * 60 {
        seconds(60).await;
        assert_eq!(names(&index), ["orders"]);
        assert!(is_locked(&index));
        let heard = index.heard(Instant::now()).unwrap();
        assert!(heard <= freshness::LONGEST_LAG, "{heard:?}");
    }
    assert_eq!(missing(&index).len(), Kind::DEFINED.len());
    let queries = server.lock().unwrap().queries.len();
    seconds(60).await;
    let queries = server.lock().unwrap().queries.len() - queries;
    // One a second for each kind, and the watches of pods, namespaces and service accounts.
    assert!(queries <= 60 * 5 + 3 * 13, "{queries}");
    server.lock().unwrap().silent = true;
    seconds(60).await;
    let heard = index.heard(Instant::now()).unwrap().as_secs();
    assert!((60..=66).contains(&heard), "{heard}");
}

#[tokio::test(start_paused = true)]
async fn f20_a_definition_that_is_back_is_followed_and_what_it_lacks_goes_later() {
    let (server, index) = synced().await;
    delete_definitions(&server).await;
    seconds(3600).await;
    {
        let mut server = server.lock().unwrap();
        server.definitions = Definitions::Others;
        server.policies = vec![stored(&policy("shop", "more", "orders"))];
        let later = stored(&policy("shop", "later", "orders"));
        server.next = vec![event("ADDED", &later)];
    }
    seconds(TURN).await;
    assert_eq!(missing(&index), [] as [&str; 0]);
    assert_eq!(names(&index), ["later", "more", "orders"]);
    assert!(is_locked(&index), "for an hour");
    {
        let mut server = server.lock().unwrap();
        let later = stored(&policy("shop", "later", "orders"));
        server.next = vec![event("DELETED", &later)];
        server.next_of_revocations = vec![event("ADDED", &lock(70))];
    }
    seconds(TURN).await;
    assert_eq!(names(&index), ["more", "orders"]);
    assert!(is_locked(&index));
    server.lock().unwrap().next_of_revocations = vec![event("DELETED", &lock(70))];
    seconds(TURN).await;
    assert!(!is_locked(&index), "it was written again, and deleted");
    seconds(15 * 60 - 4 * TURN).await;
    assert_eq!(names(&index), ["more", "orders"]);
    seconds(4 * TURN).await;
    assert_eq!(names(&index), ["more"]);
}

#[tokio::test(start_paused = true)]
async fn f20_a_definition_that_was_replaced_between_two_watches_is_listed_anew() {
    let (server, index) = synced().await;
    {
        let mut server = server.lock().unwrap();
        server.definitions = Definitions::Others;
        server.policies = vec![];
        // The next watch has all that happened.
        let gone = stored(&policy("shop", "orders", "orders"));
        server.next = vec![event("DELETED", &gone)];
    }
    seconds(TURN).await;
    assert_eq!(names(&index), ["orders"]);
    seconds(15 * 60 + TURN).await;
    assert_eq!(names(&index), [] as [&str; 0]);
}

#[tokio::test(start_paused = true)]
async fn f20_a_single_object_that_is_deleted_goes_at_once() {
    let (server, index) = synced().await;
    {
        let mut server = server.lock().unwrap();
        let gone = stored(&policy("shop", "orders", "orders"));
        server.next = vec![event("DELETED", &gone)];
        server.next_of_revocations = vec![event("DELETED", &lock(7))];
    }
    seconds(TURN).await;
    assert_eq!(names(&index), [] as [&str; 0]);
    assert!(!is_locked(&index));
    assert_eq!(missing(&index), [] as [&str; 0]);
}

#[tokio::test(start_paused = true)]
async fn f20_a_kind_without_objects_is_missed_too() {
    let server = server();
    let index = start(&server);
    seconds(1).await;
    server.lock().unwrap().definitions = Definitions::Gone;
    seconds(2 * TURN).await;
    assert_eq!(missing(&index).len(), Kind::DEFINED.len());
    assert_eq!(names(&index), ["orders"]);
    assert!(counted(
        &index,
        r#"hallpass_watch_errors_total{kind="TokenRevocation"} 1"#
    ));
}

#[tokio::test(start_paused = true)]
async fn f20_a_replica_that_starts_without_the_definitions_knows_nothing() {
    let server = server();
    server.lock().unwrap().definitions = Definitions::Gone;
    let index = start(&server);
    seconds(3600).await;
    assert_eq!(index.snapshot().unwrap_err(), NotSynced);
    assert_eq!(missing(&index).len(), Kind::DEFINED.len());
    server.lock().unwrap().definitions = Definitions::There;
    seconds(2).await;
    assert_eq!(names(&index), ["orders"]);
}
