//! What injects was taken away: nobody who was promised the sidecar goes without, and whoever goes
//! without is named.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hallpass_e2e::{
    cluster::{Cluster, Engine, engine, upgrade},
    command::kubectl,
    injection::check_bare,
    manifest::{Manifest, pod},
    operator::uninjected,
    wait::{not_yet, until},
};
use serde_json::{Value, json};

const POLICY: &str = "hallpass-injected";
const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn f13_without_what_injects_a_guaranteed_pod_is_refused_and_another_one_is_named()
-> Result<()> {
    let cluster = Cluster::alone("gone").await?;
    cluster.orders().await?;
    upgrade("injection.byPolicy=true").await?;
    let shown = shows(&cluster).await;
    // as it was for the other tests, whatever came of it: what is missing is made anew
    upgrade("injection.byPolicy=false").await?;
    shown?;
    until(MINUTE, "pods are injected again", || async {
        let labelled = pod("shape").injected();
        marked(&cluster.create(&labelled).accepted().await?)
    })
    .await
}

async fn shows(cluster: &Cluster) -> Result<()> {
    until(MINUTE, "injection by policy", || async {
        marked(&cluster.create(&named_by_policy()).accepted().await?)
    })
    .await?;
    let (kinds, why): (&[&str], _) = match engine()? {
        Engine::AdmissionPolicy => (
            &["mutatingadmissionpolicy", "mutatingadmissionpolicybinding"],
            "the sidecar is missing: MutatingAdmissionPolicy hallpass-inject or its bindings are gone \
             (kubectl get mutatingadmissionpolicies,mutatingadmissionpolicybindings)",
        ),
        Engine::Webhook => (
            &["mutatingwebhookconfiguration"],
            "the sidecar is missing: MutatingWebhookConfiguration hallpass-inject is gone or does not ask the operator",
        ),
    };
    for kind in kinds {
        let ours = "app.kubernetes.io/instance=hallpass";
        kubectl(&["delete", kind, "-l", ours]).await?.success()?;
    }
    let (labelled, why) = (pod("shape").injected(), [why]);
    until(MINUTE, "a labelled pod is refused", || {
        cluster.create(&labelled).refused_by(POLICY, &why)
    })
    .await?;
    let label = "hallpass.dev/inject=true";
    let namespace = cluster.beside("gone-labelled").await?;
    kubectl(&["label", "namespace", &namespace.namespace, label])
        .await?
        .success()?;
    let plain = pod("shape");
    until(MINUTE, "a pod of a labelled namespace is refused", || {
        namespace.create(&plain).refused_by(POLICY, &why)
    })
    .await?;
    let bare = named_by_policy();
    check_bare(&cluster.create(&bare).accepted().await?).context("named by a policy alone")?;
    cluster.apply(&workload(&bare).to_string()).await?;
    is_named(cluster).await
}

/// The policy says that pods of its lack the sidecar, and so does an Event on what made them.
async fn is_named(cluster: &Cluster) -> Result<()> {
    until(3 * MINUTE, "the policy says so", || async {
        let get = ["get", "tokenpolicies.hallpass.dev", "orders", "-o", "json"];
        let policy: Value = serde_json::from_str(&cluster.kubectl(&get).await?.success()?)?;
        let conditions = policy["status"]["conditions"].as_array();
        let mut conditions = conditions.into_iter().flatten();
        let injected = conditions.find(|condition| condition["type"] == "Injected");
        let injected = injected.context("condition Injected")?;
        let message = injected["message"].as_str().context("a message")?;
        ensure!(
            injected["status"] == "False" && injected["reason"] == "PodsWithoutSidecar",
            "{injected}"
        );
        ensure!(
            message.contains("1 pod that this policy selects") && message.contains("orders-"),
            "{message}"
        );
        Ok(())
    })
    .await?;
    until(MINUTE, "it is counted", || async {
        let count = uninjected().await?;
        ensure!(count == 1.0, not_yet(count));
        Ok(())
    })
    .await?;
    until(MINUTE, "an Event on the ReplicaSet", || async {
        let get = ["get", "events.events.k8s.io", "-o", "json"];
        let events: Value = serde_json::from_str(&cluster.kubectl(&get).await?.success()?)?;
        let mut events = events["items"].as_array().into_iter().flatten();
        let told = events.any(|event| {
            event["reason"] == "PodsWithoutSidecar"
                && event["regarding"]["kind"] == "ReplicaSet"
                && event["regarding"]["name"] == "orders"
        });
        if told {
            Ok(())
        } else {
            Err(not_yet("no Event"))
        }
    })
    .await
}

fn marked(pod: &Value) -> Result<()> {
    let mark = &pod["metadata"]["labels"]["hallpass.dev/injected"];
    if mark == "true" {
        Ok(())
    } else {
        Err(not_yet(mark))
    }
}

/// What the policy of the example selects, and no label governs.
fn named_by_policy() -> Manifest {
    pod("shape").under("orders").label("app", "orders")
}

fn workload(pod: &Manifest) -> Manifest {
    let pod = pod.clone().without("/metadata/name");
    Manifest::from(json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {"name": "orders"},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": "orders"}},
            "template": {"metadata": pod.json()["metadata"], "spec": pod.json()["spec"]},
        },
    }))
}
