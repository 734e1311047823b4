//! Revocations as a person writes them.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{cluster::Cluster, command::kubectl, manifest::Manifest, remark::remark};

/// A revocation that is stored. It is deleted with this.
#[derive(Debug)]
pub struct Revocation {
    /// When kubectl had returned.
    pub since: Instant,
    /// Its resourceVersion, as it was created.
    pub version: u64,
    kind: &'static str,
    namespace: String,
    name: String,
    deleted: bool,
}

/// A `TokenRevocation` of that target, under that name.
#[must_use]
pub fn token_revocation(name: &str, target: &Value) -> Manifest {
    of_kind("TokenRevocation", name, target)
}

/// A `ClusterTokenRevocation` of that target, under that name.
#[must_use]
pub fn cluster_token_revocation(name: &str, target: &Value) -> Manifest {
    of_kind("ClusterTokenRevocation", name, target)
}

fn of_kind(kind: &str, name: &str, target: &Value) -> Manifest {
    Manifest::from(json!({
        "apiVersion": "hallpass.dev/v1alpha1", "kind": kind,
        "metadata": {"name": name}, "spec": {"target": target},
    }))
}

impl Manifest {
    /// Has the revocation lock, with that message.
    #[must_use]
    pub fn locking(self, message: &str) -> Self {
        self.with("/spec/effect", json!("Lock"))
            .with("/spec/message", json!(message))
    }
}

impl Cluster {
    /// Applies a revocation.
    ///
    /// # Errors
    /// It was refused.
    pub async fn revoke(&self, revocation: &Manifest) -> Result<Revocation> {
        let text = revocation.to_string();
        let args = ["-n", &self.namespace, "apply", "-f", "-", "-o", "json"];
        let said = crate::command::kubectl_with(&args, &text)
            .await?
            .success()?;
        let since = Instant::now();
        let stored: Value = serde_json::from_str(&said)?;
        let metadata = &stored["metadata"];
        let version = metadata["resourceVersion"].as_str().context("a version")?;
        Ok(Revocation {
            since,
            version: version.parse()?,
            kind: match stored["kind"].as_str() {
                Some("TokenRevocation") => "tokenrevocations.hallpass.dev",
                _ => "clustertokenrevocations.hallpass.dev",
            },
            namespace: self.namespace.clone(),
            name: metadata["name"].as_str().context("a name")?.to_owned(),
            deleted: false,
        })
    }
}

impl Revocation {
    /// Deletes it.
    ///
    /// # Errors
    /// It was refused.
    pub async fn delete(mut self) -> Result<()> {
        let args = ["delete", self.kind, &self.name, "-n", &self.namespace];
        kubectl(&args).await?.success()?;
        self.deleted = true;
        Ok(())
    }

    /// The object as it is stored now.
    ///
    /// # Errors
    /// It is gone.
    pub async fn stored(&self) -> Result<Value> {
        let args = [
            "get",
            self.kind,
            &self.name,
            "-n",
            &self.namespace,
            "-o",
            "json",
        ];
        Ok(serde_json::from_str(&kubectl(&args).await?.success()?)?)
    }
}

impl Drop for Revocation {
    fn drop(&mut self) {
        if self.deleted {
            return;
        }
        // one of a namespace goes with it, one of the cluster would count for ever
        let deleted = std::process::Command::new("kubectl")
            .args(["delete", self.kind, &self.name, "-n", &self.namespace])
            .args(["--wait=false", "--ignore-not-found"])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .status();
        if let Err(why) = deleted {
            remark(&format!("the revocation {} stays behind: {why}", self.name));
        }
    }
}
