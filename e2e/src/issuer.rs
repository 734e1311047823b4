//! An issuer of a test's own, and the time that its keys have lived.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::{
    cluster::{Cluster, RELEASE},
    command::kubectl,
    etcd::created_earlier,
    manifest::Manifest,
    operator::replicas,
    payments::ISSUER,
    remark::remark,
    wait::{not_yet, now, until},
};

/// An issuer of a test's own, so that its keys are no other test's. It is deleted with this.
#[derive(Debug)]
pub struct Issuer {
    /// The name of the TokenIssuer.
    pub name: String,
    /// Its URL: a path below that of the installation's issuer.
    pub url: String,
}

impl Issuer {
    /// Makes it, under the name of the test's namespace.
    ///
    /// # Errors
    /// It was refused.
    pub async fn new(cluster: &Cluster) -> Result<Self> {
        let name = cluster.namespace.clone();
        let url = format!("{ISSUER}/{name}");
        let issuer = Manifest::from(json!({
            "apiVersion": "hallpass.dev/v1alpha1", "kind": "TokenIssuer",
            "metadata": {"name": name}, "spec": {"hallpass": {"issuerURL": url}},
        }));
        cluster.apply(&issuer.to_string()).await?;
        Ok(Self { name, url })
    }

    async fn status(&self) -> Result<Value> {
        let args = ["get", "tokenissuers.hallpass.dev", &self.name, "-o", "json"];
        let mut issuer: Value = serde_json::from_str(&kubectl(&args).await?.success()?)?;
        Ok(issuer["status"].take())
    }

    /// The key that signs and the one that will, once they are there.
    ///
    /// # Errors
    /// They are not within 20 s.
    pub async fn keys(&self) -> Result<(String, String)> {
        until(SECONDS, "one key signs and one waits", || async {
            let status = self.status().await?;
            let of = |state: &str| {
                let mut keys = status["keys"].as_array().into_iter().flatten();
                let key = keys.find(|key| key["state"] == state)?;
                Some(key["keyID"].as_str()?.to_owned())
            };
            match (of("Active"), of("Next")) {
                (Some(active), Some(next)) => Ok((active, next)),
                _ => Err(not_yet(&status)),
            }
        })
        .await
    }

    /// Has the key that will sign be as old as one that may. It has been in the key set since it was made,
    /// so a verifier that starts afterwards sees what it would see then.
    ///
    /// # Assumptions
    /// The cluster is our own.
    ///
    /// # Errors
    /// The key is not there, or its age cannot be written.
    pub async fn published_long_ago(&self, next: &str) -> Result<()> {
        let id = self.status().await?;
        let id = id["issuerID"].as_str().context("an id")?;
        let (keys, of_it) = (
            format!("{RELEASE}-keys"),
            format!("hallpass.dev/issuer-id={id}"),
        );
        let args = ["get", "secrets", "-n", &keys, "-l", &of_it, "-o", "json"];
        let secrets: Value = serde_json::from_str(&kubectl(&args).await?.success()?)?;
        let mut secrets = secrets["items"].as_array().into_iter().flatten();
        let waits =
            |secret: &&Value| secret["metadata"]["annotations"]["hallpass.dev/activated"].is_null();
        let secret = secrets.find(waits).context("a key that waits")?;
        let secret = secret["metadata"]["name"].as_str().context("a name")?;
        let then = now().checked_sub(HOUR)?;
        let then = format!("hallpass.dev/published={then}");
        let annotate = [
            "annotate",
            "--overwrite",
            "secret",
            secret,
            "-n",
            &keys,
            &then,
        ];
        kubectl(&annotate).await?.success()?;
        // no key was published before it was created
        created_earlier(&keys, secret, HOUR).await?;
        until(SECONDS, "the operator sees its age", || async {
            let status = self.status().await?;
            let mut states = status["keys"].as_array().into_iter().flatten();
            let state = states.find(|key| key["keyID"] == next).context("the key")?;
            let since: jiff::Timestamp = state["since"].as_str().context("since")?.parse()?;
            ensure!(now().duration_since(since) > HOUR.try_into()?, "{state}");
            Ok(())
        })
        .await
    }

    /// Asks for a rotation: `rotate` or `rotate-now`.
    ///
    /// # Errors
    /// It was refused.
    pub async fn annotate(&self, how: &str) -> Result<()> {
        let time = format!("hallpass.dev/{how}={}", now());
        let issuer = ["tokenissuers.hallpass.dev", &self.name, &time];
        let annotate = [&["annotate", "--overwrite"], &issuer[..]].concat();
        kubectl(&annotate).await?.success()?;
        Ok(())
    }

    /// Waits until no replica publishes that key.
    ///
    /// # Errors
    /// One still does after 20 s.
    pub async fn gone(&self, kid: &str) -> Result<()> {
        for replica in replicas().await? {
            let api = replica.api().await?;
            until(SECONDS, "the key is gone", || async {
                let answer = api.ask(&[], &format!("/{}/jwks", self.name)).await?;
                ensure!(answer.status == 200, "{answer:?}");
                ensure!(!answer.body.contains(kid), "{answer:?}");
                Ok(())
            })
            .await?;
        }
        Ok(())
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        let deleted = std::process::Command::new("kubectl")
            .args(["delete", "tokenissuers.hallpass.dev", &self.name])
            .arg("--wait=false")
            .stdout(std::process::Stdio::null())
            .status();
        if let Err(why) = deleted {
            remark(&format!("the issuer {} stays behind: {why}", self.name));
        }
    }
}

/// Longer than a key has to be published before it signs.
const HOUR: Duration = Duration::from_secs(3600);
const SECONDS: Duration = Duration::from_secs(20);
