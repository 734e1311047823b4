//! The release under test as other versions of it: the next one, which differs by its number alone, and
//! the one before, with its own chart and programs.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use crate::{
    cluster::{RELEASE, checkout},
    command::run,
    operator::whole,
    remark::remark,
};

/// A chart whose images the cluster has.
#[derive(Debug)]
pub struct Chart {
    /// What its images are tagged with.
    pub version: String,
    folder: PathBuf,
    _kept: Option<TempDir>,
}

impl Chart {
    /// That of the checkout.
    ///
    /// # Errors
    /// It names no version.
    pub fn current() -> Result<Self> {
        Self::at(checkout().join("charts/hallpass"))
    }

    /// The same as the next version: its images are those of the checkout, under another tag.
    ///
    /// # Errors
    /// It cannot be copied, or containerd refuses the tags.
    pub async fn next() -> Result<Self> {
        let (current, kept) = (Self::current()?, TempDir::new()?);
        let folder = kept.path().join("hallpass");
        let paths = [&current.folder, &folder].map(|path| path.display().to_string());
        run("cp", &["-R", &paths[0], &paths[1]], None)
            .await?
            .success()?;
        let named = fs::read_to_string(folder.join(NAMED))?.replace(&current.version, NEXT);
        fs::write(folder.join(NAMED), named)?;
        for image in ["operator", "sidecar"] {
            let tag = |version: &str| format!("{IMAGES}-{image}:{version}");
            let tags = [tag(&current.version), tag(NEXT)];
            let args = ["images", "tag", "--force", &tags[0], &tags[1]];
            run("ctr", &args, None).await?.success()?;
        }
        let kept = Some(kept);
        Ok(Self {
            _kept: kept,
            ..Self::at(folder)?
        })
    }

    /// That of the release before, which `e2e/previous` makes; [`None`], with a remark, where it did not.
    ///
    /// # Errors
    /// It names no version.
    pub fn previous() -> Result<Option<Self>> {
        let Some(folder) = std::env::var_os("HALLPASS_E2E_PREVIOUS") else {
            remark("skipped without a release before this one: what becomes of it");
            return Ok(None);
        };
        Self::at(folder.into()).map(Some)
    }

    fn at(folder: PathBuf) -> Result<Self> {
        let named = fs::read_to_string(folder.join(NAMED)).context("read the chart's name")?;
        let mut lines = named.lines();
        let version = lines.find_map(|line| line.strip_prefix("appVersion: "));
        Ok(Self {
            version: version.context("a version")?.trim_matches('"').to_owned(),
            folder,
            _kept: None,
        })
    }

    /// Has the release be of this chart, as the documents say, and waits until its replicas are.
    ///
    /// # Errors
    /// helm refuses, or the replicas do not become ready.
    pub async fn upgrade(&self) -> Result<()> {
        self.helm("upgrade", &["--reset-then-reuse-values"]).await
    }

    /// Installs it afresh in place of what there is. Definitions and keys stay.
    ///
    /// # Errors
    /// helm refuses, or the replicas do not become ready.
    pub async fn install(&self) -> Result<()> {
        let uninstall = ["uninstall", "hallpass", "-n", RELEASE, "--wait"];
        run("helm", &uninstall, None).await?.success()?;
        self.helm("install", &["--set", "image.registry=registry.local"])
            .await
    }

    /// The sidecar's image.
    #[must_use]
    pub fn sidecar(&self) -> String {
        format!("{IMAGES}-sidecar:{}", self.version)
    }

    async fn helm(&self, verb: &str, with: &[&str]) -> Result<()> {
        let chart = self.folder.to_str().context("a path in UTF-8")?;
        let args = [&[verb, "hallpass", chart, "-n", RELEASE], with].concat();
        run("helm", &args, None).await?.success()?;
        self.runs().await
    }

    /// Waits until all replicas are of it.
    ///
    /// # Errors
    /// They do not become ready, or are of another one.
    pub async fn runs(&self) -> Result<()> {
        whole().await?;
        let path = "jsonpath={.spec.template.spec.containers[0].image}";
        let get = ["get", "deployment", "hallpass", "-n", RELEASE, "-o", path];
        let image = run("kubectl", &get, None).await?.success()?;
        let wanted = format!("{IMAGES}-operator:{}", self.version);
        ensure!(image == wanted, "{image} runs and not {wanted}");
        Ok(())
    }
}

/// Has the release be what it was before the last change.
///
/// # Errors
/// helm refuses, or the replicas do not become ready.
pub async fn rolled_back() -> Result<()> {
    let rollback = ["rollback", "hallpass", "-n", RELEASE];
    run("helm", &rollback, None).await?.success()?;
    whole().await
}

const IMAGES: &str = "registry.local/hallpass";
const NAMED: &str = "Chart.yaml";
const NEXT: &str = "0.1.1-next";
