//! Pods of every shape: init containers, jobs, two containers, restricted namespaces.

use std::time::Duration;

use anyhow::{Context as _, Result};
use hallpass_e2e::{
    cluster::Cluster,
    command::kubectl,
    manifest::{container, pod, policy, service_account},
    wait::{not_yet, now, until},
};
use serde_json::{Value, json};

const AUDIENCE: &str = "https://vault.example";

async fn prepared(test: &str) -> Result<Cluster> {
    let cluster = Cluster::shared(test).await?;
    cluster.orders().await?;
    Ok(cluster)
}

#[tokio::test]
async fn an_init_container_reads_a_token() -> Result<()> {
    let cluster = prepared("init").await?;
    let mut init = container("migrate");
    let read = "test -n \"$(cat /var/run/hallpass/tokens/vault)\" && curl -sf --unix-socket $HALLPASS_SOCKET \
                http://hallpass/v1/tokens/vault/header >/dev/null && echo read";
    init["command"] = json!(["/bin/sh", "-c", read]);
    let pod = pod("orders")
        .injected()
        .under("orders")
        .with("/spec/initContainers", json!([init]));
    let pod = cluster.start(&pod).await?;
    let said = cluster
        .kubectl(&["logs", &pod, "-c", "migrate"])
        .await?
        .success()?;
    assert_eq!(said.trim(), "read");
    Ok(())
}

#[tokio::test]
async fn each_container_sees_its_own_tokens_alone() -> Result<()> {
    let cluster = Cluster::shared("two").await?;
    cluster
        .apply(&service_account("orders").to_string())
        .await?;
    let tokens = [
        ("vault", AUDIENCE),
        ("mail", "https://mail.example"),
        ("both", "https://both.example"),
    ];
    let policy = policy("orders", "orders", &tokens)
        .with("/spec/tokens/0/containers", json!(["app"]))
        .with("/spec/tokens/1/containers", json!(["proxy"]));
    cluster.apply(&policy.to_string()).await?;
    let pod = pod("orders")
        .injected()
        .under("orders")
        .with("/spec/containers/-", container("proxy"));
    let pod = cluster.start(&pod).await?;
    for (container, own, foreign) in [("app", "vault", "mail"), ("proxy", "mail", "vault")] {
        cluster.token(&pod, container, own).await?;
        cluster.token(&pod, container, "both").await?;
        let answer = cluster
            .get(&pod, container, &format!("/v1/tokens/{foreign}"))
            .await?;
        assert_eq!(
            (answer.status, answer.code()?.as_str()),
            (404, "NoSuchToken"),
            "{container}"
        );
        let files = cluster
            .exec(&pod, container, &["ls", "/var/run/hallpass/tokens"])
            .await?
            .success()?;
        let mut files: Vec<&str> = files.split_whitespace().collect();
        files.sort_unstable();
        let mut expected = ["both", own];
        expected.sort_unstable();
        assert_eq!(files, expected, "{container}");
    }
    Ok(())
}

#[tokio::test]
async fn an_application_can_only_read_its_directory() -> Result<()> {
    let cluster = prepared("readonly").await?;
    let pod = cluster
        .start(&pod("orders").injected().under("orders"))
        .await?;
    let said = cluster
        .exec(&pod, "app", &["touch", "/var/run/hallpass/tokens/vault"])
        .await?
        .failure()?;
    assert!(said.contains("Read-only file system"), "{said}");
    // what the sidecar has of the pod's own API token: nothing
    let args = ["get", "pod", &pod, "-o", "json"];
    let pod: Value = serde_json::from_str(&cluster.kubectl(&args).await?.success()?)?;
    let sidecar = &pod["spec"]["initContainers"][0];
    assert_eq!(sidecar["name"], "hallpass");
    let mounts = sidecar["volumeMounts"].as_array().context("mounts")?;
    assert!(
        mounts.iter().all(|m| m["name"]
            .as_str()
            .is_some_and(|n| n.starts_with("hallpass-"))),
        "{mounts:?}"
    );
    Ok(())
}

/// The kubelet looks at its containers once a second: one look sees the main container's end and stops
/// the sidecar, another sees the sidecar's, which a job without it does not need.
#[tokio::test]
async fn a_job_completes_two_looks_of_the_kubelet_after_one_without_a_sidecar() -> Result<()> {
    let cluster = prepared("job").await?;
    let (mut plain, mut injected) = (Vec::new(), Vec::new());
    for i in 0..5 {
        plain.push(completes_after(&cluster, &format!("plain-{i}"), "false").await?);
        injected.push(completes_after(&cluster, &format!("injected-{i}"), "true").await?);
    }
    plain.sort_unstable();
    injected.sort_unstable();
    let more = injected[2] - plain[2];
    assert!(
        more <= 2500,
        "milliseconds from the end of the main container: {injected:?}, plain: {plain:?}"
    );
    Ok(())
}

