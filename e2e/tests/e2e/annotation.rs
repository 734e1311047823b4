//! What annotations of a pod say of its sidecar: only what they are made for, and nothing else.

use anyhow::{Context as _, Result};
use hallpass_e2e::{
    cluster::{Cluster, Engine, engine},
    injection::Injection,
    manifest::{Manifest, container_with, pod},
};
use serde_json::{Value, json};

const POLICY: &str = "hallpass-injected";
const UNKNOWN: &str = "means nothing to Hallpass; a pod may have hallpass.dev/start";
const QUANTITY: &str = "must be a quantity above 0 of at most 32 characters";
const USER: &str = "annotation hallpass.dev/run-as-user must be a number from 1 to 2147483647";

/// A key under `hallpass.dev/`, a value, and what the API server says about it.
#[rustfmt::skip]
const GARBAGE: &[(&str, &str, &str)] = &[
    ("image", "evil.example/x", UNKNOWN),
    ("sidecar-args", "--debug", UNKNOWN),
    ("mount-path", "/etc", UNKNOWN),
    ("Start", "Immediate", UNKNOWN),
    ("inject", "true", UNKNOWN),
    ("start", "", "annotation hallpass.dev/start must be \"Immediate\" or absent, not \"\""),
    ("start", "Immediate\n", "annotation hallpass.dev/start must be \"Immediate\" or absent"),
    ("cpu-request", "much", "annotation hallpass.dev/cpu-request must be a quantity above 0 of at most 32 characters, not \"much\""),
    ("cpu-request", "", QUANTITY),
    ("cpu-limit", "0", QUANTITY),
    ("cpu-limit", "0.000", QUANTITY),
    ("memory-request", "-1Mi", QUANTITY),
    ("memory-request", "16 Mi", QUANTITY),
    ("memory-limit", "16mb", QUANTITY),
    ("memory-limit", "000000000000000000000000000000016", QUANTITY),
    ("run-as-user", "0", USER),
    ("run-as-user", "root", USER),
    ("run-as-user", "-1", USER),
    ("run-as-user", "00001", USER),
    ("run-as-user", "2147483648", USER),
    ("run-as-user", "99999999999999999999", USER),
];

#[tokio::test]
async fn t30_an_annotation_that_means_nothing_refuses_the_pod_by_its_name() -> Result<()> {
    let cluster = Cluster::shared("garbage").await?;
    for (key, value, why) in GARBAGE {
        let key = format!("hallpass.dev/{key}");
        let pod = pod("shape").injected().annotation(&key, value);
        let refused = cluster.create(&pod).refused().await;
        let refused = refused.with_context(|| format!("{key}: {value:?}"))?;
        anyhow::ensure!(
            refused.message.contains(why),
            "{key}: {value:?}: {refused:?}"
        );
    }
    // No key at all: the API server itself says so where nobody else is asked before it looks.
    let why = match engine()? {
        Engine::AdmissionPolicy => "name part must be non-empty",
        Engine::Webhook => UNKNOWN,
    };
    let pod_of_none = pod("shape").injected().annotation("hallpass.dev/", "x");
    let refused = cluster.create(&pod_of_none).refused().await?;
    anyhow::ensure!(refused.message.contains(why), "{refused:?}");
    // of somebody else's it says nothing
    let pod = pod("shape")
        .injected()
        .annotation("hallpass.dev.example/image", "x")
        .annotation("nothallpass.dev/image", "x");
    Injection::default().of(&cluster, &pod).await?;
    Ok(())
}

#[tokio::test]
async fn t30_a_long_value_is_refused_without_being_repeated() -> Result<()> {
    let cluster = Cluster::shared("long").await?;
    let value = "x".repeat(200_000);
    let pod = pod("shape")
        .injected()
        .annotation("hallpass.dev/start", &value);
    let why = "annotation hallpass.dev/start must be \"Immediate\" or absent";
    cluster.create(&pod).refused_by(POLICY, &[why]).await?;
    let status = cluster.create(&pod).refused().await?;
    assert!(status.message.len() < 1000, "{}", status.message.len());
    Ok(())
}

