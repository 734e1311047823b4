//! Who may ask: identity tokens, their audience, and what the operator itself may mint.

use std::time::Duration;

use anyhow::{Context as _, Result};
use hallpass_e2e::{
    api::OperatorApi,
    cluster::{Cluster, IDENTITY_AUDIENCE, RELEASE},
    command::{Said, kubectl, kubectl_with},
    manifest::{pod, service_account},
    wait::{not_yet, until},
};
use serde_json::{Value, json};

async fn orders(test: &str) -> Result<(Cluster, String)> {
    let cluster = Cluster::shared(test).await?;
    cluster.orders().await?;
    let pod = cluster
        .start(&pod("orders").injected().under("orders"))
        .await?;
    Ok((cluster, pod))
}

#[tokio::test]
async fn an_identity_token_of_a_recreated_pod_is_refused() -> Result<()> {
    let (cluster, name) = orders("recreated").await?;
    let api = OperatorApi::find().await?;
    let saved = cluster.identity(&name, "orders").await?;
    assert_eq!(api.tokens(&saved, &["vault"]).await?.status, 200);

    cluster
        .kubectl(&["delete", "pod", &name])
        .await?
        .success()?;
    cluster
        .start(&pod("orders").injected().under("orders"))
        .await?;
    until(
        Duration::from_secs(20),
        "the old pod is gone for the operator",
        || async {
            let answer = api.tokens(&saved, &["vault"]).await?;
            if answer.status == 403 {
                Ok(answer)
            } else {
                Err(not_yet(answer))
            }
        },
    )
    .await
    .and_then(|answer| answer.code())
    .map(|code| assert_eq!(code, "PodGone"))
}

#[tokio::test]
async fn an_identity_token_of_a_deleted_service_account_is_refused() -> Result<()> {
    let (cluster, name) = orders("deleted").await?;
    let api = OperatorApi::find().await?;
    let saved = cluster.identity(&name, "orders").await?;
    assert_eq!(api.tokens(&saved, &["vault"]).await?.status, 200);
    for step in ["deleted", "recreated"] {
        if step == "deleted" {
            cluster
                .kubectl(&["delete", "serviceaccount", "orders"])
                .await?
                .success()?;
        } else {
            cluster
                .apply(&service_account("orders").to_string())
                .await?;
        }
        let code = until(
            Duration::from_secs(20),
            "the service account is gone for the operator",
            || async {
                let answer = api.tokens(&saved, &["vault"]).await?;
                if answer.status == 403 {
                    answer.code()
                } else {
                    Err(not_yet(answer))
                }
            },
        )
        .await?;
        assert_eq!(code, "ServiceAccountGone", "{step}");
    }
    Ok(())
}

#[tokio::test]
async fn the_identity_audience_is_for_nodes_alone() -> Result<()> {
    let (cluster, name) = orders("audience").await?;
    cluster
        .identity(&name, "orders")
        .await
        .context("a node asks for a pod of its own")?;

    let uid = cluster
        .kubectl(&["get", "pod", &name, "-o", "jsonpath={.metadata.uid}"])
        .await?
        .success()?;
    let (pod, uid) = (
        format!("--bound-object-name={name}"),
        format!("--bound-object-uid={uid}"),
    );
    for audience in [IDENTITY_AUDIENCE, "hallpass.dev", "hallpass.dev/other"] {
        let audience = format!("--audience={audience}");
        let args = [
            "create",
            "token",
            "orders",
            &audience,
            "--bound-object-kind=Pod",
            &pod,
            &uid,
        ];
        let said = cluster.kubectl(&args).await?.failure()?;
        assert!(
            said.contains("hallpass-identity-audience"),
            "{audience}: {said}"
        );
    }
    let said = cluster
        .kubectl(&[
            "create",
            "token",
            "orders",
            "--audience=https://vault.example",
        ])
        .await?;
    said.success()
        .context("any other audience is the person's own business")?;
    Ok(())
}

