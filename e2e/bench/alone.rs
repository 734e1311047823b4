//! The operator as a process outside of any cluster, with a [stand-in](crate::standin) for the API server: how it
//! is when there are more policies and pods than a machine like this could run.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use hallpass_e2e::{
    cluster::{IDENTITY_AUDIENCE, RELEASE},
    wait::{not_yet, now, until},
};
use rustls::ClientConfig;
use serde_json::json;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    bare::trusting,
    operator::ONE_CORE,
    standin::{ISSUER, StandIn},
};

mod population;

use population::AUDIENCES;
pub(crate) use population::{POLICIES, Population, TOKENS, token_name};

/// The name in the operator's certificate.
pub(crate) const NAME: &str = "hallpass.hallpass-system.svc";

/// The stand-in with a population, and the operator that watches it.
#[derive(Debug)]
pub(crate) struct Alone {
    pub(crate) api: StandIn,
    pub(crate) population: Population,
    program: PathBuf,
    folder: TempDir,
    running: Option<Running>,
}

/// The operator's process.
#[derive(Debug)]
struct Running {
    child: Child,
    /// Where sidecars ask.
    port: u16,
    metrics: u16,
}

impl Alone {
    /// The objects, of an operator that has been there before and is not now: its certificate is made, and the
    /// keys that tokens are signed with.
    pub(crate) async fn make(program: &Path, population: Population) -> Result<Self> {
        let (api, folder) = (StandIn::open().await?, TempDir::new()?);
        let kubeconfig = api.kubeconfig().to_string();
        fs::write(folder.path().join(KUBECONFIG), kubeconfig)?;
        // read for its audiences alone
        let claims = json!({"aud": ["https://kubernetes.default.svc"]}).to_string();
        let claims = BASE64_URL_SAFE_NO_PAD.encode(claims);
        fs::write(folder.path().join("token"), format!("e30.{claims}.e30"))?;
        population.begin(&api.store);
        let mut alone = Self {
            api,
            population,
            program: program.to_owned(),
            folder,
            running: None,
        };
        alone.start()?;
        alone.steady().await?;
        alone
            .ready(AUDIENCES, TOKENS, Duration::from_secs(60))
            .await?;
        alone.kill();
        population.put(&alone.api.store);
        alone.api.store.forget_writes();
        Ok(alone)
    }

    /// Starts the operator.
    pub(crate) fn start(&mut self) -> Result<()> {
        let (port, issuer, metrics) = (free_port()?, free_port()?, free_port()?);
        let at = |port: u16| format!("127.0.0.1:{port}");
        let log = fs::File::create(self.log())?;
        let child = Command::new("unshare")
            .args(["--mount", "sh", "-ec", OWN_TOKEN, "sh"])
            .arg(self.folder.path().join("token"))
            .args(["env", ONE_CORE])
            .arg(&self.program)
            .args([
                "--name",
                "hallpass",
                "--issuer-url",
                &format!("https://{NAME}"),
            ])
            .args(["--api-server-audience", "https://kubernetes.default.svc"])
            .args(["--api-addr", &at(port), "--issuer-addr", &at(issuer)])
            .args(["--metrics-addr", &at(metrics)])
            .env("KUBECONFIG", self.kubeconfig())
            .envs([("POD_NAME", "hallpass-0"), ("POD_NAMESPACE", RELEASE)])
            .envs([
                ("POD_UID", "11111111-0000-4000-8000-000000000000"),
                ("POD_IP", "127.0.0.1"),
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("start the operator")?;
        self.running = Some(Running {
            child,
            port,
            metrics,
        });
        Ok(())
    }

    /// Ends it, without a word.
    pub(crate) fn kill(&mut self) {
        self.running = None;
    }

    /// Waits until it is ready, writes statuses, and has said whom to trust.
    pub(crate) async fn steady(&self) -> Result<()> {
        let within = Duration::from_secs(120);
        let steady = until(within, "the operator is ready and leads", async || {
            let port = self.running()?.metrics;
            let ready = get(port, "/readyz").await?;
            ensure!(ready.starts_with("HTTP/1.1 200"), "{ready}");
            let metrics = get(port, "/metrics").await?;
            ensure!(
                metrics.contains("\nhallpass_leader 1\n"),
                "it does not lead"
            );
            Ok(())
        });
        steady.await.with_context(|| self.last_words())
    }

    /// Waits until every policy has the condition `Ready`.
    pub(crate) async fn all_ready(&self, within: Duration) -> Result<()> {
        self.ready(POLICIES, self.population.policies, within).await
    }

    async fn ready(&self, path: &str, count: usize, within: Duration) -> Result<()> {
        let ready = until(within, "all of them are ready", async || {
            let ready = self.api.store.ready(path);
            if ready >= count {
                Ok(())
            } else {
                Err(not_yet(ready))
            }
        });
        let ready = ready.await.with_context(|| path.to_owned());
        ready.with_context(|| self.last_words())
    }

    pub(crate) fn pid(&self) -> Result<u32> {
        Ok(self.running()?.child.id())
    }

    /// How others find the API server.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join(KUBECONFIG)
    }

    /// Where sidecars ask.
    pub(crate) fn port(&self) -> Result<u16> {
        Ok(self.running()?.port)
    }

    /// The authority of its certificate, in PEM.
    pub(crate) fn authority(&self) -> Result<String> {
        let name = format!("hallpass.dev:serving:{RELEASE}");
        let key = (String::new(), name);
        let bundle = self
            .api
            .store
            .get("certificates.k8s.io/v1/clustertrustbundles", &key);
        let bundle: serde_json::Value =
            serde_json::from_str(&bundle.context("a trust bundle")?.text(false))?;
        let pem = bundle["spec"]["trustBundle"].as_str();
        Ok(pem.context("an authority")?.to_owned())
    }

    /// A client that trusts it.
    pub(crate) fn client(&self) -> Result<Arc<ClientConfig>> {
        let file = self.folder.path().join("ca.pem");
        fs::write(&file, self.authority()?)?;
        trusting(&file)
    }

    /// The identity token of the pod of that number.
    pub(crate) fn identity(&self, pod: usize) -> Result<String> {
        let (who, now) = (self.population.pod(pod), now().as_second());
        let header = json!({"alg": "ES256", "kid": self.api.key.kid});
        let (namespace, account) = (&who.namespace, &who.account);
        self.api.key.sign(
            &header,
            &json!({
                "iss": ISSUER, "aud": [IDENTITY_AUDIENCE], "iat": now, "nbf": now, "exp": now + 7200,
                "sub": format!("system:serviceaccount:{namespace}:{account}"),
                "kubernetes.io": {
                    "namespace": namespace,
                    "pod": {"name": who.name, "uid": who.uid},
                    "serviceaccount": {"name": account, "uid": who.account_uid},
                },
            }),
        )
    }

    fn running(&self) -> Result<&Running> {
        self.running.as_ref().context("the operator does not run")
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("operator.log")
    }

    fn last_words(&self) -> String {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().rev().take(5).collect();
        format!("the operator's last words, backwards: {}", lines.join("\n"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // it keeps nothing but what the stand-in has
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// What a server on loopback answers, head and body, over plain HTTP.
async fn get(port: u16, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// A port that nobody listens at.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}

const KUBECONFIG: &str = "kubeconfig";

/// Gives what follows a service-account token of its own where it looks for one, which nobody else sees.
const OWN_TOKEN: &str = r#"
	mount -t tmpfs none /run
	mkdir -p /run/secrets/kubernetes.io/serviceaccount
	cp "$1" /run/secrets/kubernetes.io/serviceaccount/token
	shift
	exec "$@"
"#;
