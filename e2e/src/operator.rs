//! The replicas of the operator, one by one.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::{
    api::OperatorApi,
    cluster::RELEASE,
    command::{kubectl, run},
    pod::Answer,
    wait::{not_yet, until},
};

/// A replica that is ready.
#[derive(Debug, Clone)]
pub struct Replica {
    /// The name of its pod.
    pub pod: String,
    /// Its address.
    pub address: String,
}

/// The replicas that are ready and not on their way out.
///
/// # Errors
/// kubectl could not be run.
pub async fn replicas() -> Result<Vec<Replica>> {
    let args = ["get", "pods", "-n", RELEASE, "-l", SELECTOR, "-o", "json"];
    let pods: Value = serde_json::from_str(&kubectl(&args).await?.success()?)?;
    let ready = |pod: &&Value| {
        let mut conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
        pod["metadata"]["deletionTimestamp"].is_null()
            && conditions.any(|c| c["type"] == "Ready" && c["status"] == "True")
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let pods = pods["items"].as_array().context("a list of pods")?;
    Ok(pods
        .iter()
        .filter(ready)
        .map(|pod| Replica {
            pod: text(&pod["metadata"]["name"]),
            address: text(&pod["status"]["podIP"]),
        })
        .collect())
}

/// The name of the pod that holds the lease: the one that writes.
///
/// # Errors
/// There is no lease.
pub async fn leader() -> Result<String> {
    let path = "jsonpath={.spec.holderIdentity}";
    let args = ["get", "lease", "hallpass", "-n", RELEASE, "-o", path];
    kubectl(&args).await?.success()
}

/// How many pods the replicas say that lack the sidecar, for whatever reason.
///
/// # Errors
/// One of them does not say.
pub async fn uninjected() -> Result<f64> {
    let mut sum = 0.0;
    for replica in replicas().await? {
        let metrics = replica.health("/metrics").await?.body;
        let series = |line: &&str| line.starts_with("hallpass_uninjected_pods{");
        let mut counts = metrics.lines().filter(series).peekable();
        counts.peek().context("no series of such pods")?;
        for count in counts {
            let (_, count) = count.rsplit_once(' ').context("a value")?;
            sum += count.parse::<f64>()?;
        }
    }
    Ok(sum)
}

/// Waits until all replicas are ready.
///
/// # Errors
/// They are not within two minutes.
pub async fn whole() -> Result<()> {
    let wait = ["rollout", "status", DEPLOYMENT, "-n", RELEASE, WITHIN];
    kubectl(&wait).await?.success()?;
    Ok(())
}

/// Waits until all replicas are ready and those that they replace have ended, which answer for a while longer.
///
/// # Errors
/// They are not within two minutes, or the others have not ended a minute later.
pub async fn settled() -> Result<()> {
    whole().await?;
    until(MINUTE, "the replicas of before have ended", || async {
        let wanted = [
            "get",
            DEPLOYMENT,
            "-n",
            RELEASE,
            "-o",
            "jsonpath={.spec.replicas}",
        ];
        let wanted = kubectl(&wanted).await?.success()?;
        let there = ["get", "pods", "-n", RELEASE, "-l", SELECTOR, "-o", "name"];
        let there = kubectl(&there).await?.success()?;
        if there.lines().count().to_string() == wanted {
            Ok(())
        } else {
            Err(not_yet(there))
        }
    })
    .await
}

/// Replaces all replicas, so that none of them is held back by the kubelet for how often it had ended.
///
/// # Errors
/// The new ones are not ready within two minutes.
pub async fn renewed() -> Result<()> {
    let restart = ["rollout", "restart", DEPLOYMENT, "-n", RELEASE];
    kubectl(&restart).await?.success()?;
    whole().await
}

/// Has there be so many replicas, and waits until there are.
///
/// # Errors
/// There are not within two minutes.
pub async fn scaled(replicas: usize) -> Result<()> {
    let count = format!("--replicas={replicas}");
    let scale = ["scale", DEPLOYMENT, "-n", RELEASE, &count];
    kubectl(&scale).await?.success()?;
    whole().await
}

impl Replica {
    /// Its API, past the Service.
    ///
    /// # Errors
    /// There is no trust bundle.
    pub async fn api(&self) -> Result<OperatorApi> {
        OperatorApi::of_replica(&self.address).await
    }

    /// `GET path` on its port for metrics and health.
    ///
    /// # Errors
    /// curl got no answer.
    pub async fn health(&self, path: &str) -> Result<Answer> {
        let url = format!("http://{}:9402{path}", self.address);
        let args = ["-sS", "-m", "10", "-w", "\n%{http_code}", &url];
        let said = run("curl", &args, None).await?.success()?;
        let (body, status) = said.rsplit_once('\n').context("curl printed no status")?;
        Ok(Answer {
            status: status.parse()?,
            body: body.to_owned(),
        })
    }

    /// The value of a series, written as Prometheus prints it.
    ///
    /// # Errors
    /// There is no such series.
    pub async fn metric(&self, series: &str) -> Result<f64> {
        let metrics = self.health("/metrics").await?.body;
        let value = metrics
            .lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        let value = value.with_context(|| format!("no series {series} in:\n{metrics}"))?;
        Ok(value.parse()?)
    }
}

const DEPLOYMENT: &str = "deployment/hallpass";
const SELECTOR: &str = "app.kubernetes.io/instance=hallpass";
const WITHIN: &str = "--timeout=120s";
const MINUTE: Duration = Duration::from_secs(60);