#[tokio::test]
async fn t25_the_operator_cannot_mint_what_it_should_not() -> Result<()> {
    let (cluster, name) = orders("operator").await?;
    let uid = ["get", "pod", &name, "-o", "jsonpath={.metadata.uid}"];
    let uid = format!(
        "--bound-object-uid={}",
        cluster.kubectl(&uid).await?.success()?
    );
    let pod = format!("--bound-object-name={name}");
    let bound = ["--bound-object-kind=Pod", &pod, &uid];
    let own = (cluster.namespace.as_str(), "orders");
    let vault = "https://vault.example";

    mint(own, vault, "10m", &bound)
        .await?
        .success()
        .context("what it is for")?;
    for (what, whose, audience, duration, bound) in [
        (
            "for the API server",
            own,
            "https://kubernetes.default.svc",
            "10m",
            &bound[..],
        ),
        ("bound to nothing", own, vault, "10m", &[]),
        ("for two hours", own, vault, "2h", &bound),
        (
            "in kube-system",
            ("kube-system", "coredns"),
            vault,
            "10m",
            &bound,
        ),
    ] {
        let said = mint(whose, audience, duration, bound).await?;
        refused_by_policy("hallpass-token-requests", said, what)?;
    }
    Ok(())
}

/// Asks for a token as the operator's own service account.
async fn mint(
    (namespace, service_account): (&str, &str),
    audience: &str,
    duration: &str,
    bound: &[&str],
) -> Result<Said> {
    let operator = format!("--as=system:serviceaccount:{RELEASE}:hallpass");
    let (audience, duration) = (
        format!("--audience={audience}"),
        format!("--duration={duration}"),
    );
    let args = [
        "-n",
        namespace,
        &operator,
        "create",
        "token",
        service_account,
        &audience,
        &duration,
    ];
    kubectl(&[&args[..], bound].concat()).await
}

/// Tries to create that as the operator's own service account: nothing of it is stored.
async fn try_create(object: &Value) -> Result<Said> {
    let operator = format!("--as=system:serviceaccount:{RELEASE}:hallpass");
    let create = ["create", "--dry-run=server", "-f", "-", &operator];
    kubectl_with(&create, &object.to_string()).await
}

fn refused_by_policy(policy: &str, said: Said, what: &str) -> Result<()> {
    let said = said.failure()?;
    let by = format!("ValidatingAdmissionPolicy '{policy}'");
    assert!(said.contains(&by), "{what}: {said}");
    Ok(())
}

#[tokio::test]
async fn t25_the_operator_keeps_nothing_beside_its_keys() -> Result<()> {
    let _cluster = Cluster::shared("secrets").await?;
    let secret = |name: &str, kind: &str| {
        json!({
            "apiVersion": "v1", "kind": "Secret", "type": kind,
            "metadata": {
                "name": name, "namespace": format!("{RELEASE}-keys"),
                "labels": {"hallpass.dev/issuer-id": "abcdefgh"},
                "annotations": {"kubernetes.io/service-account.name": "default"},
            },
        })
    };
    let signing = "hallpass.dev/signing-key";
    let good = try_create(&secret("abcdefgh-1", signing)).await?;
    good.success().context("what it is for")?;
    let account = "kubernetes.io/service-account-token";
    for (what, object) in [
        ("another type", secret("abcdefgh-1", account)),
        ("another name", secret("token", signing)),
        ("another issuer's name", secret("abcdefgi-1", signing)),
    ] {
        refused_by_policy("hallpass-keys", try_create(&object).await?, what)?;
    }
    Ok(())
}

#[tokio::test]
async fn t25_the_operator_writes_the_values_of_the_chart_and_nothing_else_of_an_issuer()
-> Result<()> {
    let _cluster = Cluster::shared("issuers").await?;
    let policy = "hallpass-issuers";
    let other = json!({
        "apiVersion": "hallpass.dev/v1alpha1", "kind": "TokenIssuer", "metadata": {"name": "other"},
        "spec": {"hallpass": {"issuerURL": "https://other.example"}},
    });
    refused_by_policy(policy, try_create(&other).await?, "another issuer")?;

    let operator = format!("--as=system:serviceaccount:{RELEASE}:hallpass");
    let patch = async |patch: &str| {
        let which = ["patch", "tokenissuers.hallpass.dev", "hallpass"];
        let how = ["--type=merge", "--dry-run=server", &operator, "-p", patch];
        kubectl(&[&which[..], &how].concat()).await
    };
    let value = patch(r#"{"spec":{"hallpass":{"rotateEvery":"7d"}}}"#).await?;
    value.success().context("a value of the chart")?;
    for bad in [
        r#"{"spec":{"audiences":[{"pattern":"https://*.example","namespaces":{"matchLabels":{"a":"b"}}}]}}"#,
        r#"{"metadata":{"annotations":{"hallpass.dev/rotate-now":"2026-01-01T00:00:00Z"}}}"#,
    ] {
        refused_by_policy(policy, patch(bad).await?, bad)?;
    }
    Ok(())
}
