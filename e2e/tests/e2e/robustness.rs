//! What must not stop the rest: an object that cannot be read, the death of a replica.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hallpass_e2e::{
    caller::Caller,
    cluster::{Cluster, RELEASE},
    command::{kubectl, kubectl_with},
    manifest::{Manifest, pod, policy, service_account},
    operator::{leader, replicas},
    wait::{not_yet, until},
};
use serde_json::{Value, json};

const CRD: &str = "tokenpolicies.hallpass.dev";
const SECONDS: Duration = Duration::from_secs(20);
const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn an_object_that_cannot_be_read_stops_no_other() -> Result<()> {
    let cluster = Cluster::alone("unreadable").await?;
    cluster
        .apply(&service_account("orders").to_string())
        .await?;
    let pod = cluster
        .start(&pod("orders").injected().under("orders"))
        .await?;

    let args = [
        "get",
        "crd",
        CRD,
        "-o",
        "jsonpath={.spec.versions[0].schema}",
    ];
    let schema: Value = serde_json::from_str(&kubectl(&args).await?.success()?)?;
    let anything = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    set_schema(&anything).await?;
    let stored = until(SECONDS, "the loosened schema is in force", || async {
        cluster.apply(&broken().to_string()).await
    })
    .await;
    set_schema(&schema).await?;
    stored?;
    let strict = until(SECONDS, "the schema of the chart is in force", || async {
        cluster.create(&broken()).refused().await
    });
    strict.await?;

    let outcome = works_beside(&cluster, &pod).await;
    cluster
        .kubectl(&["delete", CRD, "broken"])
        .await?
        .success()?;
    outcome?;
    unreadable(0.0).await
}

/// Policies that come after the broken one reach a pod that ran before it, and replicas start.
async fn works_beside(cluster: &Cluster, pod: &str) -> Result<()> {
    unreadable(1.0).await?;
    let good = policy("orders", "orders", &[("vault", "https://vault.example")]);
    cluster.apply(&good.to_string()).await?;
    cluster.token_within(MINUTE, pod, "app", "vault").await?;
    ready(cluster, "orders").await?;

    // one that lists the broken object at its start
    let old = replicas().await?.pop().context("a replica")?;
    kubectl(&["delete", "pod", "-n", RELEASE, &old.pod])
        .await?
        .success()?;
    whole().await?;
    unreadable(1.0).await
}

/// What it is nested in is anybody's who may create an object.
#[tokio::test]
async fn t23_an_object_of_any_depth_stops_no_other() -> Result<()> {
    let cluster = Cluster::alone("deep").await?;
    let account = service_account("orders");
    let policy = policy("deep", "orders", &[("vault", "https://vault.example")]);
    for (object, version) in [(account, "v1"), (policy, "hallpass.dev/v1alpha1")] {
        let object = object.with("/metadata/managedFields", deep(version));
        let create = ["-n", &cluster.namespace, "create", "-f", "-"];
        kubectl_with(&create, &object.to_string())
            .await?
            .success()?;
    }
    let get = ["get", CRD, "deep", "-o", "json", "--show-managed-fields"];
    let stored = cluster.kubectl(&get).await?.success()?;
    let depth = stored.matches("f:deeper").count();
    ensure!(depth >= DEPTH, "the API server made it {depth} deep");

    ready(&cluster, "deep").await?;
    // one that lists them at its start
    let old = replicas().await?.pop().context("a replica")?;
    kubectl(&["delete", "pod", "-n", RELEASE, &old.pod])
        .await?
        .success()?;
    whole().await?;
    let pod = pod("orders").injected().under("orders");
    let pod = cluster.start(&pod).await?;
    cluster.token_within(MINUTE, &pod, "app", "vault").await?;
    Ok(())
}

/// `managedFields` that are nested deeper than readers of JSON are made for.
fn deep(version: &str) -> Value {
    let leaf = json!({"f:spec": {"f:deeper": {}}});
    let fields = (1..DEPTH).fold(leaf, |inner, _| json!({"f:deeper": inner}));
    json!([{
        "manager": "somebody", "operation": "Apply", "apiVersion": version,
        "fieldsType": "FieldsV1", "fieldsV1": fields,
    }])
}

const DEPTH: usize = 200;

#[tokio::test]
async fn tokens_are_issued_while_the_leader_is_replaced() -> Result<()> {
    let caller = Caller::inside(Cluster::alone("leader").await?).await?;
    let old = leader().await?;
    let (leads, stays): (Vec<_>, Vec<_>) = replicas()
        .await?
        .into_iter()
        .partition(|replica| old.contains(&replica.pod));
    let (leads, stays) = (
        leads.first().context("a leader")?,
        stays.first().context("another")?,
    );
    let other = stays.api().await?;
    let kill = [
        "delete",
        "pod",
        "-n",
        RELEASE,
        &leads.pod,
        "--grace-period=0",
        "--force",
    ];
    kubectl(&kill).await?.success()?;

    let answer = other.tokens(&caller.identity, &["mail"]).await?;
    assert_eq!(
        answer.status, 200,
        "the other replica issues at once: {answer:?}"
    );
    let younger = policy("younger", "orders", &[("queue", "https://queue.example")]);
    caller.cluster.apply(&younger.to_string()).await?;
    ready(&caller.cluster, "younger").await?;
    let new = leader().await?;
    ensure!(new != old && !new.is_empty(), "{new} leads after {old}");
    // and through the Service, which has let go of the dead one
    let pod = pod("after").injected().under("orders");
    caller.cluster.start(&pod).await?;
    whole().await
}

/// The status of the policy was written by a leader: within 30 s.
async fn ready(cluster: &Cluster, name: &str) -> Result<()> {
    until(
        Duration::from_secs(30),
        "the status of the policy",
        || async {
            let said = cluster
                .kubectl(&["get", CRD, name, "-o", "jsonpath={.status}"])
                .await?
                .success()?;
            let status: Value = serde_json::from_str(&said).unwrap_or_default();
            let ready = status["conditions"][0]["status"] == "True";
            if ready && status["observedGeneration"] == 1 {
                Ok(())
            } else {
                Err(not_yet(status))
            }
        },
    )
    .await
}

/// All replicas are ready.
async fn whole() -> Result<()> {
    let args = [
        "rollout",
        "status",
        "deployment/hallpass",
        "-n",
        RELEASE,
        "--timeout=120s",
    ];
    kubectl(&args).await?.success()?;
    Ok(())
}

/// Every replica counts that many unreadable policies.
async fn unreadable(count: f64) -> Result<()> {
    until(SECONDS, "unreadable objects are counted", || async {
        for replica in replicas().await? {
            let seen = replica
                .metric("hallpass_unreadable_objects{kind=\"TokenPolicy\"}")
                .await?;
            if (seen - count).abs() > f64::EPSILON {
                return Err(not_yet((replica.pod, seen)));
            }
        }
        Ok(())
    })
    .await
}

/// No reader of token policies can make anything of it. (The admission policies can: they read the
/// audience and the service accounts.)
fn broken() -> Manifest {
    policy("broken", "orders", &[("vault", "https://vault.example")])
        .with("/spec/tokens/0/name", json!({"not": "a name"}))
        .with("/spec/tokens/0/lifetime", json!(["1h"]))
}

async fn set_schema(schema: &Value) -> Result<()> {
    let patch = json!([{"op": "replace", "path": "/spec/versions/0/schema", "value": schema}]);
    let args = ["patch", "crd", CRD, "--type=json", "-p", &patch.to_string()];
    kubectl(&args).await?.success()?;
    Ok(())
}
