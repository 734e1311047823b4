//! The example of two sides: the pods of one namespace call the API of another.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::{
    cluster::Cluster,
    manifest::{Manifest, audience, audience_policy, pod, service_account},
};

/// The issuer of the installation.
pub const ISSUER: &str = "https://hallpass.hallpass-system.svc";
/// The scope that the consumer may have.
pub const READ: &str = "payments:read";

/// A namespace with a pod `orders`, and one with the audience `payments`, which allows its service
/// account the scope [`READ`] for 30 s at most.
#[derive(Debug)]
pub struct Payments {
    /// The consumer's.
    pub shop: Cluster,
    /// The owner's.
    pub api: Cluster,
    /// The audience as it was applied.
    pub audience: Manifest,
    /// The name of the pod.
    pub pod: String,
}

impl Payments {
    /// Makes both, and the pod. `change` is what is special about the audience.
    ///
    /// # Errors
    /// Something was refused, or the pod does not start.
    pub async fn new(shop: Cluster, change: impl FnOnce(Manifest) -> Manifest) -> Result<Self> {
        let api = shop.beside("payments").await?;
        let audience = audience(&api.namespace)
            .with("/spec/maxLifetime", json!("30s"))
            .allowing(&shop.namespace, "orders", &[READ]);
        let audience = change(audience);
        api.apply(&audience.to_string()).await?;
        let policy = audience_policy("orders", "payments", &api.namespace, &[READ]);
        shop.apply(&service_account("orders").to_string()).await?;
        shop.apply(&policy.to_string()).await?;
        let pod = shop
            .start(&pod("orders").injected().under("orders"))
            .await?;
        Ok(Self {
            shop,
            api,
            audience,
            pod,
        })
    }

    /// The `aud` of the tokens.
    #[must_use]
    pub fn value(&self) -> String {
        format!("https://payments.{}.svc", self.api.namespace)
    }

    /// The subject of the tokens, as Kubernetes writes it.
    #[must_use]
    pub fn subject(&self) -> String {
        format!("system:serviceaccount:{}:orders", self.shop.namespace)
    }

    /// What the socket says of the token.
    ///
    /// # Errors
    /// There is none within a minute.
    pub async fn served(&self) -> Result<Value> {
        let minute = Duration::from_secs(60);
        self.shop
            .token_within(minute, &self.pod, "app", "payments")
            .await
    }

    /// The token that the pod holds.
    ///
    /// # Errors
    /// There is none within a minute.
    pub async fn token(&self) -> Result<String> {
        let served = self.served().await?;
        let token = served["access_token"].as_str().context("a token")?;
        ensure!(!token.is_empty());
        Ok(token.to_owned())
    }
}
