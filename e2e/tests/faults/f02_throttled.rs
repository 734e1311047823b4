//! The API server takes no request of the operator: 429 to all of them.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hallpass_e2e::{
    cluster::RELEASE,
    command::{kubectl, kubectl_with},
    remark::remark,
};
use serde_json::{Value, json};

use crate::fixture::{LIFE, MINUTE, PODS, apps, current, lasts};

/// How many more requests there may be than when they are answered.
const AMPLIFIED: f64 = 1.1;

const NAME: &str = "hallpass-throttled";

#[tokio::test]
async fn f02_reads_are_served_and_requests_do_not_pile_up_while_the_api_server_refuses_the_operator()
-> Result<()> {
    let Some(apps) = apps("throttled", PODS, LIFE).await? else {
        return Ok(());
    };
    let throttle = Throttle::open().await?;
    // those that began before count as others'
    lasts(MINUTE / 6).await;
    let offered = requests_within(MINUTE).await?;
    throttle.close().await?;
    lasts(MINUTE / 6).await;
    let retried = requests_within(MINUTE).await?;
    throttle.end().await?;
    current().await?;
    let (_, verdict) = apps.end("the API server refused the operator")?;
    remark(&format!(
        "{offered} requests a minute, and {retried} refused ones"
    ));
    verdict.all_served()?;
    ensure!(retried > 0.0, "nothing was refused");
    ensure!(retried <= offered * AMPLIFIED, "{retried} after {offered}");
    Ok(())
}

/// A flow of the operator's requests alone.
struct Throttle;

impl Throttle {
    /// Lets them all through.
    async fn open() -> Result<Self> {
        apply(&level(100)).await?;
        apply(&flow()).await?;
        Ok(Self)
    }

    /// Refuses them all.
    async fn close(&self) -> Result<()> {
        apply(&level(0)).await
    }

    async fn end(self) -> Result<()> {
        let kinds = ["flowschema", "prioritylevelconfiguration"];
        for kind in kinds {
            kubectl(&["delete", kind, NAME]).await?.success()?;
        }
        Ok(())
    }
}

fn level(shares: usize) -> Value {
    json!({
        "apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "PriorityLevelConfiguration",
        "metadata": {"name": NAME},
        "spec": {"type": "Limited", "limited": {
            "nominalConcurrencyShares": shares, "lendablePercent": 0, "borrowingLimitPercent": 0,
            "limitResponse": {"type": "Reject"},
        }},
    })
}

fn flow() -> Value {
    let account = json!({"name": "hallpass", "namespace": RELEASE});
    let resources = json!({
        "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"], "clusterScope": true,
    });
    json!({
        "apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "FlowSchema", "metadata": {"name": NAME},
        "spec": {
            "priorityLevelConfiguration": {"name": NAME}, "matchingPrecedence": 2,
            "rules": [{
                "subjects": [{"kind": "ServiceAccount", "serviceAccount": account}],
                "resourceRules": [resources],
                "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
            }],
        },
    })
}

async fn apply(object: &Value) -> Result<()> {
    let args = ["apply", "--server-side", "-f", "-"];
    kubectl_with(&args, &object.to_string()).await?.success()?;
    Ok(())
}

/// How many requests of the operator arrive within that time, answered or refused.
async fn requests_within(time: Duration) -> Result<f64> {
    let before = requests().await?;
    lasts(time).await;
    Ok(requests().await? - before)
}

async fn requests() -> Result<f64> {
    let metrics = kubectl(&["get", "--raw", "/metrics"]).await?.success()?;
    let flow = format!("flow_schema=\"{NAME}\"");
    let mut sum = 0.0;
    for family in ["dispatched", "rejected"] {
        let family = format!("apiserver_flowcontrol_{family}_requests_total{{");
        let of_it = metrics.lines().filter(|line| line.starts_with(&family));
        for line in of_it.filter(|line| line.contains(&flow)) {
            let (_, value) = line.rsplit_once(' ').context("a value")?;
            sum += value.parse::<f64>()?;
        }
    }
    Ok(sum)
}
