//! What the API server says to an object that is to be created. Nothing is stored.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use http::Request;
use kube::{Client, core::Status};
use serde_json::Value;

use crate::{
    cluster::{Cluster, Engine, engine},
    command::kubectl,
    manifest::{Manifest, pod},
    wait::{not_yet, until},
};

/// An object that the API server is to judge: in the namespace of the test and in the name of the
/// administrator, unless said otherwise.
#[derive(Clone)]
pub struct Creation<'a> {
    client: &'a Client,
    object: &'a Manifest,
    namespace: &'a str,
    user: Option<&'a str>,
    groups: &'a [&'a str],
}

impl std::fmt::Debug for Creation<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Creation")
            .field("namespace", &self.namespace)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// What it said.
#[derive(Debug)]
pub enum Verdict {
    /// The object as it would be stored.
    Accepted(Value),
    /// Why it would not.
    Refused(Box<Status>),
}

impl Cluster {
    /// Has the API server judge the creation of that object.
    #[must_use]
    pub const fn create<'a>(&'a self, object: &'a Manifest) -> Creation<'a> {
        Creation {
            client: &self.client,
            object,
            namespace: self.namespace.as_str(),
            user: None,
            groups: &[],
        }
    }
}

impl<'a> Creation<'a> {
    /// In another namespace.
    #[must_use]
    pub const fn inside(mut self, namespace: &'a str) -> Self {
        self.namespace = namespace;
        self
    }

    /// In the name of somebody else. Everybody who has a name is in `system:authenticated`.
    #[must_use]
    pub const fn by(mut self, user: &'a str, groups: &'a [&'a str]) -> Self {
        self.user = Some(user);
        self.groups = groups;
        self
    }

    /// Asks, with fields checked strictly, as kubectl does.
    ///
    /// # Errors
    /// The API server did not answer, or the object is of a kind that no test creates.
    pub async fn verdict(self) -> Result<Verdict> {
        let namespace = self.namespace;
        let path = match self.object.json()["kind"].as_str() {
            Some("Pod") => format!("/api/v1/namespaces/{namespace}/pods"),
            Some("TokenPolicy") => {
                format!("/apis/hallpass.dev/v1alpha1/namespaces/{namespace}/tokenpolicies")
            }
            Some("TokenAudience") => {
                format!("/apis/hallpass.dev/v1alpha1/namespaces/{namespace}/tokenaudiences")
            }
            Some("TokenRevocation") => {
                format!("/apis/hallpass.dev/v1alpha1/namespaces/{namespace}/tokenrevocations")
            }
            Some("ClusterTokenRevocation") => {
                "/apis/hallpass.dev/v1alpha1/clustertokenrevocations".to_owned()
            }
            Some("TokenIssuer") => "/apis/hallpass.dev/v1alpha1/tokenissuers".to_owned(),
            other => bail!("objects of kind {other:?} are not judged"),
        };
        let mut request = Request::post(format!("{path}?dryRun=All&fieldValidation=Strict"))
            .header("Content-Type", "application/json");
        if let Some(user) = self.user {
            request = request.header("Impersonate-User", user);
            for group in self.groups.iter().chain(&["system:authenticated"]) {
                request = request.header("Impersonate-Group", *group);
            }
        }
        let request = request.body(self.object.to_string().into_bytes())?;
        match self.client.request(request).await {
            Ok(object) => Ok(Verdict::Accepted(object)),
            Err(kube::Error::Api(status)) => Ok(Verdict::Refused(status)),
            Err(why) => Err(why).context("ask the API server"),
        }
    }

    /// Asks, and has to be accepted.
    ///
    /// # Errors
    /// It was refused; with what the API server said.
    pub async fn accepted(self) -> Result<Value> {
        match self.verdict().await? {
            Verdict::Accepted(object) => Ok(object),
            Verdict::Refused(status) => bail!("refused: {}", status.message),
        }
    }

    /// Asks, and has to be refused.
    ///
    /// # Errors
    /// It was accepted.
    pub async fn refused(self) -> Result<Box<Status>> {
        match self.verdict().await? {
            Verdict::Refused(status) => Ok(status),
            Verdict::Accepted(object) => bail!("accepted: {object}"),
        }
    }

    /// Asks, and has to be refused by that admission policy of ours, which says all of `why`. A
    /// refusal by anybody else is none.
    ///
    /// # Errors
    /// It was accepted, or refused otherwise.
    pub async fn refused_by(self, policy: &str, why: &[&str]) -> Result<()> {
        let status = self.refused().await?;
        let by = format!("ValidatingAdmissionPolicy '{policy}'");
        // Where the operator injects, it says itself why it cannot.
        let webhook = engine()? == Engine::Webhook && policy == "hallpass-injected";
        let first = webhook
            && status
                .message
                .contains(".inject.hallpass.dev\" denied the request");
        ensure!(
            (first || status.message.contains(&by))
                && why.iter().all(|why| status.message.contains(why)),
            "not refused by {policy} because {why:?}: {status:?}"
        );
        Ok(())
    }
}

/// Labels the namespace, and waits until its pods are injected or refused for it: admission reads namespaces from a watch
/// of the API server's own, so that a label counts a moment after it was stored.
///
/// # Errors
/// They are not.
pub async fn namespace_says(cluster: &Cluster, inject: &str) -> Result<()> {
    let label = format!("hallpass.dev/inject={inject}");
    kubectl(&["label", "namespace", &cluster.namespace, &label])
        .await?
        .success()?;
    let plain = pod("shape");
    until(Duration::from_secs(10), "the label counts", || async {
        if inject == "true" {
            let seen = cluster.create(&plain).accepted().await?;
            let first = &seen["spec"]["initContainers"][0]["name"];
            ensure!(first == "hallpass", not_yet(first));
            return Ok(());
        }
        let why = format!("not \"{inject}\"");
        cluster
            .create(&plain)
            .refused_by("hallpass-injected", &[&why])
            .await
    })
    .await
}
