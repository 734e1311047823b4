//! What the injected pod looks like.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::{
    Asked, Injection, Settings, Skip,
    fixture::{CA, annotated, asked, injected, injected_with, pod, pods, settings_json, sidecar},
};

const EVICT: &str = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes";

#[test]
fn the_injected_pod_is_exactly_this() {
    let mut pod = pod();
    pod["spec"]["serviceAccountName"] = json!("orders");
    pod["spec"]["initContainers"] =
        json!([{"name": "migrate", "env": [{"name": "A", "value": "$(HALLPASS_SOCKET)"}]}]);
    let socket = json!({"name": "HALLPASS_SOCKET", "value": "/var/run/hallpass/hallpass.sock"});
    let mount = |name| json!([{"name": name, "mountPath": "/var/run/hallpass", "readOnly": true}]);
    let memory = |name| json!({"name": name, "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}});
    let expected = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "orders-0",
            "labels": {"hallpass.dev/inject": "true", "hallpass.dev/injected": "true"},
            "annotations": {
                "hallpass.dev/service-account": "orders",
                EVICT: "hallpass-c0,hallpass-i0,hallpass-identity,hallpass-cache",
            },
        },
        "spec": {
            "serviceAccountName": "orders",
            "containers": [{
                "name": "app", "image": "app", "env": [socket], "volumeMounts": mount("hallpass-c0"),
            }],
            "initContainers": [
                expected_sidecar(),
                {
                    "name": "migrate", "volumeMounts": mount("hallpass-i0"),
                    "env": [socket, {"name": "A", "value": "$(HALLPASS_SOCKET)"}],
                },
            ],
            "volumes": [
                memory("hallpass-c0"),
                memory("hallpass-i0"),
                {"name": "hallpass-identity", "projected": {"sources": [{"serviceAccountToken": {
                    "audience": "hallpass.dev/hallpass-system", "expirationSeconds": 7200, "path": "token",
                }}]}},
                memory("hallpass-cache"),
            ],
        },
    });
    assert_eq!(injected(&pod), expected);
}

/// The sidecar of that pod.
fn expected_sidecar() -> Value {
    let identity = |path| json!({"name": "hallpass-identity", "readOnly": true, "mountPath": path});
    json!({
        "name": "hallpass",
        "image": "registry.example/hallpass-sidecar:0.1.0",
        "imagePullPolicy": "IfNotPresent",
        "restartPolicy": "Always",
        "args": ["serve"],
        "env": [
            {"name": "HALLPASS_OPERATOR", "value": "hallpass.hallpass-system.svc:443"},
            {"name": "HALLPASS_REPLICAS", "value": "hallpass-replicas.hallpass-system.svc:8443"},
            {"name": "HALLPASS_CA", "value": CA},
        ],
        "startupProbe": {
            "exec": {"command": ["/hallpass-sidecar", "wait"]},
            "timeoutSeconds": 12, "periodSeconds": 1, "failureThreshold": 1_000_000,
        },
        "resources": {},
        "volumeMounts": [
            {"name": "hallpass-c0", "mountPath": "/run/hallpass/app"},
            {"name": "hallpass-i0", "mountPath": "/run/hallpass/migrate"},
            identity("/var/run/secrets/hallpass.dev"),
            identity("/var/run/secrets/kubernetes.io/serviceaccount"),
            {"name": "hallpass-cache", "mountPath": "/var/cache/hallpass"},
        ],
        "securityContext": {
            "runAsUser": 65532, "runAsGroup": 65532, "runAsNonRoot": true,
            "privileged": false, "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"},
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
    })
}

#[test]
fn a_variable_of_the_containers_own_stays_the_only_one() {
    let mut pod = pod();
    let own = json!([{"name": "HALLPASS_SOCKET", "value": "/elsewhere.sock"}]);
    pod["spec"]["containers"][0]["env"] = own.clone();
    assert_eq!(injected(&pod)["spec"]["containers"][0]["env"], own);
}

#[test]
fn comes_after_the_last_native_sidecar_of_a_mesh_and_else_first() {
    let names = |inits: Value| {
        let mut pod = pod();
        pod["spec"]["initContainers"] = inits;
        let injected = injected(&pod);
        let inits = injected["spec"]["initContainers"].as_array().unwrap();
        let names = inits.iter().map(|c| c["name"].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>().join(" ")
    };
    let native = |name| json!({"name": name, "restartPolicy": "Always"});
    let plain = |name| json!({"name": name});
    let all = json!([
        plain("istio-init"),
        native("istio-proxy"),
        native("linkerd-proxy"),
        plain("migrate")
    ]);
    assert_eq!(
        names(all),
        "istio-init istio-proxy linkerd-proxy hallpass migrate"
    );
    // One that ends, and one that is not of the list.
    let others = json!([plain("istio-proxy"), native("logs")]);
    assert_eq!(names(others), "hallpass istio-proxy logs");
    let last = json!([plain("a"), native("istio-proxy")]);
    assert_eq!(names(last), "a istio-proxy hallpass");
}

#[test]
fn the_settings_of_the_chart_are_what_it_gets() {
    let mut json = settings_json();
    json["image"] = json!("elsewhere/sidecar@sha256:1");
    json["pullPolicy"] = json!("Always");
    json["imagePullSecrets"] = json!([{"name": "theirs"}, {"name": "ours"}, {"name": "ours"}]);
    json["runAsUser"] = Value::Null;
    json["after"] = json!(["logs"]);
    let settings = Settings::parse(&json.to_string()).unwrap();
    let mut pod = pod();
    pod["spec"]["imagePullSecrets"] = json!([{"name": "theirs"}]);
    pod["spec"]["initContainers"] = json!([{"name": "logs", "restartPolicy": "Always"}, {"name": "istio-proxy", "restartPolicy": "Always"}]);
    let spec = &injected_with(&pod, &settings)["spec"];
    assert_eq!(
        spec["imagePullSecrets"],
        json!([{"name": "theirs"}, {"name": "ours"}])
    );
    let sidecar = &spec["initContainers"][1];
    assert_eq!(sidecar["image"], "elsewhere/sidecar@sha256:1");
    assert_eq!(sidecar["imagePullPolicy"], "Always");
    let context = &sidecar["securityContext"];
    assert_eq!(context["runAsNonRoot"], true);
    assert_eq!(
        (context.get("runAsUser"), context.get("runAsGroup")),
        (None, None)
    );
}

#[test]
fn an_autoscaler_may_lose_our_volumes_and_what_it_might_already() {
    let evict = |there: &str| {
        let injected = injected(&annotated(EVICT, there));
        let text = &injected["metadata"]["annotations"][EVICT];
        text.as_str().unwrap().to_owned()
    };
    let ours = "hallpass-c0,hallpass-identity,hallpass-cache";
    assert_eq!(evict(""), ours);
    assert_eq!(evict("data"), format!("data,{ours}"));
    assert_eq!(
        evict("hallpass-cache,data,data"),
        "hallpass-cache,data,data,hallpass-c0,hallpass-identity"
    );
}

#[test]
fn does_not_wait_where_the_pod_says_so() {
    let probe = |pod: &Value| sidecar(pod).get("startupProbe").cloned();
    assert!(probe(&pod()).is_some());
    assert_eq!(probe(&annotated("hallpass.dev/start", "Immediate")), None);
}

proptest! {
    #[test]
    fn nothing_is_added_twice(pod in pods()) {
        let once = injected(&pod);
        prop_assert_eq!(asked(&once, Asked::ByPod), Injection::Skip(Skip::Present));
    }
}
