//! Everything that is written down anywhere, and the search for tokens in it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use tempfile::{NamedTempFile, TempDir};

use crate::{
    cluster::{Cluster, RELEASE},
    command::{kubectl, run},
    local::LocalPod,
    operator::{Replica, replicas},
    pod::Answer,
    process::Process,
    state,
};

/// What was written down, by its source.
#[derive(Debug)]
pub struct Hay {
    folder: TempDir,
    etcd: Option<PathBuf>,
}

/// A text that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The source that it was found in.
    pub source: String,
    /// The text.
    pub text: String,
}

/// The source of requests that carry a token because they ask about it.
pub const REVIEWS: &str = "audit-of-reviews";

impl Hay {
    /// Reads all logs of Hallpass and of the test's pods, what both programs say of themselves, all events, policies and
    /// pods; and, of a cluster of our own, what the API server and etcd keep in files, and the environments of both
    /// programs.
    ///
    /// # Errors
    /// One of them could not be read.
    pub async fn gather(cluster: &Cluster) -> Result<Self> {
        let etcd = state::folder("the search through etcd and the API server's audit log");
        let hay = Self {
            folder: TempDir::new()?,
            etcd: etcd.as_ref().map(|state| state.join("etcd")),
        };
        for replica in replicas().await? {
            hay.logs("operator", RELEASE, &replica.pod).await?;
            hay.of_replica(&replica).await?;
        }
        let injected = ["get", "pods", "-l", INJECTED, "-o", "name"];
        for pod in cluster.kubectl(&injected).await?.success()?.lines() {
            let pod = pod.trim_start_matches("pod/");
            hay.of_sidecar(cluster, pod).await?;
        }
        let pods = cluster.kubectl(&["get", "pods", "-o", "name"]).await?;
        for pod in pods.success()?.split_whitespace() {
            let pod = pod.trim_start_matches("pod/");
            hay.logs("pod", &cluster.namespace, pod).await?;
        }
        for kind in ["events", "tokenpolicies.hallpass.dev", "pods"] {
            let args = ["get", kind, "--all-namespaces", "-o", "json"];
            hay.put(kind, &kubectl(&args).await?.success()?)?;
        }
        if let Some(state) = etcd {
            hay.audit(&state).await?;
        }
        Ok(hay)
    }

