//! A pod whose identity token fell into other hands: whoever holds it meets the operator's API.

use anyhow::{Context as _, Result};

use crate::{
    api::OperatorApi,
    cluster::Cluster,
    manifest::{pod, policy, service_account},
    operator::{Replica, replicas},
};

/// The tokens that the pod of a [`Caller`] may have.
pub const TOKENS: &[(&str, &str)] = &[
    ("vault", "https://vault.example"),
    ("mail", "https://mail.example"),
];

/// A running pod `orders`, its identity, and one replica: each of them counts for itself.
#[derive(Debug)]
pub struct Caller {
    /// Where the pod runs.
    pub cluster: Cluster,
    /// The identity token of the pod.
    pub identity: String,
    /// The header that carries it.
    pub bearer: String,
    /// The replica.
    pub replica: Replica,
    /// Its API.
    pub api: OperatorApi,
}

impl Caller {
    /// Starts the pod.
    ///
    /// # Errors
    /// It does not start, or there is no replica.
    pub async fn new(test: &str) -> Result<Self> {
        Self::inside(Cluster::shared(test).await?).await
    }

    /// Starts the pod in that namespace.
    ///
    /// # Errors
    /// It does not start, or there is no replica.
    pub async fn inside(cluster: Cluster) -> Result<Self> {
        let account = service_account("orders").to_string();
        cluster.apply(&account).await?;
        let policy = policy("orders", "orders", TOKENS).to_string();
        cluster.apply(&policy).await?;
        let pod = pod("orders").injected().under("orders");
        let pod = cluster.start(&pod).await?;
        let identity = cluster.identity(&pod, "orders").await?;
        let replica = replicas().await?.into_iter().next().context("a replica")?;
        Ok(Self {
            api: replica.api().await?,
            bearer: format!("Authorization: Bearer {identity}"),
            cluster,
            identity,
            replica,
        })
    }
}
