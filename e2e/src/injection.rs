//! What injection adds to a pod: taken out again, piece by piece, until the pod is what it would be
//! without.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::{
    cluster::{Cluster, Engine, IDENTITY_AUDIENCE, RELEASE, engine},
    comparable::{comparable, remove, tidy},
    manifest::Manifest,
};

/// What is particular to the injection of one pod.
#[derive(Debug, Clone)]
pub struct Injection<'a> {
    service_account: &'a str,
    waits: bool,
    own_socket: &'a [&'a str],
    resources: Option<Value>,
    position: usize,
    user: Option<u32>,
    image: Option<&'a str>,
    pulled: &'a str,
    pull_secrets: &'a [&'a str],
}

impl Default for Injection<'_> {
    fn default() -> Self {
        Self {
            service_account: "default",
            waits: true,
            own_socket: &[],
            resources: None,
            position: 0,
            user: Some(65532),
            image: None,
            pulled: "IfNotPresent",
            pull_secrets: &[],
        }
    }
}

impl<'a> Injection<'a> {
    /// The pod runs under that service account.
    #[must_use]
    pub const fn under(mut self, service_account: &'a str) -> Self {
        self.service_account = service_account;
        self
    }

    /// The pod starts at once.
    #[must_use]
    pub const fn immediate(mut self) -> Self {
        self.waits = false;
        self
    }

