//! The operator's requests as a flow of their own at the API server, which counts them, and can be told to refuse
//! them all.

use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::{
    cluster::RELEASE,
    command::{kubectl, kubectl_with},
    remark::remark,
};

/// The flow, until this is dropped.
#[derive(Debug)]
pub struct Flow(());

impl Flow {
    /// Lets them all through.
    ///
    /// # Errors
    /// The API server refused the flow.
    pub async fn open() -> Result<Self> {
        let flow = Self(());
        apply(&level(100)).await?;
        apply(&schema()).await?;
        Ok(flow)
    }

    /// Refuses them all, with 429.
    ///
    /// # Errors
    /// The API server refused that.
    pub async fn close(&self) -> Result<()> {
        apply(&level(0)).await
    }

    /// How many have arrived since the API server was started, answered or refused. Those that began before the flow
    /// are others'.
    ///
    /// # Errors
    /// The API server does not say.
    pub async fn requests(&self) -> Result<f64> {
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
}

impl Drop for Flow {
    fn drop(&mut self) {
        let kinds = "flowschemas,prioritylevelconfigurations";
        let delete = ["delete", kinds, NAME, "--ignore-not-found"];
        let deleted = Command::new("kubectl").args(delete).output();
        if !deleted.is_ok_and(|said| said.status.success()) {
            remark("the flow of the operator's requests is still there");
        }
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

fn schema() -> Value {
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

const NAME: &str = "hallpass-requests";