/// Milliseconds from the end of the main container to the sight of the job's completion. The end is
/// given in whole seconds, so the figure is up to a second too large.
async fn completes_after(cluster: &Cluster, name: &str, inject: &str) -> Result<i64> {
    let mut main = container("app");
    let reads = "test -s /var/run/hallpass/tokens/vault";
    main["command"] = json!([
        "/bin/sh",
        "-c",
        if inject == "true" { reads } else { "true" }
    ]);
    let job = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
        "spec": {"backoffLimit": 0, "template": {
            "metadata": {"labels": {"hallpass.dev/inject": inject}},
            "spec": {"restartPolicy": "Never", "serviceAccountName": "orders", "containers": [main]},
        }},
    });
    cluster.apply(&job.to_string()).await?;
    let args = [
        "wait",
        "job",
        name,
        "--for=condition=Complete",
        "--timeout=60s",
    ];
    cluster.kubectl(&args).await?.success()?;
    let seen = now();
    let path = "jsonpath={.items[0].status.containerStatuses[0].state.terminated.finishedAt}";
    let selector = format!("job-name={name}");
    let finished = until(
        Duration::from_secs(10),
        "the end of the container",
        || async {
            let said = cluster
                .kubectl(&["get", "pod", "-l", &selector, "-o", path])
                .await?
                .success()?;
            said.parse::<jiff::Timestamp>()
                .map_err(|why| not_yet((why, said)))
        },
    )
    .await?;
    Ok(seen.duration_since(finished).as_millis().try_into()?)
}

#[tokio::test]
async fn a_pod_of_a_restricted_namespace_is_injected_and_starts() -> Result<()> {
    let cluster = prepared("restricted").await?;
    let label = "pod-security.kubernetes.io/enforce=restricted";
    kubectl(&["label", "namespace", &cluster.namespace, label])
        .await?
        .success()?;
    let bare = cluster
        .try_apply(&pod("bare").injected().under("orders").to_string())
        .await?
        .failure()?;
    assert!(
        bare.contains("violates PodSecurity"),
        "the namespace is restricted: {bare}"
    );

    let security = json!({
        "runAsNonRoot": true, "runAsUser": 1000, "allowPrivilegeEscalation": false,
        "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"},
    });
    let pod = pod("orders")
        .injected()
        .under("orders")
        .with("/spec/containers/0/securityContext", security);
    let pod = cluster.start(&pod).await?;
    cluster.token(&pod, "app", "vault").await?;
    Ok(())
}

#[tokio::test]
async fn the_label_of_a_namespace_injects_and_the_pod_may_opt_out() -> Result<()> {
    let cluster = prepared("label").await?;
    kubectl(&[
        "label",
        "namespace",
        &cluster.namespace,
        "hallpass.dev/inject=true",
    ])
    .await?
    .success()?;
    let injected = cluster.start(&pod("orders").under("orders")).await?;
    cluster.token(&injected, "app", "vault").await?;
    let bare = cluster
        .start(
            &pod("bare")
                .under("orders")
                .label("hallpass.dev/inject", "false"),
        )
        .await?;
    let path = "jsonpath={.spec.initContainers}";
    assert_eq!(
        cluster
            .kubectl(&["get", "pod", &bare, "-o", path])
            .await?
            .success()?,
        ""
    );
    Ok(())
}

#[tokio::test]
async fn an_application_that_starts_at_once_waits_on_the_socket() -> Result<()> {
    let cluster = prepared("immediate").await?;
    let mut app = container("app");
    let read = "curl -s -m 15 --retry 20 --retry-delay 1 --retry-all-errors --unix-socket $HALLPASS_SOCKET \
                -o /dev/null -w '%{http_code}\\n' http://hallpass/v1/tokens/vault; while :; do sleep 1; done";
    app["command"] = json!(["/bin/sh", "-c", read]);
    let pod = pod("orders")
        .injected()
        .under("orders")
        .annotation("hallpass.dev/start", "Immediate")
        .with("/spec/containers", json!([app]));
    let pod = cluster.start(&pod).await?;
    let path = "jsonpath={.spec.initContainers[0].startupProbe}";
    assert_eq!(
        cluster
            .kubectl(&["get", "pod", &pod, "-o", path])
            .await?
            .success()?,
        ""
    );
    until(
        Duration::from_secs(30),
        "the first read is answered",
        || async {
            let said = cluster
                .kubectl(&["logs", &pod, "-c", "app"])
                .await?
                .success()?;
            if said.trim() == "200" {
                Ok(())
            } else {
                Err(not_yet(said))
            }
        },
    )
    .await
}
