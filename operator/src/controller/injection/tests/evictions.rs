//! What is evicted, and what is not.

use super::*;
use crate::controller::fixture::failure;

const NONE: [&str; 0] = [];

/// A pod without the sidecar that is an hour old, of a ReplicaSet for each account.
fn old(name: &str, account: &str, labels: Value) -> Value {
    created("2026-11-01T11:00:00Z", pod("shop", name, account, labels))
}

fn created(at: &str, mut pod: Value) -> Value {
    pod["metadata"]["creationTimestamp"] = json!(at);
    pod
}

/// What takes the place of a pod that is evicted at noon.
fn new(name: &str, labels: Value) -> Value {
    created("2026-11-01T12:00:05Z", pod("shop", name, "orders", labels))
}

fn asks() -> Value {
    json!({"hallpass.dev/inject": "true"})
}

fn injected() -> Value {
    json!({"hallpass.dev/inject": "true", "hallpass.dev/injected": "true"})
}

fn evicting(pods: Vec<Value>) -> Running {
    let policies = vec![policy("shop", "orders", "orders", &[])];
    start_with(policies, pods, Some(Evict::Selected))
}

impl Running {
    /// Lets so much time pass; returns the names of the pods whose eviction was asked for in it.
    async fn evictions(&self, seconds: u64) -> Vec<String> {
        after(&self.server, seconds).await;
        let evictions = std::mem::take(&mut self.server.lock().unwrap().pods.evictions);
        let name = |eviction: &Value| eviction["metadata"]["name"].as_str().unwrap().to_owned();
        evictions.iter().map(name).collect()
    }

    fn outcomes(&self, outcome: &str) -> u32 {
        let text = self.metrics.encode().unwrap();
        let series = format!("hallpass_evictions_total{{outcome=\"{outcome}\"}} ");
        let mut lines = text.lines();
        let count = lines.find_map(|line| line.strip_prefix(&series)).unwrap();
        count.parse().unwrap()
    }

    fn add(&self, pod: Value) {
        self.server.lock().unwrap().pods.stored.push(pod);
    }

    fn refuse(&self, refusal: Option<(u16, Value)>) {
        self.server.lock().unwrap().pods.eviction_refusal = refusal;
    }

    /// What was told in events since the last time that holds these words.
    fn told(&self, words: &str) -> usize {
        let events = std::mem::take(&mut self.server.lock().unwrap().events);
        let note = |event: &&Value| event["note"].as_str().unwrap().contains(words);
        events.iter().filter(note).count()
    }
}

/// What an API server answers where a budget is exhausted.
fn budget() -> Option<(u16, Value)> {
    let (code, mut status) = failure(429);
    status["reason"] = json!("TooManyRequests");
    status["details"] = json!({"causes": [{"reason": "DisruptionBudget", "message": "needs 2"}]});
    Some((code, status))
}

#[tokio::test(start_paused = true)]
async fn evicts_one_pod_of_an_owner_and_another_once_one_with_the_sidecar_runs_in_its_place() {
    let oldest = created(
        "2026-11-01T10:00:00Z",
        pod("shop", "orders-1", "orders", json!({})),
    );
    let running = evicting(vec![
        old("orders-0", "orders", json!({})),
        oldest,
        old("orders-2", "orders", asks()),
    ]);
    sleep(Duration::from_secs(61)).await;
    let sent = running.server.lock().unwrap().pods.evictions.clone();
    // Those that ask by their own label are looked at first.
    let exactly = json!({
        "apiVersion": "policy/v1", "kind": "Eviction",
        "metadata": {"namespace": "shop", "name": "orders-2"},
        "deleteOptions": {"preconditions": {"uid": "uid-orders-2"}},
    });
    assert_eq!(sent, [exactly]);
    assert_eq!(running.evictions(0).await, ["orders-2"]);
    assert_eq!(running.told("orders-2 was evicted"), 1);
    assert_eq!(running.evictions(200).await, NONE);
    let mut replacement = new("orders-3", injected());
    replacement["status"]["phase"] = json!("Pending");
    running.add(replacement.clone());
    assert_eq!(running.evictions(200).await, NONE, "it has not started");
    replacement["status"]["phase"] = json!("Running");
    running.pods(vec![
        old("orders-0", "orders", json!({})),
        created(
            "2026-11-01T10:00:00Z",
            pod("shop", "orders-1", "orders", json!({})),
        ),
        replacement,
    ]);
    assert_eq!(running.evictions(61).await, ["orders-1"], "the oldest");
    // Nothing takes the place of that one.
    running.pods(vec![old("orders-0", "orders", json!({}))]);
    assert_eq!(running.evictions(200).await, NONE);
    assert_eq!(running.outcomes("Evicted"), 2);
}

