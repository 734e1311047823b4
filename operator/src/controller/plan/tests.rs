use hallpass_core::policy::Policy;
use hallpass_crds::token_policy::TokenPolicyStatus;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::*;
use crate::{
    controller::status::Verdict,
    index::{
        Index,
        fixture::{policy, unreadable},
    },
};

fn status(pods: i32, tokens: &str) -> TokenPolicyStatus {
    TokenPolicyStatus {
        pods: Some(pods),
        tokens_ready: Some(tokens.to_owned()),
        ..TokenPolicyStatus::default()
    }
}

/// The policy as it is stored with that status.
fn stored(status: Option<TokenPolicyStatus>) -> Record<Policy, TokenPolicyStatus> {
    let mut policy = policy("shop", "orders", "orders");
    policy.status = status;
    let index = Index::filled(vec![policy], vec![], vec![]);
    index
        .snapshot()
        .unwrap()
        .policies("shop")
        .remove("orders")
        .unwrap()
        .unpacked()
}

fn broken() -> Record<Policy, TokenPolicyStatus> {
    let index = Index::filled(vec![], vec![], vec![]);
    index.deliver(unreadable("shop", "broken"));
    index
        .snapshot()
        .unwrap()
        .policies("shop")
        .remove("broken")
        .unwrap()
        .unpacked()
}

fn write(status: TokenPolicyStatus, transition: bool) -> Plan<TokenPolicyStatus> {
    Plan::Write { status, transition }
}

fn after(start: Instant, seconds: u64) -> Instant {
    start + Duration::from_secs(seconds)
}

#[test]
fn a_policy_without_a_status_gets_one() {
    let plan = Memory::default().plan(&stored(None), Instant::now(), |old| {
        assert_eq!(old, None);
        status(0, "1/1")
    });
    assert_eq!(plan, write(status(0, "1/1"), true));
}

#[test]
fn a_status_that_says_it_already_is_not_written() {
    let record = stored(Some(status(3, "1/1")));
    let plan = Memory::default().plan(&record, Instant::now(), |_| status(3, "1/1"));
    assert_eq!(plan, Plan::Nothing);
}

#[test]
fn a_condition_of_somebody_else_is_no_difference() {
    let mut old = status(3, "1/1");
    let foreign = serde_json::json!({
        "type": "Reviewed", "status": "True", "reason": "Fine", "message": "",
        "lastTransitionTime": "2026-11-01T00:00:00Z",
    });
    old.conditions
        .push(serde_json::from_value(foreign).unwrap());
    let plan = Memory::default().plan(&stored(Some(old)), Instant::now(), |_| status(3, "1/1"));
    assert_eq!(plan, Plan::Nothing);
}

#[test]
fn what_was_just_written_counts_before_the_watch_brings_it_back() {
    let (start, mut memory) = (Instant::now(), Memory::default());
    memory.wrote(status(3, "1/1"), start);
    let record = stored(None);
    let plan = memory.plan(&record, after(start, 1), |_| status(3, "1/1"));
    assert_eq!(plan, Plan::Nothing);
    // Later than that, what the watch says counts.
    let plan = memory.plan(&record, after(start, 5), |_| status(3, "1/1"));
    assert_eq!(plan, write(status(3, "1/1"), true));
}

#[test]
fn what_was_written_is_let_go_of_once_the_watch_has_brought_it_back() {
    let (start, mut memory) = (Instant::now(), Memory::default());
    memory.wrote(status(3, "1/1"), start);
    let older = stored(Some(status(2, "1/1")));
    memory.plan(&older, after(start, 1), |_| status(3, "1/1"));
    assert!(memory.written.as_ref().unwrap().status.is_some());
    let back = stored(Some(status(3, "1/1")));
    let plan = memory.plan(&back, after(start, 2), |_| status(3, "1/1"));
    assert_eq!(plan, Plan::Nothing);
    assert!(memory.written.as_ref().unwrap().status.is_none());
    // Whatever somebody else makes of it from then on is what is stored.
    let plan = memory.plan(&older, after(start, 3), |_| status(2, "1/1"));
    assert_eq!(plan, Plan::Nothing);
}

#[test]
fn what_was_written_is_what_the_api_server_stores() {
    let now = "2026-11-01T00:00:00.123456789Z".parse().unwrap();
    let condition = Verdict::ready("x").condition::<TokenPolicyStatus>(Some(1), now, None);
    let stored = serde_json::to_string(&condition).unwrap();
    assert_eq!(
        serde_json::from_str::<Condition>(&stored).unwrap(),
        condition
    );
}

#[tokio::test(start_paused = true)]
async fn nothing_is_remembered_of_what_is_as_it_should_be() {
    let mut memories = Memories::default();
    let plan = |memories: &mut Memories<_>, stored| {
        let mut writes = Vec::new();
        memories.plan("shop", [stored], |_, _| status(3, "1/1"), &mut writes);
        writes.pop()
    };
    let written = plan(&mut memories, stored(None)).unwrap();
    assert_eq!(memories.0.len(), 0, "that it is to be written");
    memories.wrote(&written.uid, written.status, Instant::now());
    let back = || stored(Some(status(3, "1/1")));
    assert!(plan(&mut memories, back()).is_none());
    assert_eq!(memories.0.len(), 1, "when it was written");
    tokio::time::advance(Duration::from_secs(10)).await;
    assert!(plan(&mut memories, back()).is_none());
    assert_eq!(memories.0.len(), 0);
    memories.failed(&written.uid, Instant::now(), 1.0);
    assert!(plan(&mut memories, back()).is_none());
    assert_eq!(memories.0.len(), 1, "that it failed");
}

#[test]
fn the_number_of_pods_alone_is_written_at_most_every_ten_seconds() {
    let (start, mut memory) = (Instant::now(), Memory::default());
    memory.wrote(status(3, "1/1"), start);
    let record = stored(Some(status(3, "1/1")));
    let mut plan = |seconds, wanted| memory.plan(&record, after(start, seconds), |_| wanted);
    assert_eq!(plan(1, status(4, "1/1")), Plan::Later(after(start, 10)));
    assert_eq!(plan(9, status(4, "1/1")), Plan::Later(after(start, 10)));
    assert_eq!(plan(10, status(4, "1/1")), write(status(4, "1/1"), false));
    assert_eq!(plan(1, status(4, "0/1")), write(status(4, "0/1"), false));
}

#[test]
fn failures_are_tried_again_ever_more_rarely_up_to_a_minute() {
    let (start, mut memory) = (Instant::now(), Memory::default());
    let record = stored(None);
    let pauses: Vec<u64> = (0..9)
        .map(|_| {
            memory.failed(start, 1.0);
            memory.retry().unwrap().duration_since(start).as_secs()
        })
        .collect();
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    let plan = memory.plan(&record, after(start, 59), |_| status(0, "1/1"));
    assert_eq!(plan, Plan::Later(after(start, 60)));
    let plan = memory.plan(&record, after(start, 60), |_| status(0, "1/1"));
    assert_eq!(plan, write(status(0, "1/1"), true));
    memory.wrote(status(0, "1/1"), start);
    assert_eq!(memory.retry(), None);
}

#[test]
fn the_status_of_an_unreadable_object_is_written_once() {
    let (start, mut memory) = (Instant::now(), Memory::default());
    let plan = memory.plan(&broken(), start, |_| status(0, "0/0"));
    assert_eq!(plan, write(status(0, "0/0"), true));
    memory.wrote(status(0, "0/0"), start);
    let plan = memory.plan(&broken(), after(start, 3600), |_| status(0, "0/0"));
    assert_eq!(plan, Plan::Nothing);
}
