//! Who may ask: identity tokens, their audience, and what the operator itself may mint.

use std::time::Duration;

use anyhow::{Context as _, Result};
use hallpass_e2e::{
    api::OperatorApi,
    cluster::{Cluster, IDENTITY_AUDIENCE, RELEASE},
    command::{Said, kubectl},
    manifest::{pod, service_account},
    wait::{not_yet, until},
};

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
async fn the_operator_cannot_mint_what_it_should_not() -> Result<()> {
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
            "for the identity audience",
            own,
            IDENTITY_AUDIENCE,
            "10m",
            &bound,
        ),
        (
            "in kube-system",
            ("kube-system", "coredns"),
            vault,
            "10m",
            &bound,
        ),
    ] {
        let said = mint(whose, audience, duration, bound).await?.failure()?;
        assert!(
            said.contains("ValidatingAdmissionPolicy 'hallpass-"),
            "{what}: {said}"
        );
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