    /// These containers have a `HALLPASS_SOCKET` of their own.
    #[must_use]
    pub const fn own_socket(mut self, containers: &'a [&'a str]) -> Self {
        self.own_socket = containers;
        self
    }

    /// The sidecar has exactly these resources.
    #[must_use]
    pub fn resources(mut self, resources: Value) -> Self {
        self.resources = Some(resources);
        self
    }

    /// The sidecar comes after that many init containers.
    #[must_use]
    pub const fn after(mut self, others: usize) -> Self {
        self.position = others;
        self
    }

    /// The sidecar runs as that user and group; with none, as the cluster says.
    #[must_use]
    pub const fn running_as(mut self, user: Option<u32>) -> Self {
        self.user = user;
        self
    }

    /// The sidecar has exactly that image.
    #[must_use]
    pub const fn image(mut self, image: &'a str) -> Self {
        self.image = Some(image);
        self
    }

    /// It is pulled so, with the pod's own secrets and these.
    #[must_use]
    pub const fn pulled(mut self, policy: &'a str, secrets: &'a [&'a str]) -> Self {
        self.pulled = policy;
        self.pull_secrets = secrets;
        self
    }

    /// Creates the pod with and without the sidecar, and once more as the API server printed it, and
    /// checks both. Nothing is stored. Returns the pod with the sidecar.
    ///
    /// # Errors
    /// It was refused, or is not as it should be.
    pub async fn of(&self, cluster: &Cluster, pod: &Manifest) -> Result<Value> {
        let plain = pod.clone().label("hallpass.dev/inject", "false");
        let plain = plain.without("/metadata/labels/hallpass.dev~1injected");
        let plain = cluster.create(&plain).accepted().await.context("plain")?;
        let pod = pod.clone().injected();
        let seen = cluster.create(&pod).accepted().await.context("injected")?;
        self.check(&seen, &plain)?;
        let again = cluster.create(&printed(&seen)).accepted().await;
        let again = again.context("injected and created again")?;
        self.check(&again, &plain)
            .context("injected and created again")?;
        Ok(seen)
    }

    /// Checks that the pod is `plain` with the sidecar in it, and nothing else.
    ///
    /// # Errors
    /// The first difference.
    pub fn check(&self, pod: &Value, plain: &Value) -> Result<()> {
        let (mut pod, mut plain) = (comparable(pod)?, comparable(plain)?);
        self.take_marks(&mut pod, &mut plain)?;
        let inits = &mut pod["spec"]["initContainers"];
        let there = &inits[self.position]["name"];
        ensure!(
            there == "hallpass",
            "init container {} is {there}",
            self.position
        );
        let sidecar = take(inits, |c| c["name"] == "hallpass").context("it was there")?;
        let (mut mounts, mut volumes) = (Vec::new(), Vec::new());
        for (list, letter) in [("containers", 'c'), ("initContainers", 'i')] {
            let containers = pod["spec"][list].as_array_mut().into_iter().flatten();
            for (position, container) in containers.enumerate() {
                let volume = format!("hallpass-{letter}{position}");
                self.take_directory(container, &volume)?;
                let name = container["name"].as_str().context("a name")?;
                mounts.push(json!({"name": volume, "mountPath": format!("/run/hallpass/{name}")}));
                volumes.push(json!({
                    "name": volume, "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"},
                }));
            }
        }
        volumes.extend([
            identity()?,
            json!({"name": "hallpass-cache", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}),
        ]);
        let ours: Vec<Value> = std::iter::from_fn(|| {
            let volumes = pod["spec"]["volumes"].as_array_mut()?;
            let at = volumes.iter().position(is_ours)?;
            Some(volumes.remove(at))
        })
        .collect();
        same("the volumes", &json!(ours), &json!(volumes))?;
        take_evictable(&mut pod, &mut plain, &ours)?;
        self.take_pull_secrets(&mut pod, &mut plain)?;
        self.check_sidecar(sidecar, mounts)?;
        for pod in [&mut pod, &mut plain] {
            tidy(pod);
        }
        same("the rest of the pod", &pod["spec"], &plain["spec"])?;
        same("its metadata", &pod["metadata"], &plain["metadata"])
    }

    fn take_marks(&self, pod: &mut Value, plain: &mut Value) -> Result<()> {
        for (map, key, value) in [
            ("labels", "hallpass.dev/injected", "true"),
            (
                "annotations",
                "hallpass.dev/service-account",
                self.service_account,
            ),
        ] {
            // a forged one in the plain pod is overwritten
            remove(&mut plain["metadata"][map], key);
            same(key, &remove(&mut pod["metadata"][map], key), &json!(value))?;
        }
        Ok(())
    }

    /// Those of the pod come first, and none comes twice.
    fn take_pull_secrets(&self, pod: &mut Value, plain: &mut Value) -> Result<()> {
        let mut expected = remove(&mut plain["spec"], "imagePullSecrets");
        let seen = remove(&mut pod["spec"], "imagePullSecrets");
        for name in self.pull_secrets {
            let secret = json!({"name": name});
            match &mut expected {
                Value::Array(there) if there.contains(&secret) => {}
                Value::Array(there) => there.push(secret),
                nothing => *nothing = json!([secret]),
            }
        }
        same("the secrets for pulling", &seen, &expected)
    }

    fn take_directory(&self, container: &mut Value, volume: &str) -> Result<()> {
        let name = container["name"].as_str().context("a name")?.to_owned();
        let mount = take(&mut container["volumeMounts"], is_ours);
        let expected = json!({"name": volume, "mountPath": "/var/run/hallpass", "readOnly": true});
        same(
            &format!("the mount of {name}"),
            &mount.unwrap_or_default(),
            &expected,
        )?;
        ensure!(
            take(&mut container["volumeMounts"], is_ours).is_none(),
            "{name} has a second mount of ours"
        );
        let socket = json!({"name": "HALLPASS_SOCKET", "value": "/var/run/hallpass/hallpass.sock"});
        // in front, so that the container's own variables can refer to it
        let own = self.own_socket.contains(&name.as_str());
        let env = &mut container["env"];
        ensure!(
            (env[0] == socket) != own,
            "the environment of {name}: {env}"
        );
        if !own {
            take(env, |e| *e == socket);
        }
        Ok(())
    }

    fn check_sidecar(&self, mut sidecar: Value, mut mounts: Vec<Value>) -> Result<()> {
        let probe = json!({
            "exec": {"command": ["/hallpass-sidecar", "wait"]},
            "timeoutSeconds": 12, "periodSeconds": 1, "successThreshold": 1, "failureThreshold": 1_000_000,
        });
        let probe = if self.waits { probe } else { Value::Null };
        same(
            "the startup probe",
            &remove(&mut sidecar, "startupProbe"),
            &probe,
        )?;
        let resources = remove(&mut sidecar, "resources");
        if let Some(expected) = &self.resources {
            same("the resources", &resources, expected)?;
        }
        // the second path is where the pod's API token would be mounted
        for path in [
            "/var/run/secrets/hallpass.dev",
            "/var/run/secrets/kubernetes.io/serviceaccount",
        ] {
            mounts.push(json!({"name": "hallpass-identity", "mountPath": path, "readOnly": true}));
        }
        mounts.push(json!({"name": "hallpass-cache", "mountPath": "/var/cache/hallpass"}));
        // its registry and tag are values of the installation
        if engine()? == Engine::Webhook {
            // the CA of the moment, in place of a bundle that the kubelet keeps
            let env = sidecar["env"].as_array_mut().context("variables")?;
            let ca = env.pop().context("a variable")?;
            let pem = ca["value"].as_str().unwrap_or_default();
            ensure!(
                ca["name"] == "HALLPASS_CA" && pem.contains("BEGIN CERTIFICATE"),
                "{ca}"
            );
        }
        let image = remove(&mut sidecar, "image");
        match self.image {
            Some(expected) => same("the image", &image, &json!(expected))?,
            None => ensure!(image.to_string().contains("/hallpass-sidecar"), "{image}"),
        }
        let mut expected = json!({
            "name": "hallpass", "imagePullPolicy": self.pulled, "restartPolicy": "Always", "args": ["serve"],
            "env": [
                {"name": "HALLPASS_OPERATOR", "value": format!("hallpass.{RELEASE}.svc:443")},
                {"name": "HALLPASS_REPLICAS", "value": format!("hallpass-replicas.{RELEASE}.svc:8443")},
            ],
            "securityContext": {
                "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}, "privileged": false,
                "readOnlyRootFilesystem": true, "runAsNonRoot": true,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "FallbackToLogsOnError",
            "volumeMounts": mounts,
        });
        if let Some(user) = self.user {
            for member in ["runAsUser", "runAsGroup"] {
                expected["securityContext"][member] = json!(user);
            }
        }
        same("the sidecar", &sidecar, &expected)
    }
}