    /// What the operator itself wrote: records and remarks.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn operator_logs(&self) -> Result<String> {
        let mut logs = String::new();
        for entry in fs::read_dir(self.folder.path())? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            if name.is_some_and(|name| name.starts_with("operator-")) {
                logs += &fs::read_to_string(&path)?;
            }
        }
        Ok(logs)
    }

    /// Where one of these texts is written.
    ///
    /// # Errors
    /// The search failed.
    pub async fn search(&self, texts: &[String]) -> Result<Vec<Found>> {
        let patterns = NamedTempFile::new()?;
        fs::write(patterns.path(), texts.join("\n"))?;
        let patterns = patterns.path().to_str().context("a path in UTF-8")?;
        self.grep(&["-F", "-f", patterns]).await
    }

    /// Whatever looks like a JWT with an object for its claims, or like an opaque token of Hallpass.
    ///
    /// # Errors
    /// The search failed.
    pub async fn tokens(&self) -> Result<Vec<Found>> {
        let part = "eyJ[A-Za-z0-9_-]+";
        let jwt = format!("{part}\\.{part}\\.[A-Za-z0-9_-]*");
        let opaque = "hpo_[a-z2-7]{8}_[A-Za-z0-9_-]{84,}";
        self.grep(&["-E", "-e", &jwt, "-e", opaque]).await
    }

    /// Keeps what somebody was answered.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn answer(&self, source: &str, answer: &Answer) -> Result<()> {
        self.put(source, &answer.body)
    }

    async fn grep(&self, what: &[&str]) -> Result<Vec<Found>> {
        let how = ["-r", "-a", "-o", "--null", "--with-filename"];
        let folder = self.folder.path().to_str().context("a path in UTF-8")?;
        let etcd = self.etcd.as_deref().and_then(Path::to_str);
        let places: Vec<&str> = [folder].into_iter().chain(etcd).collect();
        let args = [&how[..], what, &["--"], &places].concat();
        let said = run("grep", &args, None).await?;
        // It ends with 1 where it finds nothing, and says so where it could not look. Files come and
        // go in a database that is in use.
        let gone = |line: &str| line.ends_with("No such file or directory");
        ensure!(said.stderr.lines().all(gone), "grep: {}", said.stderr);
        let found = said.stdout.lines().filter_map(|line| line.split_once('\0'));
        Ok(found
            .map(|(path, text)| Found {
                source: match etcd {
                    Some(etcd) if path.starts_with(etcd) => "etcd".to_owned(),
                    _ => path.rsplit('/').next().unwrap_or_default().to_owned(),
                },
                text: text.to_owned(),
            })
            .collect())
    }

    async fn of_replica(&self, replica: &Replica) -> Result<()> {
        for path in SAYS {
            let answer = replica.health(path).await?;
            self.says(&replica.pod, path, &answer)?;
        }
        if self.etcd.is_some() {
            let environment = Process::of(replica).await?.environment()?;
            self.put(&format!("environment-{}", replica.pod), &environment)?;
        }
        Ok(())
    }

    async fn of_sidecar(&self, cluster: &Cluster, pod: &str) -> Result<()> {
        for path in SAYS {
            let answer = cluster.get(pod, "app", path).await?;
            self.says(pod, path, &answer)?;
        }
        if self.etcd.is_some() {
            let sidecar = LocalPod::find(cluster, pod).await?.sidecar()?;
            self.put(&format!("environment-{pod}"), &sidecar.environment()?)?;
        }
        Ok(())
    }

    fn says(&self, who: &str, path: &str, answer: &Answer) -> Result<()> {
        ensure!(answer.status == 200, "{who} {path}: {answer:?}");
        let path = path.trim_start_matches('/');
        self.answer(&format!("{path}-{who}"), answer)
    }

    async fn logs(&self, source: &str, namespace: &str, pod: &str) -> Result<()> {
        let args = ["logs", "-n", namespace, pod, "--all-containers"];
        let logs = kubectl(&args).await?.success()?;
        self.put(&format!("{source}-{pod}"), &logs)
    }

    /// The API server's audit log, in two: a `TokenReview` carries the token that it asks about.
    async fn audit(&self, state: &Path) -> Result<()> {
        let log = state.join("audit.log");
        let log = log.to_str().context("a path in UTF-8")?;
        let review = "\"objectRef\":{\"resource\":\"tokenreviews\"";
        for (source, which) in [(REVIEWS, &["-F"][..]), ("audit", &["-v", "-F"])] {
            let args = [&["-a"], which, &["--", review, log]].concat();
            self.put(source, &run("grep", &args, None).await?.stdout)?;
        }
        Ok(())
    }

    fn put(&self, source: &str, text: &str) -> Result<()> {
        fs::write(self.folder.path().join(source), text).context("keep what was read")
    }
}

/// Texts of which at least one is within any 40 bytes of the token's claims and signature: its blocks
/// of 20. The header is left out: it is the same for every token of the cluster.
///
/// # Errors
/// It is no token.
pub fn blocks(token: &str) -> Result<Vec<String>> {
    let (_, rest) = token.split_once('.').context("a token has a header")?;
    Ok(split(rest))
}

/// The same of the signature alone.
///
/// # Errors
/// It is no token.
pub fn blocks_of_signature(token: &str) -> Result<Vec<String>> {
    let (_, signature) = token.rsplit_once('.').context("a token has a signature")?;
    Ok(split(signature))
}

/// The same of an opaque token: of what is sealed, since its head is the same for every token of a key and an audience.
///
/// # Errors
/// It is none.
pub fn blocks_of_opaque(token: &str) -> Result<Vec<String>> {
    let payload = token.strip_prefix("hpo_").and_then(|rest| rest.get(9..));
    let sealed = payload.and_then(|payload| payload.get(HEAD..));
    Ok(split(sealed.context("an opaque token has a payload")?))
}

fn split(text: &str) -> Vec<String> {
    let blocks = text.as_bytes().chunks_exact(20);
    blocks
        .map(|block| String::from_utf8_lossy(block).into_owned())
        .collect()
}

const INJECTED: &str = "hallpass.dev/injected=true";
/// What both programs say of themselves.
const SAYS: [&str; 2] = ["/metrics", "/readyz"];
/// The 17 bytes that tell the key and the audience, in base64.
const HEAD: usize = 24;
