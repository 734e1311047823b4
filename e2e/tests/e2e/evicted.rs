//! Pods that run without the sidecar are made anew where the chart asks for it, within their budget.

use std::{cell::Cell, collections::BTreeSet, time::Duration};

use anyhow::{Context as _, Result, ensure};
use hallpass_e2e::{
    cluster::{Cluster, upgrade},
    injection::check_bare,
    manifest::{pod, service_account},
    operator::{leader, replicas},
    wait::{not_yet, until},
};
use serde_json::{Value, json};

const MINUTE: Duration = Duration::from_secs(60);
const REPLICAS: usize = 3;

#[tokio::test]
async fn pods_of_before_the_policy_are_made_anew_one_by_one_and_those_of_jobs_are_not() -> Result<()>
{
    let cluster = Cluster::alone("evicted").await?;
    let account = service_account("orders");
    cluster.apply(&account.to_string()).await?;
    for object in [deployment(), budget(REPLICAS), job()] {
        cluster.apply(&object.to_string()).await?;
    }
    let before = until(2 * MINUTE, "all run", || async {
        let (pods, jobs) = (
            ready(&cluster, "orders").await?,
            ready(&cluster, "once").await?,
        );
        if (pods.len(), jobs.len()) == (REPLICAS, 1) {
            Ok([pods, jobs])
        } else {
            Err(not_yet((pods.len(), jobs.len())))
        }
    })
    .await?;
    before.iter().flatten().try_for_each(check_bare)?;
    cluster.orders().await?;
    upgrade("injection.byPolicy=true").await?;
    let outcome = evicts(&cluster, &before).await;
    // as it was for the other tests, whatever came of it
    upgrade("injection.byPolicy=false,injection.evictUninjected=false").await?;
    outcome
}

async fn evicts(cluster: &Cluster, before: &[Vec<Value>; 2]) -> Result<()> {
    let next = pod("shape").under("orders");
    until(MINUTE, "injection by policy", || async {
        let seen = cluster.create(&next).accepted().await?;
        if is_injected(&seen) {
            Ok(())
        } else {
            Err(not_yet("a bare pod"))
        }
    })
    .await?;
    upgrade("injection.evictUninjected=true").await?;
    let [pods, jobs] = before;
    until(3 * MINUTE, "the budget allows none", || async {
        let refused = evictions("RefusedByBudget").await?;
        if refused >= 1.0 {
            Ok(())
        } else {
            Err(not_yet(refused))
        }
    })
    .await?;
    let now = ready(cluster, "orders").await?;
    ensure!(
        uids(&now) == uids(pods),
        "one is gone past the budget: {now:?}"
    );
    cluster.apply(&budget(REPLICAS - 1).to_string()).await?;
    let least = Cell::new(REPLICAS);
    let after = until(8 * MINUTE, "all have the sidecar", || async {
        let now = ready(cluster, "orders").await?;
        least.set(least.get().min(now.len()));
        let injected = now.iter().filter(|pod| is_injected(pod)).count();
        if injected == REPLICAS {
            Ok(now)
        } else {
            Err(not_yet((injected, now.len())))
        }
    })
    .await?;
    ensure!(least.get() == REPLICAS - 1, "{} were ready", least.get());
    ensure!(uids(&after).is_disjoint(&uids(pods)), "{after:?}");
    let jobs_now = ready(cluster, "once").await?;
    ensure!(uids(&jobs_now) == uids(jobs), "the Job's is gone");
    let evicted = evictions("Evicted").await?;
    ensure!(evicted >= 3.0, "{evicted} were evicted");
    Ok(())
}

/// How many evictions the leader counts that ended like that.
async fn evictions(outcome: &str) -> Result<f64> {
    let (leader, replicas) = (leader().await?, replicas().await?);
    let mut replicas = replicas.iter();
    let leader = replicas.find(|replica| replica.pod == leader);
    let leader = leader.context("the leader is ready")?;
    let series = format!("hallpass_evictions_total{{outcome=\"{outcome}\"}}");
    leader.metric(&series).await
}

/// The pods with that label that are ready and not on their way out.
async fn ready(cluster: &Cluster, app: &str) -> Result<Vec<Value>> {
    let label = format!("app={app}");
    let get = ["get", "pods", "-l", &label, "-o", "json"];
    let mut pods: Value = serde_json::from_str(&cluster.kubectl(&get).await?.success()?)?;
    let Value::Array(mut pods) = pods["items"].take() else {
        return Ok(Vec::new());
    };
    pods.retain(|pod| {
        let mut conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
        pod["metadata"]["deletionTimestamp"].is_null()
            && conditions.any(|c| c["type"] == "Ready" && c["status"] == "True")
    });
    Ok(pods)
}

fn is_injected(pod: &Value) -> bool {
    pod["metadata"]["labels"]["hallpass.dev/injected"] == "true"
}

fn uids(pods: &[Value]) -> BTreeSet<&str> {
    let uids = pods.iter().map(|pod| pod["metadata"]["uid"].as_str());
    uids.flatten().collect()
}

/// A template for pods with that label, which the policy of the example selects.
fn template(app: &str, restart: &str) -> Value {
    let pod = pod("template").under("orders").label("app", app);
    let pod = pod.with("/spec/restartPolicy", json!(restart));
    let pod = pod.without("/metadata/name");
    json!({"metadata": pod.json()["metadata"], "spec": pod.json()["spec"]})
}

fn deployment() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "orders"},
        "spec": {
            "replicas": REPLICAS, "selector": {"matchLabels": {"app": "orders"}},
            "template": template("orders", "Always"),
        },
    })
}

fn budget(least: usize) -> Value {
    json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "orders"},
        "spec": {"minAvailable": least, "selector": {"matchLabels": {"app": "orders"}}},
    })
}

fn job() -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "once"},
        "spec": {"backoffLimit": 0, "template": template("once", "Never")},
    })
}
