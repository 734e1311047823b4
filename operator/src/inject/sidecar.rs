//! The sidecar's container, and what it mounts.

use serde_json::{Value, json};

use super::{
    place::{CACHE, IDENTITY, Place},
    pod::{Container, SIDECAR},
    resources::Resources,
    settings::Settings,
    wish::Wishes,
};

/// The init container `hallpass`.
pub(super) fn container(
    places: &[Place<'_>],
    wishes: &Wishes,
    resources: &Resources,
    settings: &Settings,
    ca: &str,
) -> Value {
    let mut container = json!({
        "name": SIDECAR,
        "image": settings.image,
        "imagePullPolicy": settings.pull_policy,
        "restartPolicy": "Always",
        "args": ["serve"],
        "env": [
            {"name": "HALLPASS_OPERATOR", "value": settings.operator},
            {"name": "HALLPASS_REPLICAS", "value": settings.replicas},
            {"name": "HALLPASS_CA", "value": ca},
        ],
        "resources": resources,
        "volumeMounts": mounts(places),
        "securityContext": security_context(wishes, settings),
        "terminationMessagePolicy": "FallbackToLogsOnError",
    });
    if wishes.waits {
        container["startupProbe"] = startup_probe();
    }
    container
}

fn startup_probe() -> Value {
    json!({
        "exec": {"command": ["/hallpass-sidecar", "wait"]},
        // One try answers within 10 s. The tries never end: waiting for a token is no reason to restart the
        // sidecar.
        "timeoutSeconds": 12, "periodSeconds": 1, "failureThreshold": 1_000_000,
    })
}

fn mounts(places: &[Place<'_>]) -> Vec<Value> {
    let directory = |place: &Place<'_>| {
        let path = format!("/run/hallpass/{}", place.container.name);
        json!({"name": place.volume, "mountPath": path})
    };
    let identity = |path| json!({"name": IDENTITY, "readOnly": true, "mountPath": path});
    let mut mounts: Vec<_> = places.iter().map(directory).collect();
    mounts.extend([
        identity("/var/run/secrets/hallpass.dev"),
        // Where Kubernetes mounts the pod's API token after us, unless the path is taken: the sidecar must
        // not have it.
        identity("/var/run/secrets/kubernetes.io/serviceaccount"),
        json!({"name": CACHE, "mountPath": "/var/cache/hallpass"}),
    ]);
    mounts
}

/// All that Pod Security restricted asks for, whatever the pod itself says.
fn security_context(wishes: &Wishes, settings: &Settings) -> Value {
    let mut context = json!({
        "runAsNonRoot": true,
        "privileged": false,
        "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    });
    if let Some(user) = wishes.user.or(settings.run_as_user) {
        context["runAsUser"] = json!(user);
        context["runAsGroup"] = json!(user);
    }
    context
}

/// The volumes of the pod, in the order in which they are added.
pub(super) fn volumes(places: &[Place<'_>], settings: &Settings) -> Vec<(String, Value)> {
    let memory = |name: &str| {
        let empty = json!({"medium": "Memory", "sizeLimit": "1Mi"});
        (name.to_owned(), json!({"name": name, "emptyDir": empty}))
    };
    let token = json!({
        "audience": settings.identity_audience, "expirationSeconds": 7200, "path": "token",
    });
    let identity = json!({
        "name": IDENTITY, "projected": {"sources": [{"serviceAccountToken": token}]},
    });
    let mut volumes: Vec<_> = places.iter().map(|place| memory(&place.volume)).collect();
    volumes.extend([(IDENTITY.to_owned(), identity), memory(CACHE)]);
    volumes
}

/// The position of the sidecar among the init containers: behind a mesh's, and else the first, so that those
/// have tokens too.
pub(super) fn position(inits: &[Container], settings: &Settings) -> usize {
    let is_mesh = |container: &Container| {
        container.restart_policy.as_deref() == Some("Always")
            && settings.after.contains(&container.name)
    };
    inits.iter().rposition(is_mesh).map_or(0, |mesh| mesh + 1)
}
