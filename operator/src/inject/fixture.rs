//! Pods, settings, and a pod as the API server makes it of a patch.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Asked, Injection, Patch, Pod, Settings, inject};

pub(crate) const CA: &str = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";

/// What the chart says without values of one's own.
pub(crate) fn settings_json() -> Value {
    json!({
        "image": "registry.example/hallpass-sidecar:0.1.0",
        "pullPolicy": "IfNotPresent",
        "imagePullSecrets": [],
        "resources": {"requests": {"cpu": "5m", "memory": "8Mi"}, "limits": {"memory": "16Mi"}},
        "guaranteedResources": {"cpu": "50m", "memory": "16Mi"},
        "runAsUser": 65532,
        "after": ["istio-proxy", "linkerd-proxy"],
        "operator": "hallpass.hallpass-system.svc:443",
        "replicas": "hallpass-replicas.hallpass-system.svc:8443",
        "identityAudience": "hallpass.dev/hallpass-system",
        "uninjectedNamespaces": ["kube-system", "kube-node-lease", "hallpass-system", "hallpass-system-keys"],
    })
}

pub(crate) fn settings() -> Settings {
    Settings::parse(&settings_json().to_string()).unwrap()
}

/// A pod of one container that asks for the sidecar.
pub(crate) fn pod() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "orders-0", "labels": {"hallpass.dev/inject": "true"}},
        "spec": {"containers": [{"name": "app", "image": "app"}]},
    })
}

/// The pod with that annotation.
pub(super) fn annotated(key: &str, value: &str) -> Value {
    let mut pod = pod();
    pod["metadata"]["annotations"][key] = json!(value);
    pod
}

pub(super) fn parsed(pod: &Value) -> Pod {
    serde_json::from_value(pod.clone()).unwrap()
}

pub(super) fn asked(pod: &Value, asked: Asked) -> Injection {
    inject(&parsed(pod), "shop", asked, &settings(), Some(CA))
}

/// The pod with the sidecar.
pub(super) fn injected(pod: &Value) -> Value {
    injected_with(pod, &settings())
}

pub(super) fn injected_with(pod: &Value, settings: &Settings) -> Value {
    match inject(&parsed(pod), "shop", Asked::ByPod, settings, Some(CA)) {
        Injection::Inject(patch) => patched(pod, &patch),
        other => panic!("{other:?}: {pod}"),
    }
}

/// The sidecar of that pod.
pub(super) fn sidecar(pod: &Value) -> Value {
    let injected = injected(pod);
    let inits = injected["spec"]["initContainers"].as_array().unwrap();
    let ours = inits.iter().find(|c| c["name"] == "hallpass");
    ours.unwrap().clone()
}

/// The sentence with which the pod is refused.
pub(super) fn refusal(pod: &Value) -> String {
    match asked(pod, Asked::ByPod) {
        Injection::Deny(denial) => denial.message,
        other => panic!("{other:?}: {pod}"),
    }
}

/// The pod after the patch (RFC 6902 §4.1): a pointer that leads nowhere is a fault.
pub(crate) fn patched(pod: &Value, patch: &Patch) -> Value {
    let mut pod = pod.clone();
    for operation in serde_json::to_value(patch).unwrap().as_array().unwrap() {
        assert_eq!(operation["op"], "add", "{operation}");
        let (path, value) = (operation["path"].as_str().unwrap(), &operation["value"]);
        let (parent, last) = path.rsplit_once('/').unwrap();
        match pod.pointer_mut(parent) {
            Some(Value::Object(members)) => {
                let key = last.replace("~1", "/").replace("~0", "~");
                members.insert(key, value.clone());
            }
            Some(Value::Array(list)) if last == "-" => list.push(value.clone()),
            Some(Value::Array(list)) => list.insert(last.parse().unwrap(), value.clone()),
            other => panic!("nothing to add {path} to, but {other:?}"),
        }
    }
    pod
}

/// Pods of many shapes that fit.
pub(super) fn pods() -> impl Strategy<Value = Value> {
    let lists = (containers("c", 1..5), containers("i", 0..4));
    let maps = (
        prop::option::of(any::<bool>()),
        prop::option::of(prop::sample::select(vec![
            "",
            "data",
            "data,hallpass-c0,data",
        ])),
    );
    let spec = (
        prop::option::of(prop::sample::select(vec!["orders", "default"])),
        any::<bool>(),
        any::<bool>(),
    );
    (lists, maps, spec).prop_map(|((containers, inits), (labelled, evict), spec)| {
        let (account, volumes, pull) = spec;
        let mut pod = json!({"metadata": {"name": "p"}, "spec": {"containers": containers}});
        if let Some(own) = labelled {
            pod["metadata"]["labels"]["hallpass.dev/inject"] = json!("true");
            pod["metadata"]["labels"]["hallpass.dev/injected"] = json!(own.to_string());
        } else {
            pod["metadata"]["labels"] = json!({"hallpass.dev/inject": "true"});
        }
        if let Some(evict) = evict {
            let key = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes";
            pod["metadata"]["annotations"] = json!({key: evict});
        }
        if !inits.is_empty() {
            pod["spec"]["initContainers"] = json!(inits);
        }
        if let Some(account) = account {
            pod["spec"]["serviceAccountName"] = json!(account);
        }
        if volumes {
            pod["spec"]["volumes"] = json!([{"name": "data", "emptyDir": {}}]);
        }
        if pull {
            pod["spec"]["imagePullSecrets"] = json!([{"name": "theirs"}]);
        }
        pod
    })
}

fn containers(
    letter: &'static str,
    count: std::ops::Range<usize>,
) -> impl Strategy<Value = Vec<Value>> {
    let names = vec!["x", "istio-proxy", "linkerd-proxy"];
    let one = (
        prop::sample::select(names),
        any::<bool>(),
        prop::sample::select(vec![
            json!(null),
            json!([]),
            json!([{"name": "A", "value": "1"}]),
            json!([{"name": "HALLPASS_SOCKET", "value": "x"}]),
        ]),
        prop::sample::select(vec![
            json!(null),
            json!([{"name": "data", "mountPath": "/data"}]),
        ]),
        prop::sample::select(vec![
            json!(null),
            json!({}),
            json!({"requests": {"cpu": "1"}}),
            json!({"limits": {"cpu": "100m", "memory": "64Mi"}}),
        ]),
    );
    prop::collection::vec(one, count).prop_map(move |list| {
        let of = |(position, (name, native, env, mounts, resources))| {
            let mut container = json!({"name": format!("{letter}{position}"), "image": "app"});
            if letter == "i" && native {
                container["restartPolicy"] = json!("Always");
                container["name"] = json!(name);
            }
            for (key, value) in [
                ("env", env),
                ("volumeMounts", mounts),
                ("resources", resources),
            ] {
                if value != Value::Null {
                    container[key] = value;
                }
            }
            container
        };
        list.into_iter().enumerate().map(of).collect()
    })
}
