//! Sidecars without a pod around them: real processes, each in a root of its own that is like its
//! container's, for pods of which the API server knows and which no node runs.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use http::Request;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    authority::published,
    cluster::{Cluster, IDENTITY_AUDIENCE, RELEASE},
    command::kubectl,
    manifest::pod,
    operator::replicas,
    process::Process,
    reads::Source,
    wait::until,
};

/// The processes, until this is dropped.
#[derive(Debug)]
pub struct Sidecars {
    folder: TempDir,
    children: Vec<Child>,
}

impl Sidecars {
    /// Starts so many, of pods under that service account, from the program that runs as `like`.
    ///
    /// # Errors
    /// A pod or its identity was refused, or a process does not start.
    pub async fn start(
        cluster: &Cluster,
        account: &str,
        like: Process,
        count: usize,
    ) -> Result<Self> {
        let folder = TempDir::new()?;
        fs::copy(
            format!("/proc/{}/exe", like.0),
            folder.path().join("sidecar"),
        )?;
        let authority = published().await?;
        let hosts = hosts().await?;
        devices(&folder.path().join("devices"))?;
        node(cluster).await?;
        let mut sidecars = Self {
            folder,
            children: Vec::new(),
        };
        for number in 0..count {
            let identity = identity(cluster, account, &format!("crowd-{number}")).await?;
            let root = sidecars.root(number);
            sidecars.furnish(&root, &identity, &authority, &hosts)?;
            sidecars.children.push(serve(&root)?);
        }
        Ok(sidecars)
    }

    /// The tokens of that name of the first so many.
    #[must_use]
    pub fn sources(&self, count: usize, token: &str) -> Vec<Source> {
        let source = |number| Source {
            name: Arc::from(format!("crowd-{number}/{token}")),
            socket: self.root(number).join("run/hallpass/app/hallpass.sock"),
            token: token.to_owned(),
        };
        (0..count).map(source).collect()
    }

    fn root(&self, number: usize) -> PathBuf {
        self.folder.path().join(number.to_string())
    }

    fn furnish(&self, root: &Path, identity: &str, authority: &str, hosts: &str) -> Result<()> {
        let secrets = root.join("var/run/secrets/hallpass.dev");
        let boot = root.join(BOOT.trim_start_matches('/'));
        let (app, etc) = (root.join("run/hallpass/app"), root.join("etc"));
        let above = boot.parent().context("a file has a folder")?;
        let cache = root.join("var/cache/hallpass");
        for folder in [&secrets, &app, &etc, &cache, above, &root.join("dev")] {
            fs::create_dir_all(folder)?;
        }
        for (name, _) in DEVICES {
            let device = self.folder.path().join("devices").join(name);
            fs::hard_link(device, root.join("dev").join(name))?;
        }
        fs::hard_link(
            self.folder.path().join("sidecar"),
            root.join("hallpass-sidecar"),
        )?;
        fs::write(&boot, fs::read(BOOT)?)?;
        fs::write(secrets.join("token"), identity)?;
        fs::write(secrets.join("ca.pem"), authority)?;
        fs::write(etc.join("nsswitch.conf"), "hosts: files\n")?;
        fs::write(etc.join("hosts"), hosts)?;
        Ok(())
    }
}

impl Drop for Sidecars {
    fn drop(&mut self) {
        for child in &mut self.children {
            // one that has ended needs no more
            drop(child.kill());
            drop(child.wait());
        }
        let delete = ["delete", "node", NODE, "--wait=false"];
        drop(Command::new("kubectl").args(delete).output());
    }
}

/// Where the operator's names lead, without a server for names.
async fn hosts() -> Result<String> {
    let path = "jsonpath={.spec.clusterIP}";
    let get = ["get", "service", "hallpass", "-n", RELEASE, "-o", path];
    let mut hosts = format!("{} {OPERATOR}\n", kubectl(&get).await?.success()?);
    for replica in replicas().await? {
        hosts += &format!("{} {REPLICAS}\n", replica.address);
    }
    Ok(hosts)
}

fn devices(folder: &Path) -> Result<()> {
    fs::create_dir(folder)?;
    for (name, minor) in DEVICES {
        let mut mknod = Command::new("mknod");
        let made = mknod
            .arg(folder.join(name))
            .args(["c", "1", minor])
            .status()?;
        ensure!(made.success(), "make the device {name}");
    }
    Ok(())
}

fn serve(root: &Path) -> Result<Child> {
    Command::new("/usr/sbin/chroot")
        .arg(root)
        .args(["/hallpass-sidecar", "serve"])
        .env_clear()
        .envs([
            ("HALLPASS_OPERATOR", format!("{OPERATOR}:443")),
            ("HALLPASS_REPLICAS", format!("{REPLICAS}:8443")),
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("start a sidecar")
}

/// A node that only has a name.
async fn node(cluster: &Cluster) -> Result<()> {
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}});
    cluster.apply(&node.to_string()).await?;
    Ok(())
}

/// The identity of a pod of that name, which is made for it.
async fn identity(cluster: &Cluster, account: &str, name: &str) -> Result<String> {
    let pod = pod(name)
        .injected()
        .under(account)
        .with("/spec/nodeName", json!(NODE))
        .with("/spec/tolerations", json!([{"operator": "Exists"}]));
    let pods = format!("/api/v1/namespaces/{}/pods", cluster.namespace);
    let request = Request::post(&pods).header("Content-Type", "application/json");
    let request = request.body(pod.to_string().into_bytes())?;
    let made: Value = cluster.client.request(request).await?;
    let token = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
        "spec": {
            "audiences": [IDENTITY_AUDIENCE], "expirationSeconds": 7200,
            "boundObjectRef": {
                "apiVersion": "v1", "kind": "Pod", "name": name, "uid": made["metadata"]["uid"],
            },
        },
    });
    let path = format!(
        "/api/v1/namespaces/{}/serviceaccounts/{account}/token",
        cluster.namespace
    );
    let body = token.to_string().into_bytes();
    // admission knows of a pod a moment after it was made
    let answer: Value = until(SEEN, "the node may ask for it", || async {
        let request = Request::post(&path)
            .header("Content-Type", "application/json")
            .header("Impersonate-User", format!("system:node:{NODE}"))
            .header("Impersonate-Group", "system:nodes")
            .header("Impersonate-Group", "system:authenticated");
        let request = request.body(body.clone())?;
        Ok(cluster.client.request(request).await?)
    })
    .await?;
    let token = answer["status"]["token"].as_str();
    token.map(str::to_owned).context("an identity")
}

const SEEN: Duration = Duration::from_secs(20);
const NODE: &str = "crowd";
const OPERATOR: &str = "hallpass.hallpass-system.svc";
const REPLICAS: &str = "hallpass-replicas.hallpass-system.svc";
/// The devices of a container that a sidecar may open, and their numbers beside the 1 of memory devices.
const DEVICES: [(&str, &str); 3] = [("null", "3"), ("random", "8"), ("urandom", "9")];
/// What tells one boot of the machine from another.
const BOOT: &str = "/proc/sys/kernel/random/boot_id";
