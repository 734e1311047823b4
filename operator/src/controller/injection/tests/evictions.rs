//! What is evicted, and what is not.

use super::*;
use crate::{config::Evict, controller::fixture::failure};

mod undefined;

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

/// One of the first, that became ready with the sidecar.
fn ready(name: &str) -> Value {
    let mut pod = new(name, injected());
    pod["status"]["conditions"] = json!([{"type": "Ready", "status": "True"}]);
    pod
}

fn injected() -> Value {
    json!({"hallpass.dev/inject": "true", "hallpass.dev/injected": "true"})
}

fn evicting(pods: Vec<Value>) -> Running {
    let policies = vec![policy("shop", "orders", "orders", &[])];
    start_with(policies, pods, Some(evictions(Evict::Selected)))
}

/// In a cluster that has what injection needs.
fn evictions(which: Evict) -> Evictions {
    let (_, fit) = watch::channel(Ok(()));
    Evictions { which, fit }
}

impl Running {
    /// Lets so much time pass; returns the names of the pods whose eviction was asked for in it.
    async fn evictions(&self, seconds: u64) -> Vec<String> {
        for _ in 0..seconds {
            self.index.standing().be_current(Instant::now());
            after(&self.server, 1).await;
        }
        let evictions = std::mem::take(&mut self.server.lock().unwrap().pods.evictions);
        let name = |eviction: &Value| eviction["metadata"]["name"].as_str().unwrap().to_owned();
        evictions.iter().map(name).collect()
    }