/// Takes what lets the cluster autoscaler move the pod: our volumes are named behind those that were.
fn take_evictable(pod: &mut Value, plain: &mut Value, ours: &[Value]) -> Result<()> {
    let key = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes";
    let before = remove(&mut plain["metadata"]["annotations"], key);
    let mut expected: Vec<&str> = before.as_str().unwrap_or_default().split(',').collect();
    for volume in ours {
        let name = volume["name"].as_str().context("a name")?;
        if !expected.contains(&name) {
            expected.push(name);
        }
    }
    expected.retain(|name| !name.is_empty());
    let seen = remove(&mut pod["metadata"]["annotations"], key);
    same(key, &seen, &json!(expected.join(",")))
}

/// Checks that there is nothing of ours in the pod.
///
/// # Errors
/// There is.
pub fn check_bare(pod: &Value) -> Result<()> {
    let mut named = ["initContainers", "volumes"]
        .iter()
        .filter_map(|list| pod["spec"][list].as_array())
        .flatten();
    let ours = named.any(|n| n["name"] == "hallpass" || n["name"] == "hallpass-identity");
    let mark = &pod["metadata"]["labels"]["hallpass.dev/injected"];
    ensure!(!ours && mark.is_null(), "the pod was injected: {pod}");
    Ok(())
}

/// The pod as a person would create it again: without what only the API server writes.
#[must_use]
pub fn printed(pod: &Value) -> Manifest {
    ["uid", "creationTimestamp", "managedFields"]
        .iter()
        .fold(Manifest::from(pod.clone()), |pod, key| {
            pod.without(&format!("/metadata/{key}"))
        })
}

fn identity() -> Result<Value> {
    let token = json!({"serviceAccountToken": {
        "audience": IDENTITY_AUDIENCE, "expirationSeconds": 7200, "path": "token",
    }});
    let bundle = json!({"clusterTrustBundle": {
        "signerName": "hallpass.dev/serving", "labelSelector": {}, "path": "ca.pem", "optional": true,
    }});
    let sources = match engine()? {
        Engine::AdmissionPolicy => json!([token, bundle]),
        Engine::Webhook => json!([token]),
    };
    Ok(json!({"name": "hallpass-identity", "projected": {"defaultMode": 420, "sources": sources}}))
}

fn is_ours(named: &Value) -> bool {
    let reserved = |name: &str| name.starts_with("hallpass-");
    named["name"].as_str().is_some_and(reserved)
}

/// Takes the first entry of that sort out of the list.
fn take(list: &mut Value, wanted: impl Fn(&Value) -> bool) -> Option<Value> {
    let list = list.as_array_mut()?;
    let at = list.iter().position(wanted)?;
    Some(list.remove(at))
}

fn same(what: &str, seen: &Value, expected: &Value) -> Result<()> {
    ensure!(
        seen == expected,
        "{what}:\n     is {seen}\nis to be {expected}"
    );
    Ok(())
}