#[tokio::test(start_paused = true)]
async fn what_a_budget_refuses_stays_and_is_asked_for_at_the_next_look() {
    let pods = ["orders-0", "orders-1"].map(|name| old(name, "orders", json!({})));
    let running = evicting(pods.into());
    running.refuse(budget());
    assert_eq!(running.evictions(61).await, ["orders-0"]);
    assert_eq!(running.evictions(60).await, ["orders-0"]);
    assert_eq!(running.server.lock().unwrap().pods.stored.len(), 2);
    assert_eq!(running.outcomes("RefusedByBudget"), 2);
    assert_eq!(running.told("evicted"), 0);
    running.refuse(None);
    assert_eq!(running.evictions(60).await, ["orders-0"]);
    assert_eq!(running.outcomes("Evicted"), 1);
    assert_eq!(running.outcomes("Failed"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_comes_back_as_it_was_is_the_last_of_its_owner() {
    let pods = ["orders-0", "orders-1"].map(|name| old(name, "orders", json!({})));
    let running = evicting(pods.into());
    assert_eq!(running.evictions(61).await, ["orders-0"]);
    running.told("");
    running.add(new("orders-2", json!({})));
    assert_eq!(running.evictions(61).await, NONE);
    assert_eq!(running.told("no more of them are evicted"), 1);
    // Not even once one has it, nor at any later look.
    running.add(new("orders-3", injected()));
    assert_eq!(running.evictions(3600).await, NONE);
    assert_eq!(running.told("evicted"), 0);
    assert_eq!(running.outcomes("Evicted"), 1);
}

#[tokio::test(start_paused = true)]
async fn only_pods_that_run_for_a_minute_and_are_made_anew_are_evicted() {
    let mut of_job = old("job-0", "job", asks());
    of_job["metadata"]["ownerReferences"][0]["apiVersion"] = json!("batch/v1");
    of_job["metadata"]["ownerReferences"][0]["kind"] = json!("Job");
    let mut of_nobody = old("nobody", "nobody", asks());
    of_nobody["metadata"]["ownerReferences"] = json!([]);
    let young = pod("shop", "young-0", "young", asks());
    let young = created("2026-11-01T11:59:01Z", young);
    let mut starts = old("starts-0", "starts", asks());
    starts["status"]["phase"] = json!("Pending");
    let mut leaves = old("leaves-0", "leaves", asks());
    leaves["metadata"]["deletionTimestamp"] = json!(fixture::NOON);
    let mut system = old("dns-0", "dns", asks());
    system["metadata"]["namespace"] = json!("kube-system");
    let untold = pod("shop", "untold-0", "untold", asks());
    let refuses = old("no-0", "orders", json!({"hallpass.dev/inject": "false"}));
    let mistyped = old("yes-0", "orders", json!({"hallpass.dev/inject": "yes"}));
    let running = evicting(vec![
        of_job, of_nobody, young, starts, leaves, system, untold, refuses, mistyped,
    ]);
    assert_eq!(running.evictions(200).await, NONE);
    running.add(created(
        "2026-11-01T11:59:00Z",
        pod("shop", "old-0", "old", asks()),
    ));
    assert_eq!(running.evictions(61).await, ["old-0"]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_evicted_unless_that_is_asked_for() {
    let pods = || {
        vec![
            old("selected", "orders", json!({})),
            old("labelled", "other", asks()),
        ]
    };
    let policies = || vec![policy("shop", "orders", "orders", &[])];
    let running = start(policies(), pods());
    assert_eq!(running.evictions(200).await, NONE);
    let running = start_with(policies(), pods(), Some(Evict::Labelled));
    assert_eq!(running.evictions(200).await, ["labelled"]);
    assert_eq!(running.uninjected()[2], r#""Policy"} 1"#);
    let running = start_with(policies(), pods(), Some(Evict::Selected));
    assert_eq!(running.evictions(200).await, ["labelled", "selected"]);
}

#[tokio::test(start_paused = true)]
async fn where_the_label_of_the_namespace_keeps_the_sidecar_away_nothing_is_evicted() {
    for (label, evicted) in [
        ("false", &[][..]),
        ("yes", &[][..]),
        ("true", &["orders-0"][..]),
    ] {
        let running = evicting(vec![old("orders-0", "orders", json!({}))]);
        let labelled = namespaces(&["shop"], label);
        running.index.allow(vec![], vec![], labelled);
        assert_eq!(running.evictions(200).await, evicted, "{label}");
    }
}

#[tokio::test(start_paused = true)]
async fn only_the_leader_evicts_and_another_one_remembers_nothing() {
    let running = evicting(vec![]);
    sleep(Duration::from_secs(1)).await;
    running.leader.send_replace(false);
    let pods = ["orders-0", "orders-1"].map(|name| old(name, "orders", json!({})));
    running.pods(pods.into());
    assert_eq!(running.evictions(200).await, NONE);
    running.leader.send_replace(true);
    assert_eq!(running.evictions(59).await, NONE, "not in the first look");
    assert_eq!(running.evictions(200).await, ["orders-0"]);
    running.leader.send_replace(false);
    assert_eq!(running.evictions(200).await, NONE);
    running.leader.send_replace(true);
    assert_eq!(running.evictions(200).await, ["orders-1"]);
}

#[tokio::test(start_paused = true)]
async fn few_are_evicted_in_a_look_and_none_while_ten_did_not_come_back() {
    let pods = (0..40).map(|n| {
        let mut pod = old(&format!("p-{n}"), &format!("a-{n}"), asks());
        pod["metadata"]["namespace"] = json!(format!("n-{n}"));
        pod
    });
    let running = evicting(pods.collect());
    assert_eq!(running.evictions(70).await.len(), 5);
    assert_eq!(running.evictions(60).await.len(), 5);
    assert_eq!(running.evictions(1000).await, NONE);
    assert_eq!(running.outcomes("Evicted"), 10);
}

#[tokio::test(start_paused = true)]
async fn those_that_a_budget_refuses_keep_no_others_waiting() {
    let pods = (0..20).map(|n| old(&format!("p-{n:02}"), &format!("a-{n:02}"), asks()));
    let running = evicting(pods.collect());
    running.refuse(budget());
    assert_eq!(running.evictions(110).await.len(), 20);
}

#[tokio::test(start_paused = true)]
async fn what_fails_is_tried_again_unless_it_may_have_been_done() {
    let pods = || vec![old("p-0", "a", asks()), old("p-1", "b", asks())];
    for (code, outcome) in [
        (500, "Failed"),
        (403, "Failed"),
        (429, "Failed"),
        (404, "Gone"),
        (409, "Gone"),
    ] {
        let running = evicting(pods());
        running.refuse(Some(failure(code)));
        assert_eq!(running.evictions(70).await, ["p-0", "p-1"], "{code}");
        assert_eq!(running.evictions(60).await, ["p-0", "p-1"], "{code}");
        assert_eq!(running.outcomes(outcome), 4, "{code}");
        running.refuse(None);
        assert_eq!(running.evictions(60).await, ["p-0", "p-1"], "{code}");
    }
    let running = evicting(pods());
    running.refuse(Some(failure(504)));
    assert_eq!(running.evictions(70).await, ["p-0", "p-1"]);
    running.refuse(None);
    assert_eq!(running.evictions(200).await, NONE);
    assert_eq!(running.outcomes("Failed"), 2);
}