    /// In so many namespaces it has stopped.
    fn stopped(&self) -> u32 {
        let text = self.metrics.encode().unwrap();
        let mut lines = text.lines();
        let count = lines.find_map(|line| line.strip_prefix("hallpass_evictions_stopped "));
        count.unwrap().parse().unwrap()
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
async fn evicts_one_pod_and_another_once_one_is_ready_with_the_sidecar_in_its_place() {
    let oldest = || {
        let pod = pod("shop", "orders-1", "orders", json!({}));
        created("2026-11-01T10:00:00Z", pod)
    };
    let running = evicting(vec![
        old("orders-0", "orders", json!({})),
        oldest(),
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
    assert_eq!(running.evictions(1).await, ["orders-2"]);
    assert_eq!(running.told("orders-2 was evicted"), 1);
    let mut replacement = new("orders-3", injected());
    for phase in ["Pending", "Running"] {
        replacement["status"]["phase"] = json!(phase);
        running.pods(vec![
            old("orders-0", "orders", json!({})),
            oldest(),
            replacement.clone(),
        ]);
        assert_eq!(running.evictions(200).await, NONE, "{phase} is not ready");
    }
    running.pods(vec![
        old("orders-0", "orders", json!({})),
        oldest(),
        ready("orders-3"),
    ]);
    assert_eq!(running.evictions(61).await, ["orders-1"], "the oldest");
    assert_eq!(running.outcomes("Evicted"), 2);
}

#[tokio::test(start_paused = true)]
async fn what_a_budget_refuses_stays_and_another_one_has_its_turn_at_the_next_look() {
    let pods = ["orders-0", "orders-1"].map(|name| old(name, "orders", json!({})));
    let running = evicting(pods.into());
    running.refuse(budget());
    assert_eq!(running.evictions(61).await, ["orders-0"]);
    assert_eq!(running.evictions(60).await, ["orders-1"]);
    assert_eq!(running.evictions(60).await, ["orders-0"]);
    assert_eq!(running.server.lock().unwrap().pods.stored.len(), 2);
    assert_eq!(running.outcomes("RefusedByBudget"), 3);
    assert_eq!(running.told("evicted"), 0);
    running.refuse(None);
    assert_eq!(running.evictions(60).await, ["orders-1"]);
    assert_eq!(running.outcomes("Evicted"), 1);
    assert_eq!(running.outcomes("Failed"), 0);
}

#[tokio::test(start_paused = true)]
async fn where_the_first_of_all_comes_back_as_it_was_it_is_the_last() {
    let mut elsewhere = old("billing-0", "billing", asks());
    elsewhere["metadata"]["namespace"] = json!("team");
    let pods = ["orders-0", "orders-1"].map(|name| old(name, "orders", asks()));
    let running = evicting([&pods[..], &[elsewhere]].concat());
    assert_eq!(running.evictions(61).await, ["orders-0"], "alone");
    running.told("");
    running.add(new("orders-2", json!({})));
    assert_eq!(running.evictions(61).await, NONE);
    assert_eq!(running.told("no more pods of the cluster are evicted"), 1);
    assert_eq!(running.stopped(), 1);
    // Not even once one has it, nor at any later look.
    running.add(ready("orders-3"));
    assert_eq!(running.evictions(3600).await, NONE);
    assert_eq!(running.told("evicted"), 0);
    assert_eq!(running.outcomes("Evicted"), 1);
    running.leader.send_replace(Tenure::of(false));
    assert_eq!(running.evictions(1).await, NONE);
    assert_eq!(running.stopped(), 0, "another replica tells");
}

#[tokio::test(start_paused = true)]
async fn where_nothing_is_ready_in_half_an_hour_none_is_evicted_any_more() {
    let pods = ["orders-0", "orders-1"].map(|name| old(name, "orders", json!({})));
    let running = evicting(pods.into());
    assert_eq!(running.evictions(61).await, ["orders-0"]);
    running.told("");
    // With the sidecar, but it never becomes ready.
    running.add(new("orders-2", injected()));
    assert_eq!(running.evictions(1790).await, NONE);
    assert_eq!((running.stopped(), running.told("half an hour")), (0, 0));
    assert_eq!(running.evictions(90).await, NONE);
    assert_eq!(running.told("half an hour ago"), 1);
    assert_eq!(running.stopped(), 1);
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
    let old = pod("shop", "old-0", "old", asks());
    running.add(created("2026-11-01T11:59:00Z", old));
    // The one that starts has its turn, too.
    assert_eq!(running.evictions(121).await, ["old-0"]);
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
    let running = start_with(policies(), pods(), Some(evictions(Evict::Labelled)));
    assert_eq!(running.evictions(61).await, ["labelled"]);
    running.add(ready("replacement"));
    running.server.lock().unwrap().pods.stored[1]["metadata"]["ownerReferences"][0]["name"] =
        json!("other-5d9");
    assert_eq!(running.evictions(200).await, NONE);
    assert_eq!(running.uninjected()[2], r#""Policy"} 1"#);
    let selected = vec![old("selected", "orders", json!({}))];
    let running = start_with(policies(), selected, Some(evictions(Evict::Selected)));
    assert_eq!(running.evictions(61).await, ["selected"]);
}

#[tokio::test(start_paused = true)]
async fn what_the_label_of_the_namespace_says_decides_for_pods_without_one() {
    for (label, which, evicted) in [
        ("false", Evict::Selected, &[][..]),
        ("yes", Evict::Selected, &[][..]),
        ("true", Evict::Selected, &["orders-0"][..]),
        ("true", Evict::Labelled, &["orders-0"][..]),
    ] {
        let policies = vec![policy("shop", "orders", "orders", &[])];
        let pods = vec![old("orders-0", "orders", json!({}))];
        let running = start_with(policies, pods, Some(evictions(which)));
        let labelled = namespaces(&["shop"], label);
        running.index.allow(vec![], vec![], labelled);
        assert_eq!(running.evictions(200).await, evicted, "{label}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_changes_while_a_namespace_is_looked_at_counts() {
    // To look at so many accounts takes seconds.
    let names: Vec<String> = (0..40).map(|n| format!("a-{n:02}")).collect();
    let policies = || names.iter().map(|name| policy("shop", name, name, &[]));
    for (changes, evicted) in [(false, &["p-0"][..]), (true, &[][..])] {
        let pods = vec![old("p-0", "a-00", json!({}))];
        let policies = policies().collect();
        let running = start_with(policies, pods, Some(evictions(Evict::Selected)));
        // The first look takes as long.
        assert_eq!(running.evictions(62).await, NONE);
        if changes {
            let closed = namespaces(&["shop"], "false");
            running.index.allow(vec![], vec![], closed);
        }
        assert_eq!(running.evictions(20).await, evicted, "{changes}");
    }
}

#[tokio::test(start_paused = true)]
async fn only_the_leader_evicts_and_another_one_remembers_nothing() {
    let running = evicting(vec![]);
    sleep(Duration::from_secs(1)).await;
    running.leader.send_replace(Tenure::over());
    let pods = ["orders-0", "orders-1"].map(|name| old(name, "orders", json!({})));
    running.pods(pods.into());
    assert_eq!(running.evictions(200).await, NONE, "it was not told yet");
    running.leader.send_replace(Tenure::of(false));
    assert_eq!(running.evictions(200).await, NONE);
    running.leader.send_replace(Tenure::of(true));
    assert_eq!(running.evictions(59).await, NONE, "not in the first look");
    assert_eq!(running.evictions(200).await, ["orders-0"]);
    running.leader.send_replace(Tenure::of(false));
    assert_eq!(running.evictions(200).await, NONE);
    running.leader.send_replace(Tenure::of(true));
    assert_eq!(running.evictions(200).await, ["orders-1"]);
}

/// One in each of forty namespaces.
fn everywhere() -> Vec<Value> {
    let pods = (0..40).map(|n| {
        let mut pod = old(&format!("p-{n:02}"), &format!("a-{n:02}"), asks());
        pod["metadata"]["namespace"] = json!(format!("n-{n:02}"));
        pod
    });
    pods.collect()
}

#[tokio::test(start_paused = true)]
async fn the_first_of_all_is_evicted_alone_and_then_five_at_a_time() {
    let running = evicting(everywhere());
    assert_eq!(running.evictions(600).await, ["p-00"]);
    let mut replacement = ready("replacement");
    replacement["metadata"]["namespace"] = json!("n-00");
    replacement["metadata"]["ownerReferences"][0]["name"] = json!("a-00-5d9");
    running.add(replacement);
    let next: Vec<String> = (1..6).map(|n| format!("p-{n:02}")).collect();
    assert_eq!(running.evictions(61).await, next);
    assert_eq!(running.evictions(600).await, NONE);
    assert_eq!(running.stopped(), 0);
}

#[tokio::test(start_paused = true)]
async fn where_budgets_refuse_many_the_others_have_their_turn_at_the_next_look() {
    let running = evicting(everywhere());
    running.refuse(budget());
    let names = |from: usize| (from..from + 20).map(|n| format!("p-{n:02}"));
    assert_eq!(running.evictions(70).await, names(0).collect::<Vec<_>>());
    assert_eq!(running.evictions(60).await, names(20).collect::<Vec<_>>());
    assert_eq!(running.evictions(66).await, names(0).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_is_written_again_and_again_has_nothing_asked_for_more_often() {
    let running = evicting(vec![old("orders-0", "orders", json!({}))]);
    running.refuse(budget());
    assert_eq!(running.evictions(61).await, ["orders-0"]);
    for n in 0..10 {
        let name = format!("more-{n}");
        let policy = policy("shop", &name, "orders", &[]);
        running.index.deliver(Stored(Ok(policy)));
        assert_eq!(running.evictions(3).await, NONE);
    }
}

#[tokio::test(start_paused = true)]
async fn what_fails_is_tried_again_unless_it_may_have_been_done() {
    for (code, outcome) in [
        (403, "Failed"),
        (429, "Failed"),
        (404, "Gone"),
        (409, "Gone"),
    ] {
        let running = evicting(vec![old("p-0", "a", asks())]);
        running.refuse(Some(failure(code)));
        assert_eq!(running.evictions(70).await, ["p-0"], "{code}");
        assert_eq!(running.evictions(60).await, ["p-0"], "{code}");
        assert_eq!(running.outcomes(outcome), 2, "{code}");
        running.refuse(None);
        assert_eq!(running.evictions(60).await, ["p-0"], "{code}");
    }
    for code in [500, 502, 504] {
        let running = evicting(vec![old("p-0", "a", asks())]);
        running.refuse(Some(failure(code)));
        assert_eq!(running.evictions(70).await, ["p-0"], "{code}");
        running.refuse(None);
        assert_eq!(running.evictions(200).await, NONE, "{code}");
        assert_eq!(running.outcomes("Failed"), 1, "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_does_not_know_what_is_so_now_evicts_nothing() {
    let running = evicting(vec![old("orders-0", "orders", json!({}))]);
    // Nothing has said for a quarter of an hour what is so.
    running.server.lock().unwrap().pods.stored.clear();
    sleep(Duration::from_secs(1200)).await;
    running.add(old("orders-0", "orders", json!({})));
    sleep(Duration::from_secs(120)).await;
    assert_eq!(running.server.lock().unwrap().pods.evictions, NONE);
    assert_eq!(running.evictions(61).await, ["orders-0"]);
}

#[tokio::test(start_paused = true)]
async fn where_the_cluster_lacks_what_injection_needs_nothing_is_evicted() {
    let (tell, fit) = watch::channel(Err("not served".to_owned()));
    let which = Evict::Selected;
    let pods = vec![old("orders-0", "orders", json!({}))];
    let policies = vec![policy("shop", "orders", "orders", &[])];
    let running = start_with(policies, pods, Some(Evictions { which, fit }));
    assert_eq!(running.evictions(200).await, NONE);
    tell.send(Ok(())).unwrap();
    assert_eq!(running.evictions(61).await, ["orders-0"]);
}
