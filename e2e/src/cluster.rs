//! The cluster under test, with Hallpass installed once for all tests.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use kube::Client;
use tokio::sync::{OnceCell, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::{
    command::{kubectl, kubectl_with, run},
    inventory::Inventory,
    manifest,
    operator::settled,
    readme::block,
    remark::remark,
    wait::{not_yet, until},
};

/// The namespace of the release.
pub const RELEASE: &str = "hallpass-system";
/// The audience of the identity tokens.
pub const IDENTITY_AUDIENCE: &str = "hallpass.dev/hallpass-system";

/// Tests that take something from the others (a right, the operator itself) hold it alone.
static SHARED: RwLock<()> = RwLock::const_new(());
static INSTALLED: OnceCell<()> = OnceCell::const_new();
static BEFORE: OnceCell<Inventory> = OnceCell::const_new();

/// A namespace of one test on a cluster where Hallpass runs.
pub struct Cluster {
    /// A client with every right.
    pub client: Client,
    /// The namespace of this test.
    pub namespace: String,
    _guard: Guard,
}

#[derive(Debug)]
#[expect(dead_code, reason = "held, never looked at")]
enum Guard {
    Shared(RwLockReadGuard<'static, ()>),
    Alone(RwLockWriteGuard<'static, ()>),
    Beside,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster")
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}

impl Cluster {
    /// A fresh namespace, beside other tests.
    ///
    /// # Errors
    /// The cluster or the installation is broken.
    pub async fn shared(test: &str) -> Result<Self> {
        let guard = Guard::Shared(SHARED.read().await);
        Self::with(test, guard).await
    }

    /// A fresh namespace while no other test runs: for tests that disturb the whole cluster.
    ///
    /// # Errors
    /// The cluster or the installation is broken.
    pub async fn alone(test: &str) -> Result<Self> {
        let guard = Guard::Alone(SHARED.write().await);
        Self::with(test, guard).await
    }

    /// A second namespace of the same test, for no longer than it has this one. (Who asks for a
    /// second guard instead waits for the next one who wants to be alone, and that one for him.)
    ///
    /// # Errors
    /// The cluster is broken.
    pub async fn beside(&self, test: &str) -> Result<Self> {
        Self::with(test, Guard::Beside).await
    }

    async fn with(test: &str, guard: Guard) -> Result<Self> {
        INSTALLED.get_or_try_init(install).await?;
        let namespace = format!("{test}-{:04x}", rand::random::<u16>());
        kubectl(&["create", "namespace", &namespace])
            .await?
            .success()?;
        // a pod is refused until its service account is there; after a fault of the API server what makes it starts again
        until(
            Duration::from_secs(60),
            "the default service account",
            || async {
                kubectl(&["get", "serviceaccount", "default", "-n", &namespace])
                    .await?
                    .success()
            },
        )
        .await?;
        // one client a test: a runtime of its own drives its connections
        let client = Client::try_default().await.context("make a client")?;
        Ok(Self {
            client,
            namespace,
            _guard: guard,
        })
    }

    /// The example that most tests start from: a service account `orders`, and a policy that gives its
    /// pods the token `vault` for `https://vault.example`.
    ///
    /// # Errors
    /// The API server refused one of them.
    pub async fn orders(&self) -> Result<()> {
        let policy = manifest::policy("orders", "orders", &[("vault", "https://vault.example")]);
        self.apply(&manifest::service_account("orders").to_string())
            .await?;
        self.apply(&policy.to_string()).await?;
        Ok(())
    }

    /// `kubectl -n NAMESPACE ARGS`.
    ///
    /// # Errors
    /// kubectl could not be run.
    pub async fn kubectl(&self, args: &[&str]) -> Result<crate::command::Said> {
        kubectl(&[&["-n", &self.namespace], args].concat()).await
    }

    /// Applies a manifest in the namespace of this test.
    ///
    /// # Errors
    /// It was refused.
    pub async fn apply(&self, manifest: &str) -> Result<String> {
        self.try_apply(manifest).await?.success()
    }

    /// Tries to apply a manifest in the namespace of this test.
    ///
    /// # Errors
    /// kubectl could not be run.
    pub async fn try_apply(&self, manifest: &str) -> Result<crate::command::Said> {
        kubectl_with(
            &["-n", &self.namespace, "apply", "--server-side", "-f", "-"],
            manifest,
        )
        .await
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // the deletion goes on by itself; a test does not wait for it
        let deleted = std::process::Command::new("kubectl")
            .args(["delete", "namespace", &self.namespace, "--wait=false"])
            .stdout(std::process::Stdio::null())
            .status();
        if let Err(why) = deleted {
            remark(&format!(
                "the namespace {} stays behind: {why}",
                self.namespace
            ));
        }
    }
}

/// What there was before the chart was installed; `None` where it was there already.
#[must_use]
pub fn before() -> Option<&'static Inventory> {
    BEFORE.get()
}

/// Installs the chart as the README says, where it is not, and waits until pods are injected.
///
/// # Errors
/// It cannot be installed, or the operator does not become ready.
pub async fn install() -> Result<()> {
    if rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .is_err()
    {
        // it was installed already, and there is only this one
    }
    let release = run("helm", &["status", "hallpass", "-n", RELEASE], None).await?;
    if !release.ok {
        BEFORE.get_or_try_init(Inventory::take).await?;
        install_chart().await?;
    }
    let args = [
        "rollout",
        "status",
        "deployment/hallpass",
        "-n",
        RELEASE,
        "--timeout=120s",
    ];
    kubectl(&args)
        .await?
        .success()
        .context("the operator does not become ready")?;
    // a policy of the API server that was just created takes a while to be in force
    until(
        Duration::from_secs(60),
        "a labelled pod is injected",
        || async {
            let args = [
                "-n",
                "default",
                "create",
                "--dry-run=server",
                "-o",
                "json",
                "-f",
                "-",
            ];
            let created =
                kubectl_with(&args, &manifest::pod("probe").injected().to_string()).await?;
            let created = created.success()?;
            if created.contains("hallpass-identity") {
                Ok(())
            } else {
                Err(not_yet("a bare pod"))
            }
        },
    )
    .await
}

async fn install_chart() -> Result<()> {
    let as_documented = block("install")?;
    let install = match engine()? {
        Engine::AdmissionPolicy => as_documented,
        // what the README says for a cluster that has no such policies
        Engine::Webhook => {
            let with = as_documented.replace(
                "helm install ",
                "helm install --set injection.engine=Webhook ",
            );
            ensure!(with != as_documented, "the README installs by helm install");
            with
        }
    };
    let script = format!("cd {} && {install}", checkout().display());
    run("sh", &["-ec", &script], None)
        .await?
        .success()
        .context("the README's way to install")?;
    Ok(())
}

/// What injects on the cluster under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// The API server itself.
    AdmissionPolicy,
    /// The operator, for a cluster older than Kubernetes 1.37.
    Webhook,
}

/// The engine that `HALLPASS_E2E_ENGINE` names, as chart value `injection.engine` does.
///
/// # Errors
/// It names another one.
pub fn engine() -> Result<Engine> {
    let named = std::env::var_os("HALLPASS_E2E_ENGINE");
    match named.as_ref().map(|named| named.to_str()) {
        None | Some(Some("AdmissionPolicy")) => Ok(Engine::AdmissionPolicy),
        Some(Some("Webhook")) => Ok(Engine::Webhook),
        Some(_) => bail!("HALLPASS_E2E_ENGINE: want AdmissionPolicy or Webhook"),
    }
}

/// Changes values of the release and leaves the others as they are: `sidecar.image.tag=next`. Where the operator has to be
/// replaced for that, it was.
///
/// # Errors
/// helm refused, or the operator did not become ready.
pub async fn upgrade(values: &str) -> Result<()> {
    let chart = checkout().join("charts/hallpass");
    let chart = chart.to_str().context("a path in UTF-8")?;
    let args = ["upgrade", "hallpass", chart, "-n", RELEASE];
    let values = ["--reuse-values", "--set", values];
    run("helm", &[&args[..], &values].concat(), None)
        .await?
        .success()?;
    settled().await
}

/// The root of the checkout.
#[must_use]
pub fn checkout() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}
