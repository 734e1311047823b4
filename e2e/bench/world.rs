//! A cluster with a thousand policies, and the identities of pods that need not run: what the operator
//! is asked with.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::Result;
use hallpass_e2e::{
    cluster,
    command::kubectl,
    wait::{not_yet, until},
};

use self::api_server::ApiServer;

pub(crate) mod api_server;
mod object;

/// The policies, each for a service account of its own.
pub(crate) const POLICIES: usize = 1000;
/// The namespaces that they are in.
const NAMESPACES: usize = 20;
/// The pods under each service account.
const PODS: usize = 3;
/// The pods under all of them.
pub(crate) const PODS_IN_ALL: usize = POLICIES * PODS;
/// The tokens of a policy, each of an audience of its own.
pub(crate) const TOKENS: usize = 16;
/// Of the audiences, the one whose tokens are opaque.
pub(crate) const OPAQUE: usize = 0;
/// Who checks the tokens of the opaque audience: service accounts, and pods under each.
const VERIFIERS: usize = 16;
const VERIFIER_PODS: usize = 8;
/// A node without a kubelet. Its pods are objects and nothing more.
pub(crate) const NODE: &str = "bench";
/// The namespace of the audiences and of those who check their tokens.
pub(crate) const APIS: &str = "bench-apis";

/// A pod as an object.
#[derive(Debug, Clone)]
pub(crate) struct Pod {
    pub(crate) namespace: String,
    pub(crate) account: String,
    pub(crate) name: String,
    pub(crate) uid: String,
}

/// What there is in the cluster.
#[derive(Debug)]
pub(crate) struct World {
    /// How the API server is reached.
    pub(crate) api: ApiServer,
    /// The pods that may have tokens.
    pub(crate) pods: Arc<Vec<Pod>>,
    /// Their identity tokens, in the same order.
    pub(crate) identities: Arc<Vec<String>>,
    /// The identity tokens of those who check tokens.
    pub(crate) verifiers: Arc<Vec<String>>,
}

impl World {
    /// Makes all of it, and waits until the operator has seen and judged it.
    ///
    /// # Errors
    /// The API server refused something, or the operator does not get through.
    pub(crate) async fn make(state: &Path) -> Result<Self> {
        cluster::install().await?;
        let api = ApiServer::new(state)?;
        api.create_all(object::before_pods())?;
        let pods = api.create_pods(&object::consumers())?;
        let verifiers = api.create_pods(&object::verifiers())?;
        settled().await?;
        let identities = api.identities(&pods)?;
        let verifiers = api.identities(&verifiers)?;
        Ok(Self {
            api,
            pods: Arc::new(pods),
            identities: Arc::new(identities),
            verifiers: Arc::new(verifiers),
        })
    }

    /// Has that many revocations in force, each of a token that nobody has.
    ///
    /// # Errors
    /// The API server refused one.
    pub(crate) fn revoke(&self, count: usize) -> Result<()> {
        self.api.create_all(vec![object::revocations(count)])
    }
}

/// The `aud` of the tokens of the audience of that number.
pub(crate) fn audience(number: usize) -> String {
    format!("https://api-{number}.{APIS}.svc")
}

/// Waits until every policy has its status: the operator has nothing left to do.
async fn settled() -> Result<()> {
    let within = Duration::from_secs(120);
    until(within, "every policy has its status", || async {
        let path = r#"jsonpath={range .items[*]}{.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}"#;
        let args = ["get", "tokenpolicies", "-A", "-o", path];
        let said = kubectl(&args).await?.success()?;
        let ready = said.lines().filter(|line| *line == "True").count();
        if ready >= POLICIES { Ok(()) } else { Err(not_yet(ready)) }
    })
    .await
}
