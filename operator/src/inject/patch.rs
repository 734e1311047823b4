//! The change of a pod, in the operations of RFC 6902.

use std::collections::HashSet;

use serde::Serialize;
use serde_json::{Value, json};

use super::{
    bounded::Element,
    place::Place,
    pod::{Container, Pod},
    settings::Settings,
    sidecar,
};

/// Operations that follow each other. All of them add; what is added at a member that is there replaces it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Patch(Vec<Operation>);

/// One operation: what is to be at a place, or before what is there in a list.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "op", rename = "add")]
struct Operation {
    /// A JSON pointer (RFC 6901).
    path: String,
    value: Value,
}

/// All that makes an injected pod of `pod`. The sidecar comes last: it moves the init containers to which the
/// other paths point.
pub(super) fn patch(pod: &Pod, places: &[Place<'_>], sidecar: Value, settings: &Settings) -> Patch {
    let mut patch = Patch(Vec::new());
    let volumes = sidecar::volumes(places, settings);
    patch.mark(pod, &volumes);
    patch.list("/spec/volumes", pod.spec.volumes.is_some());
    for (_, volume) in volumes {
        patch.add("/spec/volumes/-", volume);
    }
    patch.pull(pod, settings);
    for place in places {
        patch.open(place);
    }
    let inits = pod.spec.init_containers.is_some();
    patch.list("/spec/initContainers", inits);
    let position = sidecar::position(pod.init_containers(), settings);
    patch.add(format!("/spec/initContainers/{position}"), sidecar);
    patch
}

/// Gives the sidecar that the pod has already the image that this installation injects, where it runs another
/// version of it; nothing where it does not. While the chart is upgraded its policy takes every version that
/// the operator has let through, and no author is to choose one.
pub(super) fn renewal(pod: &Pod, settings: &Settings) -> Option<Patch> {
    let (place, sidecar) = pod.sidecar()?;
    let (theirs, ours) = (sidecar.image.as_deref()?, settings.image.as_str());
    if theirs == ours || repository(theirs) != repository(ours) {
        return None;
    }
    let mut patch = Patch(Vec::new());
    patch.add(format!("/spec/initContainers/{place}/image"), ours);
    Some(patch)
}

/// What a reference to an image says without its tag and digest.
fn repository(image: &str) -> &str {
    let name = image.split_once('@').map_or(image, |(name, _)| name);
    match name.rsplit_once(':') {
        // of a registry's port a path follows
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => name,
    }
}

impl Patch {
    fn add(&mut self, path: impl Into<String>, value: impl Into<Value>) {
        self.0.push(Operation {
            path: path.into(),
            value: value.into(),
        });
    }

    fn list(&mut self, path: &str, is_there: bool) {
        if !is_there {
            self.add(path, json!([]));
        }
    }

    /// The operator watches pods by the label and reads the service account from the annotation: its watch is
    /// of metadata only. What a template claims about either is overwritten.
    fn mark(&mut self, pod: &Pod, volumes: &[(String, Value)]) {
        if pod.metadata.labels.is_none() {
            self.add("/metadata/labels", json!({}));
        }
        if pod.metadata.annotations.is_none() {
            self.add("/metadata/annotations", json!({}));
        }
        self.add("/metadata/labels/hallpass.dev~1injected", "true");
        self.add(
            "/metadata/annotations/hallpass.dev~1service-account",
            pod.service_account(),
        );
        let evictable = evictable(pod.annotation(SAFE_TO_EVICT).unwrap_or_default(), volumes);
        let path = format!("/metadata/annotations/{}", SAFE_TO_EVICT.replace('/', "~1"));
        self.add(path, evictable);
    }

    fn pull(&mut self, pod: &Pod, settings: &Settings) {
        let there = pod.spec.image_pull_secrets.as_deref();
        let mut names: HashSet<_> = there
            .iter()
            .flat_map(|s| s.iter())
            .map(|s| &s.name)
            .collect();
        let wanted = settings.image_pull_secrets.iter();
        let missing: Vec<_> = wanted.filter(|s| names.insert(&s.name)).collect();
        if missing.is_empty() {
            return;
        }
        self.list("/spec/imagePullSecrets", there.is_some());
        for secret in missing {
            self.add("/spec/imagePullSecrets/-", json!(secret));
        }
    }

    /// Shows a container its directory.
    fn open(&mut self, place: &Place<'_>) {
        let Place {
            pointer,
            volume,
            container,
        } = place;
        let mount = json!({"name": volume, "mountPath": "/var/run/hallpass", "readOnly": true});
        let path = format!("{pointer}/volumeMounts");
        self.list(&path, container.volume_mounts.is_some());
        self.add(format!("{path}/-"), mount);
        if has_socket(container) {
            return;
        }
        let path = format!("{pointer}/env");
        self.list(&path, container.env.is_some());
        // In front, so that the container's own variables can refer to it.
        self.add(
            format!("{path}/0"),
            json!({"name": SOCKET, "value": "/var/run/hallpass/hallpass.sock"}),
        );
    }
}

fn has_socket(container: &Container) -> bool {
    let variables = container.env.as_deref().unwrap_or_default();
    variables.iter().any(Element::matters)
}

/// What may be lost when a node is emptied: what is there, and then what of ours is not. What is there may be
/// millions of names, so that it is not taken apart.
fn evictable(there: &str, volumes: &[(String, Value)]) -> String {
    let mut missing: HashSet<_> = volumes.iter().map(|(name, _)| name.as_str()).collect();
    for name in there.split(',') {
        missing.remove(name);
    }
    let ours = volumes.iter().map(|(name, _)| name.as_str());
    let mut named = there.to_owned();
    for name in ours.filter(|name| missing.contains(name)) {
        if !named.is_empty() {
            named.push(',');
        }
        named.push_str(name);
    }
    named
}

/// An autoscaler does not empty a node with a pod that has other local volumes than these.
const SAFE_TO_EVICT: &str = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes";
/// The variable that says where the tokens are.
pub(super) const SOCKET: &str = "HALLPASS_SOCKET";
