//! The API server as one that trusts an issuer besides its own, by its structured
//! `AuthenticationConfiguration`. Only a cluster of our own lets a test write it.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard};

use crate::{
    command::{kubectl, run},
    remark::remark,
    state,
    verifiers::Trust,
};

/// There is one file, and a second test waits for it.
static FILE: Mutex<()> = Mutex::const_new(());

/// An issuer that the API server trusts for as long as this lives: a token's user is `hallpass:` and
/// its `sub`. The API server needs some ten seconds until it has met it.
///
/// # Assumptions
/// The API server looks up names by the cluster's DNS, and takes no other algorithms than RS, PS and
/// ES. It needs the issuer's metadata before it drops what it trusted before.
#[derive(Debug)]
pub struct Trusted {
    state: PathBuf,
    server: String,
    _alone: MutexGuard<'static, ()>,
}

impl Trusted {
    /// Makes the API server trust that issuer. `None`, with a remark that `what` was skipped, on a
    /// cluster that is not our own.
    ///
    /// # Errors
    /// The file cannot be written.
    pub async fn issuer(what: &str, trust: &Trust<'_>) -> Result<Option<Self>> {
        let Some(state) = state::folder(what) else {
            return Ok(None);
        };
        let server = "jsonpath={.clusters[0].cluster.server}";
        let server = kubectl(&["config", "view", "--minify", "-o", server]).await?;
        let trusted = Self {
            state,
            server: server.success()?,
            _alone: FILE.lock().await,
        };
        let authority = std::fs::read_to_string(trust.ca)?;
        trusted.write(&json!([{
            "issuer": {
                "url": trust.issuer, "audiences": [trust.audience], "certificateAuthority": authority,
            },
            "claimMappings": {"username": {"claim": "sub", "prefix": "hallpass:"}},
        }]))?;
        Ok(Some(trusted))
    }

    /// Whom the API server takes the bearer of that token for. `None` if for nobody: it refuses the
    /// token, or sees none.
    ///
    /// # Errors
    /// It cannot be asked, or answers something else.
    pub async fn user(&self, token: &str) -> Result<Option<String>> {
        let review = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview",
        });
        let authority = self.state.join("pki/ca.crt");
        let url = format!(
            "{}/apis/authentication.k8s.io/v1/selfsubjectreviews",
            self.server
        );
        let args = [
            "-sS",
            "-m",
            "20",
            // who is refused before the body was read would see a broken stream of HTTP/2
            "--http1.1",
            "-w",
            "\n%{http_code}",
            "--cacert",
            authority.to_str().context("a path in UTF-8")?,
            "-H",
            &format!("Authorization: Bearer {token}"),
            "-H",
            "Content-Type: application/json",
            "-d",
            &review.to_string(),
            &url,
        ];
        let said = run("curl", &args, None).await?.success()?;
        match said.rsplit_once('\n').context("curl printed no status")? {
            (_, "401") => Ok(None),
            (body, "403") if body.contains("system:anonymous") => Ok(None),
            (body, "201") => {
                let review: Value = serde_json::from_str(body)?;
                let user = review["status"]["userInfo"]["username"].as_str();
                Ok(Some(user.context("a user has a name")?.to_owned()))
            }
            (body, status) => Err(anyhow::anyhow!("{status}: {body}")),
        }
    }

    /// Trusts these, and nobody else.
    fn write(&self, issuers: &Value) -> Result<()> {
        let config = json!({
            "apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration",
            "jwt": issuers,
        });
        // renamed as a whole: half of it would be read too
        let new = self.state.join("authentication.yaml.new");
        std::fs::write(&new, config.to_string())?;
        std::fs::rename(new, self.state.join("authentication.yaml"))?;
        Ok(())
    }
}

impl Drop for Trusted {
    fn drop(&mut self) {
        if let Err(why) = self.write(&json!([])) {
            remark(&format!("the API server goes on trusting an issuer: {why}"));
        }
    }
}
