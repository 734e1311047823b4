//! Which pods get the sidecar, which are left alone, which are refused.

use serde_json::{Value, json};

use super::super::{
    Asked, Cause, Denial, Injection, Selection, Skip,
    fixture::{CA, asked, injected, parsed, patched, pod, refusal, settings},
    inject,
};

const SELECTED: Asked = Asked::ByPolicy(Selection::Selected);

fn labelled(value: Option<&str>) -> Value {
    let mut pod = pod();
    pod["metadata"]["labels"] = value.map_or(Value::Null, |v| json!({"hallpass.dev/inject": v}));
    pod
}

fn is_injected(injection: &Injection) -> bool {
    matches!(injection, Injection::Inject(_))
}

#[test]
fn the_label_of_the_pod_wins_over_that_of_its_namespace() {
    for everybody in [Asked::ByPod, Asked::ByNamespace, SELECTED] {
        let out = asked(&labelled(Some("false")), everybody);
        assert_eq!(out, Injection::Skip(Skip::OptedOut), "{everybody:?}");
        assert!(is_injected(&asked(&labelled(Some("true")), everybody)));
    }
    assert!(is_injected(&asked(&labelled(None), Asked::ByNamespace)));
    assert!(is_injected(&asked(&labelled(None), SELECTED)));
    let nobody = asked(&labelled(None), Asked::ByPod);
    assert_eq!(nobody, Injection::Skip(Skip::NotAsked));
}

#[test]
fn another_value_of_the_label_is_named() {
    let text = r#"label hallpass.dev/inject of the pod must be "true" or "false", not "yes""#;
    assert_eq!(refusal(&labelled(Some("yes"))), text);
    let denial = Denial {
        cause: Cause::Pod,
        message: text.to_owned(),
    };
    let by_policy = asked(&labelled(Some("yes")), SELECTED);
    assert_eq!(by_policy, Injection::Skip(Skip::Unfit(denial)));
}

#[test]
fn a_policy_asks_only_where_it_is_known_to() {
    for (selection, skip) in [
        (Selection::NotSelected, Skip::NotAsked),
        (Selection::Unknown, Skip::NotSynced),
    ] {
        let seen = asked(&labelled(None), Asked::ByPolicy(selection));
        assert_eq!(seen, Injection::Skip(skip));
    }
}

#[test]
fn the_clusters_own_namespaces_are_left_alone() {
    for namespace in ["kube-system", "hallpass-system-keys"] {
        let seen = inject(
            &parsed(&pod()),
            namespace,
            Asked::ByPod,
            &settings(),
            Some(CA),
        );
        assert_eq!(seen, Injection::Skip(Skip::UninjectedNamespace));
    }
}

