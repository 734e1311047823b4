//! What one write of a status is sent with, and when none is.

use hallpass_crds::token_policy::TokenPolicyStatus;

use super::*;
use crate::controller::{
    fixture::{Shared, client, noon},
    plan::Memories,
    status::Verdict,
};

fn condition() -> Condition {
    Verdict::ready("every token can be issued").condition::<TokenPolicyStatus>(None, noon(), None)
}

/// The first status of policy shop/orders, decided from that version of it.
fn write(resource_version: Option<&str>) -> Write<TokenPolicyStatus> {
    Write {
        namespace: "shop".into(),
        name: "orders".into(),
        uid: "uid-shop-orders".into(),
        resource_version: resource_version.map(Into::into),
        status: TokenPolicyStatus {
            conditions: vec![condition()],
            ..TokenPolicyStatus::default()
        },
        transition: true,
    }
}

fn writer(server: &Shared, tenure: Tenure) -> Writer {
    let (_, leader) = watch::channel(tenure);
    Writer::new(client(server), "hallpass-0", leader, Metrics::default())
}

fn sent(server: &Shared) -> (usize, usize) {
    let server = server.lock().unwrap();
    (server.statuses.len(), server.events.len())
}

#[tokio::test(start_paused = true)]
async fn f03_a_leader_whose_tenure_is_over_sends_nothing_although_nobody_told_it() {
    let server = Shared::default();
    let owner = ObjectReference {
        namespace: Some("shop".to_owned()),
        ..ObjectReference::default()
    };
    for (tenure, expected) in [(Tenure::over(), (0, 0)), (Tenure::of(true), (1, 2))] {
        let (writer, mut memories) = (writer(&server, tenure), Memories::default());
        writer.carry_out(vec![write(None)], &mut memories).await;
        writer.tell(owner.clone(), &condition()).await;
        assert_eq!(sent(&server), expected, "{tenure:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn f03_a_status_is_stored_for_the_version_that_it_was_decided_from() {
    let server = Shared::default();
    let (writer, mut memories) = (writer(&server, Tenure::of(true)), Memories::default());
    let retry = writer
        .carry_out(vec![write(Some("7"))], &mut memories)
        .await;
    assert_eq!(retry, None);
    let sent = server.lock().unwrap().statuses.pop().unwrap();
    let expected = json!({"name": "orders", "uid": "uid-shop-orders", "resourceVersion": "7"});
    assert_eq!(sent["body"]["metadata"], expected);
    // Of one that changed meanwhile nothing is told, and it is looked at again soon.
    server.lock().unwrap().status_refusal = Some(409);
    server.lock().unwrap().events.clear();
    let retry = writer
        .carry_out(vec![write(Some("7"))], &mut memories)
        .await;
    assert!(retry.unwrap() <= Instant::now() + Duration::from_secs(1));
    assert_eq!(server.lock().unwrap().events.len(), 0);
}
