//! The controller against an API server that lists pods as one does.

use hallpass_crds::token_policy::{TokenPolicy, TokenPolicyStatus};
use k8s_openapi::api::core::v1::Namespace as NamespaceObject;
use kube::core::PartialObjectMeta;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::*;
use crate::{
    controller::fixture::{self, Shared, after, asking, client, context},
    index::Stored,
};

mod evictions;
mod lists;
mod writes;

/// A pod without the sidecar, of a Deployment.
fn pod(namespace: &str, name: &str, account: &str, labels: Value) -> Value {
    json!({
        "metadata": {
            "namespace": namespace, "name": name, "uid": format!("uid-{name}"), "labels": labels,
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": format!("{account}-5d9"),
                "uid": format!("uid-{account}"), "controller": true,
            }],
        },
        "spec": {"serviceAccountName": account},
        "status": {"phase": "Running"},
    })
}

/// A policy for that account, on which the other controller has reported.
fn policy(namespace: &str, name: &str, account: &str, more: &[Value]) -> TokenPolicy {
    let ready = json!({
        "type": "Ready", "status": "True", "reason": "Ready", "message": "", "lastTransitionTime": fixture::NOON,
    });
    let conditions: Vec<Value> = [&[ready], more].concat();
    TokenPolicy {
        status: serde_json::from_value(json!({"conditions": conditions})).unwrap(),
        ..asking(namespace, name, &[account], "read")
    }
}

fn namespaces(names: &[&str], inject: &str) -> Vec<PartialObjectMeta<NamespaceObject>> {
    let label = ("hallpass.dev/inject", inject);
    names
        .iter()
        .map(|name| fixture::namespace(name, label))
        .collect()
}

struct Running {
    server: Shared,
    index: Index,
    leader: watch::Sender<Tenure>,
    metrics: Metrics,
}

fn start(policies: Vec<TokenPolicy>, pods: Vec<Value>) -> Running {
    start_with(policies, pods, None)
}

fn start_with(
    policies: Vec<TokenPolicy>,
    pods: Vec<Value>,
    evictions: Option<Evictions>,
) -> Running {
    let server = Shared::default();
    server.lock().unwrap().pods.stored = pods;
    let index = Index::filled(policies, vec![], vec![]);
    let (leader, leads) = watch::channel(Tenure::of(true));
    let metrics = Metrics::default();
    let task = run(
        index.clone(),
        client(&server),
        leads,
        context(),
        metrics.clone(),
        evictions,
    );
    tokio::spawn(task);
    Running {
        server,
        index,
        leader,
        metrics,
    }
}

impl Running {
    /// Lets so much time pass; returns what was written in it, and the watch brings it back.
    async fn writes(&self, seconds: u64) -> Vec<String> {
        sleep(Duration::from_secs(seconds)).await;
        let statuses = self.server.lock().unwrap().statuses.clone();
        for sent in &statuses {
            let query = sent["query"].as_str().unwrap();
            assert!(
                query.contains("fieldManager=hallpass-operator-injection"),
                "{query}"
            );
            let name = sent["body"]["metadata"]["name"].as_str().unwrap();
            let status = sent["body"]["status"].as_object().unwrap();
            assert_eq!(status.keys().collect::<Vec<_>>(), ["conditions"]);
            let conditions = status["conditions"].as_array().unwrap();
            let mut policy = policy("shop", name, name, conditions);
            policy.metadata.resource_version = Some("2".to_owned());
            self.index.deliver(Stored(Ok(policy)));
        }
        after(&self.server, 0).await
    }

    fn events(&self) -> Vec<String> {
        let events = std::mem::take(&mut self.server.lock().unwrap().events);
        let line = |e: &Value| {
            let of = |path: &str| {
                e.pointer(path)
                    .and_then(Value::as_str)
                    .unwrap_or("-")
                    .to_owned()
            };
            format!("{} {} {}", of("/type"), of("/reason"), of("/regarding/uid"))
        };
        events.iter().map(line).collect()
    }

