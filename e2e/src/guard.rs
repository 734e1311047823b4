//! What the replicas say a token is worth: a verifier that asks each of them, past the Service.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    api::OperatorApi,
    cluster::Cluster,
    manifest::{pod, service_account},
    operator::{Replica, replicas},
    pod::Answer,
    wait::{not_yet, until},
};

/// The service account that audiences list as their verifier.
pub const VERIFIER: &str = "verifier";

/// A token and where it is asked about.
#[derive(Clone)]
pub struct Token {
    /// The token.
    pub text: String,
    /// The path of its issuer below the installation's; empty for that one.
    pub path: String,
}

/// Both replicas, and a verifier.
#[derive(Debug)]
pub struct Guard {
    /// The replicas.
    pub replicas: [Replica; 2],
    /// Their APIs, in the same order.
    pub apis: [OperatorApi; 2],
    bearer: String,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Guard {
    /// Starts the verifier in the namespace of the audiences.
    ///
    /// # Errors
    /// It does not start, or there are not two replicas.
    pub async fn new(owner: &Cluster) -> Result<Self> {
        owner.apply(&service_account(VERIFIER).to_string()).await?;
        let pod = pod(VERIFIER).injected().under(VERIFIER);
        let pod = owner.start(&pod).await?;
        let identity = owner.identity(&pod, VERIFIER).await?;
        let found = replicas().await?;
        let found: [Replica; 2] = found.try_into().ok().context("two replicas")?;
        Ok(Self {
            apis: [found[0].api().await?, found[1].api().await?],
            replicas: found,
            bearer: format!("Authorization: Bearer {identity}"),
        })
    }

    /// What that replica says of the token.
    ///
    /// # Errors
    /// It says nothing of tokens at all.
    pub async fn said(&self, replica: usize, token: &Token) -> Result<Value> {
        let answer = self.answer(replica, token).await?;
        ensure!(answer.status == 200, "{answer:?}");
        answer.json()
    }

    /// Its answer to the question about that token.
    ///
    /// # Errors
    /// curl got none.
    pub async fn answer(&self, replica: usize, token: &Token) -> Result<Answer> {
        let form = format!("token={}", token.text);
        let args = ["-H", &self.bearer, "--data-urlencode", &form];
        let path = format!("{}/oauth2/introspect", token.path);
        self.apis[replica].ask(&args, &path).await
    }

    /// Both replicas say that it is active.
    ///
    /// # Errors
    /// One does not.
    pub async fn accepts(&self, what: &str, token: &Token) -> Result<()> {
        for replica in [0, 1] {
            let said = self.said(replica, token).await?;
            ensure!(said["active"] == true, "{what}: replica {replica}: {said}");
        }
        Ok(())
    }

    /// Both replicas say so in a while: what they decide on may still be on its way to one.
    ///
    /// # Errors
    /// They do not within 20 s.
    pub async fn accepts_soon(&self, what: &str, token: &Token) -> Result<()> {
        until(WHILE, what, || self.accepts(what, token)).await
    }

    /// Both replicas say that it is inactive, and nothing else.
    ///
    /// # Errors
    /// One does not.
    pub async fn refuses(&self, what: &str, token: &Token) -> Result<()> {
        for replica in [0, 1] {
            let said = self.said(replica, token).await?;
            ensure!(
                said == json!({"active": false}),
                "{what}: replica {replica}: {said}"
            );
        }
        Ok(())
    }

    /// How long after `since` both replicas refused it. They do not fall back behind that.
    ///
    /// # Errors
    /// One does not within 20 s.
    pub async fn refused(&self, what: &str, token: &Token, since: Instant) -> Result<Duration> {
        let each = async |replica| loop {
            let said = self.said(replica, token).await?;
            match &said["active"] {
                Value::Bool(false) => return Ok(since.elapsed()),
                _ if since.elapsed() > WHILE => {
                    return Err(not_yet(said).context(format!("{what}: replica {replica}")));
                }
                _ => {}
            }
        };
        let (one, other) = tokio::try_join!(each(0), each(1))?;
        self.refuses(what, token).await?;
        Ok(one.max(other))
    }

    /// A token of that name, which that replica issued.
    ///
    /// # Errors
    /// It refused; with its answer.
    pub async fn issue(
        &self,
        replica: usize,
        identity: &str,
        name: &str,
        path: &str,
    ) -> Result<Token> {
        let answer = self.apis[replica].tokens(identity, &[name]).await?;
        ensure!(answer.status == 200, "{name}: {answer:?}");
        let entry = answer.json()?["tokens"][0]["token"].take();
        Ok(Token {
            text: entry.as_str().context("a token")?.to_owned(),
            path: path.to_owned(),
        })
    }
}

const WHILE: Duration = Duration::from_secs(20);