#[tokio::test]
async fn an_annotation_names_the_user_of_the_sidecar() -> Result<()> {
    let cluster = Cluster::shared("user").await?;
    for user in [1, 1000, 2_147_483_647] {
        let pod = pod("shape").annotation("hallpass.dev/run-as-user", &user.to_string());
        Injection::default()
            .running_as(Some(user))
            .of(&cluster, &pod)
            .await?;
    }
    Ok(())
}

/// What annotations ask for, of a pod of which class, and the sidecar's resources.
type Wish = (
    &'static [(&'static str, &'static str)],
    fn() -> Manifest,
    fn() -> Value,
);

#[rustfmt::skip]
const WISHES: &[Wish] = &[
    (&[("cpu-request", "20m")], burstable, || json!({"requests": {"cpu": "20m", "memory": "8Mi"}, "limits": {"memory": "16Mi"}})),
    (&[("cpu-limit", "1"), ("memory-limit", "32Mi")], burstable, || {
        json!({"requests": {"cpu": "5m", "memory": "8Mi"}, "limits": {"cpu": "1", "memory": "32Mi"}})
    }),
    (&[("memory-request", "16Mi")], burstable, || json!({"requests": {"cpu": "5m", "memory": "16Mi"}, "limits": {"memory": "16Mi"}})),
    (&[("cpu-request", "20m"), ("memory-request", "32Mi")], guaranteed, || same("20m", "32Mi")),
    (&[("cpu-request", "20m"), ("cpu-limit", "30m")], guaranteed, || same("30m", "16Mi")),
    (&[("memory-limit", "32Mi")], || pod("shape"), || json!({"requests": {"memory": "32Mi"}, "limits": {"memory": "32Mi"}})),
    (&[("cpu-request", "20m")], || pod("shape"), || json!({"requests": {"cpu": "20m"}})),
];

#[tokio::test]
async fn annotations_name_the_resources_of_the_sidecar() -> Result<()> {
    let cluster = Cluster::shared("wishes").await?;
    for (wish, shape, resources) in WISHES {
        let added = Injection::default().resources(resources());
        let pod = wishing(shape(), wish);
        let seen = added.of(&cluster, &pod).await;
        seen.with_context(|| format!("{wish:?}"))?;
    }
    Ok(())
}

#[tokio::test]
async fn a_request_above_its_limit_refuses_the_pod() -> Result<()> {
    let cluster = Cluster::shared("above").await?;
    let pair = "the sidecar would request more cpu than its limit allows: 2 is above 1; change annotation hallpass.dev/cpu-request or hallpass.dev/cpu-limit";
    let above = "the sidecar would request more memory than its limit allows: 32Mi is above 16Mi; change annotation hallpass.dev/memory-request";
    let below = "the sidecar would request more memory than its limit allows: 8Mi is above 4Mi; change annotation hallpass.dev/memory-request";
    for (wish, shape, why) in [
        (
            &[("cpu-request", "2"), ("cpu-limit", "1")][..],
            burstable as fn() -> Manifest,
            pair,
        ),
        (
            &[("cpu-request", "2"), ("cpu-limit", "1")],
            guaranteed,
            pair,
        ),
        (
            &[("cpu-request", "2"), ("cpu-limit", "1")],
            || pod("shape"),
            pair,
        ),
        (&[("memory-request", "32Mi")], burstable, above),
        (&[("memory-limit", "4Mi")], burstable, below),
    ] {
        let pod = wishing(shape(), wish).injected();
        let refused = cluster.create(&pod).refused_by(POLICY, &[why]).await;
        refused.with_context(|| format!("{wish:?}"))?;
    }
    Ok(())
}

fn wishing(pod: Manifest, wish: &[(&str, &str)]) -> Manifest {
    wish.iter().fold(pod, |pod, (key, value)| {
        pod.annotation(&format!("hallpass.dev/{key}"), value)
    })
}

fn burstable() -> Manifest {
    app(json!({"requests": {"cpu": "100m", "memory": "64Mi"}}))
}

fn guaranteed() -> Manifest {
    app(json!({"limits": {"cpu": "100m", "memory": "64Mi"}}))
}

fn app(resources: Value) -> Manifest {
    let app = container_with("app", json!({"resources": resources}));
    pod("shape").with("/spec/containers", json!([app]))
}

fn same(cpu: &str, memory: &str) -> Value {
    let both = json!({"cpu": cpu, "memory": memory});
    json!({"requests": both, "limits": both})
}
