//! The sidecar's resources, by the class of the pod and by what its annotations say.

use serde_json::{Value, json};

use super::super::fixture::{pod, refusal, sidecar};

/// A pod whose containers have those resources, with those annotations.
fn of(containers: &[Value], annotations: Value) -> Value {
    let mut pod = pod();
    let container = |resources| json!({"name": "app", "resources": resources});
    pod["spec"]["containers"] = containers.iter().map(container).collect();
    let annotations = annotations.as_object().unwrap().iter();
    let annotations: serde_json::Map<_, _> = annotations
        .map(|(key, value)| (format!("hallpass.dev/{key}"), value.clone()))
        .collect();
    pod["metadata"]["annotations"] = annotations.into();
    pod
}

fn resources(containers: &[Value], annotations: Value) -> Value {
    sidecar(&of(containers, annotations))["resources"].clone()
}

fn both(cpu: &str, memory: &str) -> Value {
    let amounts = json!({"cpu": cpu, "memory": memory});
    json!({"requests": amounts, "limits": amounts})
}

fn guaranteed() -> Value {
    json!({"limits": {"cpu": "1", "memory": "64Mi"}})
}

fn burstable() -> Value {
    json!({"requests": {"cpu": "1"}})
}

#[test]
fn a_guaranteed_pod_stays_guaranteed() {
    let values = both("50m", "16Mi");
    for containers in [
        vec![guaranteed()],
        vec![
            json!({"requests": {"cpu": "1000m", "memory": "65536Ki"}, "limits": {"cpu": "1", "memory": "64Mi"}}),
        ],
        vec![guaranteed(), both("0.1", "1e6")],
    ] {
        assert_eq!(resources(&containers, json!({})), values, "{containers:?}");
    }
}

#[test]
fn a_burstable_pod_stays_burstable() {
    let values = json!({"requests": {"cpu": "5m", "memory": "8Mi"}, "limits": {"memory": "16Mi"}});
    for containers in [
        vec![burstable()],
        vec![guaranteed(), json!({})],
        vec![json!({"limits": {"cpu": "1"}})],
        vec![
            json!({"requests": {"cpu": "1001m", "memory": "64Mi"}, "limits": {"cpu": "1", "memory": "64Mi"}}),
        ],
        vec![json!({"limits": {"cpu": "0", "memory": "64Mi"}})],
    ] {
        assert_eq!(resources(&containers, json!({})), values, "{containers:?}");
    }
}

#[test]
fn a_pod_that_asks_for_nothing_or_for_itself_goes_on_doing_so() {
    let nothing = [
        json!({}),
        json!({"requests": {"cpu": "0"}, "limits": {"memory": "0"}}),
    ];
    assert_eq!(resources(&nothing, json!({})), json!({}));
    let mut own = of(&[guaranteed()], json!({}));
    own["spec"]["resources"] = json!({"requests": {"cpu": "2"}});
    assert_eq!(sidecar(&own)["resources"], json!({}));
    own["spec"]["resources"] = json!({"requests": {}});
    assert_eq!(sidecar(&own)["resources"], both("50m", "16Mi"));
}

#[test]
fn annotations_replace_what_they_name_in_every_class() {
    let said = json!({"cpu-request": "7m", "memory-limit": "32Mi"});
    assert_eq!(
        resources(&[burstable()], said.clone()),
        json!({"requests": {"cpu": "7m", "memory": "8Mi"}, "limits": {"memory": "32Mi"}})
    );
    assert_eq!(
        resources(&[json!({})], said.clone()),
        json!({"requests": {"cpu": "7m"}, "limits": {"memory": "32Mi"}})
    );
    assert_eq!(resources(&[guaranteed()], said), both("7m", "32Mi"));
    // Of a request and a limit a Guaranteed pod has one: the limit.
    let both_said = json!({"cpu-request": "7m", "cpu-limit": "9m"});
    assert_eq!(resources(&[guaranteed()], both_said), both("9m", "16Mi"));
}

#[test]
fn a_request_above_its_limit_is_refused_in_every_class() {
    let said = json!({"memory-request": "33Mi", "memory-limit": "32Mi"});
    let why = "the sidecar would request more memory than its limit allows: 33Mi is above 32Mi; change annotation \
               hallpass.dev/memory-request or hallpass.dev/memory-limit";
    for class in [burstable(), json!({}), guaranteed()] {
        assert_eq!(refusal(&of(&[class], said.clone())), why);
    }
    // What the chart says counts where no annotation does.
    let text = refusal(&of(&[burstable()], json!({"memory-request": "17Mi"})));
    assert!(text.contains("17Mi is above 16Mi"), "{text}");
    assert_eq!(
        resources(&[guaranteed()], json!({"memory-request": "17Mi"})),
        both("50m", "17Mi")
    );
}

#[test]
fn resources_that_are_none_refuse_the_pod() {
    let text = refusal(&of(&[json!({"limits": {"cpu": "much"}})], json!({})));
    assert_eq!(
        text,
        "the resources of container app cannot be read: \"much\" is no quantity"
    );
}