#[test]
fn t27_what_a_pod_says_of_being_a_mirror_exempts_it_from_nothing() {
    let mut forged = pod();
    forged["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "7"});
    for everybody in [Asked::ByPod, Asked::ByNamespace, SELECTED] {
        assert!(is_injected(&asked(&forged, everybody)), "{everybody:?}");
    }
}

#[test]
fn a_pod_that_has_the_sidecar_is_left_alone_whatever_else_is_wrong_with_it() {
    let mut once = injected(&pod());
    once["metadata"]["annotations"]["hallpass.dev/cpu-limit"] = json!("much");
    once["metadata"]["labels"]["hallpass.dev/inject"] = json!("yes");
    for everybody in [Asked::ByPod, Asked::ByNamespace, SELECTED] {
        let twice = asked(&once, everybody);
        assert_eq!(twice, Injection::Skip(Skip::Present));
    }
}

#[test]
fn another_version_of_the_sidecar_becomes_the_one_that_is_injected() {
    let mut inits = pod();
    inits["spec"]["initContainers"] =
        json!([{"name": "istio-proxy", "image": "mesh", "restartPolicy": "Always"}]);
    let once = injected(&inits);
    let image = "/spec/initContainers/1/image";
    for theirs in [
        "registry.example/hallpass-sidecar:0.0.9",
        "registry.example/hallpass-sidecar",
        "registry.example/hallpass-sidecar@sha256:00",
        "registry.example/hallpass-sidecar:0.1.0@sha256:00",
    ] {
        let mut other = once.clone();
        *other.pointer_mut(image).unwrap() = json!(theirs);
        for everybody in [Asked::ByPod, Asked::ByNamespace, SELECTED] {
            let Injection::Inject(patch) = asked(&other, everybody) else {
                panic!("{theirs}, {everybody:?}")
            };
            assert_eq!(patched(&other, &patch), once, "{theirs}");
        }
    }
}

#[test]
fn the_image_of_another_repository_is_left_for_the_policy_to_refuse() {
    let once = injected(&pod());
    for theirs in [
        "registry.example/hallpass-sidecar-evil:0.1.0",
        "registry.example:5000/hallpass-sidecar:0.1.0",
        "hallpass-sidecar:0.1.0",
        "registry.example/hallpass-sidecar:5000/a",
        "",
    ] {
        let mut other = once.clone();
        other["spec"]["initContainers"][0]["image"] = json!(theirs);
        let seen = asked(&other, Asked::ByPod);
        assert_eq!(seen, Injection::Skip(Skip::Present), "{theirs}");
    }
    let mut opted_out = once;
    opted_out["spec"]["initContainers"][0]["image"] =
        json!("registry.example/hallpass-sidecar:0.0.9");
    opted_out["metadata"]["labels"]["hallpass.dev/inject"] = json!("false");
    let seen = asked(&opted_out, Asked::ByPod);
    assert_eq!(seen, Injection::Skip(Skip::OptedOut));
}

#[test]
fn nobody_gets_a_sidecar_that_would_trust_nobody() {
    let seen = inject(&parsed(&pod()), "shop", Asked::ByPod, &settings(), None);
    let Injection::Deny(denial) = seen else {
        panic!("{seen:?}")
    };
    assert_eq!(denial.cause, Cause::NoTrust);
    let out = inject(
        &parsed(&labelled(Some("false"))),
        "shop",
        Asked::ByPod,
        &settings(),
        None,
    );
    assert_eq!(out, Injection::Skip(Skip::OptedOut));
}

fn with(pointer: &str, value: Value) -> Value {
    let mut pod = pod();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    pod.pointer_mut(parent).unwrap()[key] = value;
    pod
}

fn on_host_network(dns: Option<&str>) -> Value {
    let mut pod = with("/spec/hostNetwork", json!(true));
    pod["spec"]["dnsPolicy"] = json!(dns);
    pod
}

fn mounted(name: &str, path: &str) -> Value {
    let mounts = json!([{"name": name, "mountPath": path}]);
    with("/spec/containers/0/volumeMounts", mounts)
}

/// The sentences are those of the chart's `hallpass.misfit`.
#[test]
fn a_pod_that_the_sidecar_cannot_be_added_to_is_told_why() {
    let windows = "the sidecar runs on Linux only, and the pod asks for Windows";
    let network =
        "a pod with hostNetwork finds the operator only with dnsPolicy: ClusterFirstWithHostNet";
    let mount = "the tokens are mounted at /var/run/hallpass; container app mounts something there already, move it";
    let selector = json!({"kubernetes.io/os": "windows"});
    let volumes = json!([{"name": "a"}, {"name": "hallpass-x"}, {"name": "hallpass-y"}]);
    for (pod, why) in [
        (with("/spec/os", json!({"name": "windows"})), windows),
        (with("/spec/nodeSelector", selector), windows),
        (on_host_network(None), network),
        (on_host_network(Some("ClusterFirst")), network),
        (
            with("/spec/dnsPolicy", json!("Default")),
            "a pod finds the operator only by the cluster's DNS, and dnsPolicy: Default is that of its node; leave it out",
        ),
        (
            with(
                "/spec/containers",
                json!([{"name": "a"}, {"name": "hallpass"}]),
            ),
            "the container name hallpass is the name of the sidecar; rename that container",
        ),
        (
            with("/spec/volumes", volumes),
            "volume names that begin with hallpass- are reserved; rename volume hallpass-x",
        ),
        (mounted("data", "/run/./hallpass/x"), mount),
        (mounted("hallpass-c0", "/data"), mount),
    ] {
        let whole = format!(
            "hallpass.dev/inject is \"true\", but the sidecar could not be added: {why} (or label the pod \
             hallpass.dev/inject: \"false\" to run it without tokens)"
        );
        assert_eq!(refusal(&pod), whole);
        let by_policy = asked(&pod, SELECTED);
        assert!(
            matches!(by_policy, Injection::Skip(Skip::Unfit(_))),
            "{by_policy:?}"
        );
    }
}

#[test]
fn a_pod_that_only_looks_like_that_is_injected() {
    // Kubernetes goes by os where there is one.
    let mut both = with("/spec/os", json!({"name": "linux"}));
    both["spec"]["nodeSelector"] = json!({"kubernetes.io/os": "windows"});
    for fits in [
        on_host_network(Some("ClusterFirstWithHostNet")),
        both,
        mounted("data", "/run/hallpassed"),
        with("/spec/volumes", json!([{"name": "hallpass"}])),
    ] {
        assert!(is_injected(&asked(&fits, Asked::ByPod)), "{fits}");
    }
}

#[test]
fn a_pod_of_very_many_containers_makes_no_patch_of_many_megabytes() {
    let containers = |count| {
        let mut pod = pod();
        pod["spec"]["containers"] = json!(vec![json!({"name": "a"}); count]);
        pod
    };
    assert!(is_injected(&asked(&containers(256), Asked::ByPod)));
    let text = refusal(&containers(257));
    assert!(text.contains("more than 256 containers"), "{text}");
}