    fn lists(&self) -> Vec<String> {
        std::mem::take(&mut self.server.lock().unwrap().pods.lists)
    }

    fn uninjected(&self) -> Vec<String> {
        let text = self.metrics.encode().unwrap();
        let lines = text
            .lines()
            .filter_map(|l| l.strip_prefix("hallpass_uninjected_pods{reason="));
        let mut lines: Vec<_> = lines.map(str::to_owned).collect();
        lines.sort();
        lines
    }

    fn pods(&self, pods: Vec<Value>) {
        self.server.lock().unwrap().pods.stored = pods;
    }
}

#[tokio::test(start_paused = true)]
async fn t27_a_policy_says_which_of_its_pods_lack_the_sidecar_until_none_does() {
    let lacking = vec![pod(
        "shop",
        "orders-5d9-x",
        "orders",
        json!({"pod-template-hash": "5d9"}),
    )];
    let running = start(vec![policy("shop", "orders", "orders", &[])], lacking);
    assert_eq!(running.writes(1).await, ["orders False PodsWithoutSidecar"]);
    assert_eq!(
        running.events(),
        [
            "Warning PodsWithoutSidecar uid-shop-orders",
            "Warning PodsWithoutSidecar uid-orders"
        ]
    );
    assert_eq!(
        running.uninjected(),
        [
            r#""NamespaceLabel"} 0"#,
            r#""PodLabel"} 0"#,
            r#""Policy"} 1"#
        ]
    );
    assert_eq!(
        running.lists(),
        [
            "* hallpass.dev/inject=true,!hallpass.dev/injected status.phase!=Succeeded,status.phase!=Failed 50",
            "shop hallpass.dev/inject!=false,!hallpass.dev/injected status.phase!=Succeeded,status.phase!=Failed 100",
            "shop hallpass.dev/inject!=false,!hallpass.dev/injected spec.serviceAccountName=orders,status.phase!=Succeeded,status.phase!=Failed 200",
        ]
    );
    // It is looked at again every minute, and said once.
    assert_eq!(running.writes(600).await, [] as [&str; 0]);
    assert_eq!(running.events(), [] as [&str; 0]);
    let lists = running.lists().len();
    assert!((29..=31).contains(&lists), "{lists} lists in ten minutes");
    running.pods(vec![pod(
        "shop",
        "orders-5d9-x",
        "orders",
        json!({"hallpass.dev/injected": "true"}),
    )]);
    assert_eq!(running.writes(61).await, ["orders True AllInjected"]);
    assert_eq!(running.events(), ["Normal AllInjected uid-shop-orders"]);
    assert_eq!(
        running.uninjected(),
        [
            r#""NamespaceLabel"} 0"#,
            r#""PodLabel"} 0"#,
            r#""Policy"} 0"#
        ]
    );
    // Where nothing lacks it, a namespace costs one request.
    running.lists();
    assert_eq!(running.writes(60).await, [] as [&str; 0]);
    assert_eq!(running.lists().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn t27_only_pods_that_could_have_it_count() {
    let asks = || json!({"hallpass.dev/inject": "true"});
    let mut mirror = pod("shop", "mirror", "orders", asks());
    mirror["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"});
    let mut leaves = pod("shop", "leaves", "orders", asks());
    leaves["metadata"]["deletionTimestamp"] = json!(fixture::NOON);
    let mut finished = pod("shop", "finished", "orders", asks());
    finished["status"]["phase"] = json!("Succeeded");
    let running = start(
        vec![policy("shop", "orders", "orders", &[])],
        vec![
            mirror,
            leaves,
            finished,
            pod(
                "shop",
                "refuses",
                "orders",
                json!({"hallpass.dev/inject": "false"}),
            ),
            pod("shop", "other", "billing", json!({})),
            pod("kube-system", "dns", "dns", asks()),
            pod("kube-node-lease", "lease", "lease", asks()),
            pod("hallpass-system", "hallpass", "hallpass", asks()),
            pod("hallpass-system-keys", "key", "key", asks()),
        ],
    );
    assert_eq!(running.writes(1).await, [] as [&str; 0]);
    assert_eq!(running.events(), [] as [&str; 0]);
    assert_eq!(
        running.uninjected(),
        [
            r#""NamespaceLabel"} 0"#,
            r#""PodLabel"} 0"#,
            r#""Policy"} 0"#
        ]
    );
    running.pods(vec![pod("hallpass-system-2", "mine", "orders", asks())]);
    assert_eq!(running.writes(61).await, [] as [&str; 0]);
    assert_eq!(running.events(), ["Warning PodsWithoutSidecar uid-orders"]);
    assert_eq!(running.uninjected()[1], r#""PodLabel"} 1"#);
}

#[tokio::test(start_paused = true)]
async fn f13_pods_of_a_labelled_namespace_count_without_a_policy() {
    let pods = (0..1200).map(|n| pod("shop", &format!("p-{n}"), "orders", json!({})));
    let running = start(vec![], pods.collect());
    running
        .index
        .allow(vec![], vec![], namespaces(&["shop", "kube-system"], "true"));
    assert_eq!(running.writes(10).await, [] as [&str; 0]);
    assert_eq!(running.uninjected()[0], r#""NamespaceLabel"} 1200"#);
    assert_eq!(running.events(), ["Warning PodsWithoutSidecar uid-orders"]);
    running
        .index
        .allow(vec![], vec![], namespaces(&["shop"], "maybe"));
    assert_eq!(running.writes(10).await, [] as [&str; 0]);
    assert_eq!(running.uninjected()[0], r#""NamespaceLabel"} 0"#);
}

#[tokio::test(start_paused = true)]
async fn what_changed_is_looked_at_soon_and_alone() {
    let lacking = vec![pod("shop", "orders-5d9-x", "orders", json!({}))];
    let running = start(vec![policy("bank", "ledger", "ledger", &[])], lacking);
    running.writes(1).await;
    running.lists();
    running
        .index
        .deliver(Stored(Ok(policy("shop", "orders", "orders", &[]))));
    assert_eq!(running.writes(3).await, ["orders False PodsWithoutSidecar"]);
    let lists = running.lists();
    assert_eq!(lists.len(), 2);
    let alone = lists.iter().all(|list| list.starts_with("shop "));
    assert!(alone, "{lists:?}");
    // A status that somebody wrote is no change of what is asked for.
    let mut changed = policy("shop", "orders", "orders", &[]);
    changed.status = Some(TokenPolicyStatus::default());
    running.index.deliver(Stored(Ok(changed)));
    assert_eq!(running.writes(20).await, [] as [&str; 0]);
    assert_eq!(running.lists(), [] as [&str; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_condition_is_not_the_first_thing_that_is_said_of_a_policy() {
    let mut new = policy("shop", "orders", "orders", &[]);
    new.status = Some(TokenPolicyStatus::default());
    let lacking = vec![pod("shop", "orders-5d9-x", "orders", json!({}))];
    let running = start(vec![new], lacking);
    assert_eq!(running.writes(30).await, [] as [&str; 0]);
    running
        .index
        .deliver(Stored(Ok(policy("shop", "orders", "orders", &[]))));
    let writes = running.writes(31).await;
    assert_eq!(writes, ["orders False PodsWithoutSidecar"]);
}

#[tokio::test(start_paused = true)]
async fn who_does_not_lead_looks_for_nothing_and_counts_nothing() {
    let lacking = vec![pod("shop", "orders-5d9-x", "orders", json!({}))];
    let running = start(vec![policy("shop", "orders", "orders", &[])], lacking);
    assert_eq!(running.writes(1).await.len(), 1);
    running.leader.send_replace(Tenure::of(false));
    sleep(Duration::from_millis(1)).await;
    running.lists();
    assert_eq!(running.writes(200).await, [] as [&str; 0]);
    assert_eq!(running.lists(), [] as [&str; 0]);
    assert_eq!(running.uninjected()[2], r#""Policy"} 0"#);
}
