//! Pods with an application each, which reads its tokens all the time: what a fault is judged by.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::{
    cluster::Cluster,
    local::LocalPod,
    manifest::{Manifest, audience, pod, service_account},
    payments::READ,
    reads::{
        Read, Readers, Source,
        verdict::{Verdict, judge},
    },
    remark::remark,
};

/// A token of ours that lives so long that it is replaced within each fault, and still through one of the
/// operator's restarts.
pub const SHORT: &str = "short";
/// A service-account token of ten minutes: there are none that live shorter.
pub const VAULT: &str = "vault";

/// The pods, and who reads in them.
#[derive(Debug)]
pub struct Apps {
    /// Their namespace.
    pub shop: Cluster,
    /// Their names.
    pub names: Vec<String>,
    /// They as their node sees them.
    pub pods: Vec<LocalPod>,
    readers: Readers,
    _owner: Cluster,
}

impl Apps {
    /// Starts so many pods, waits until all have their tokens, and begins to read.
    ///
    /// # Errors
    /// Something was refused, or does not start.
    pub async fn start(shop: Cluster, count: usize, life: &str) -> Result<Self> {
        let owner = shop.beside("payments").await?;
        let api = audience(&owner.namespace)
            .with("/spec/maxLifetime", json!(life))
            .allowing(&shop.namespace, ACCOUNT, &[READ]);
        owner.apply(&api.to_string()).await?;
        shop.apply(&service_account(ACCOUNT).to_string()).await?;
        shop.apply(&policy(&owner).to_string()).await?;
        let names: Vec<String> = (0..count).map(|i| format!("orders-{i}")).collect();
        for name in &names {
            let pod = pod(name).injected().under(ACCOUNT);
            shop.apply(&pod.to_string()).await?;
        }
        let (mut pods, mut sources) = (Vec::new(), Vec::new());
        for name in &names {
            shop.running(name, START).await?;
            let pod = LocalPod::find(&shop, name).await?;
            sources.extend(Source::of(name, &pod));
            pods.push(pod);
        }
        Ok(Self {
            readers: Readers::start(sources)?,
            shop,
            names,
            pods,
            _owner: owner,
        })
    }

    /// What was read until now.
    #[must_use]
    pub fn so_far(&self) -> Vec<Read> {
        self.readers.so_far()
    }

    /// The identity token of one of them.
    ///
    /// # Errors
    /// The API server refused it.
    pub async fn identity(&self) -> Result<String> {
        let pod = self.names.first().context("a pod")?;
        self.shop.identity(pod, ACCOUNT).await
    }

    /// A policy of theirs, for a further token, that nobody has written yet.
    #[must_use]
    pub fn another(&self, name: &str) -> Manifest {
        let token = json!({
            "name": name, "kubernetesAudience": format!("https://{name}.example"),
            "lifetime": "10m", "required": false,
        });
        named(name, json!([token]))
    }

    /// All that was read, and its verdict, which is told.
    ///
    /// # Errors
    /// The readers failed.
    pub fn end(self, what: &str) -> Result<(Vec<Read>, Verdict)> {
        let reads = self.readers.end()?;
        let verdict = judge(&reads);
        remark(&format!("{what}: {verdict}"));
        Ok((reads, verdict))
    }
}

impl Source {
    /// Both tokens of a pod's first container.
    #[must_use]
    pub fn of(name: &str, pod: &LocalPod) -> [Self; 2] {
        [SHORT, VAULT].map(|token| Self {
            name: format!("{name}/{token}").into(),
            socket: pod.socket(),
            token: token.to_owned(),
        })
    }
}

fn policy(owner: &Cluster) -> Manifest {
    let tokens = json!([
        {
            "name": SHORT, "scopes": [READ],
            "audienceRef": {"namespace": owner.namespace, "name": "payments"},
        },
        {"name": VAULT, "kubernetesAudience": "https://vault.example", "lifetime": "10m"},
    ]);
    named("orders", tokens)
}

fn named(name: &str, tokens: serde_json::Value) -> Manifest {
    Manifest::from(json!({
        "apiVersion": "hallpass.dev/v1alpha1", "kind": "TokenPolicy", "metadata": {"name": name},
        "spec": {"subjects": [{"serviceAccount": ACCOUNT}], "tokens": tokens},
    }))
}

const ACCOUNT: &str = "orders";
const START: Duration = Duration::from_secs(120);
