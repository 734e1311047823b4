//! The main job: a policy in, a scoped, pod-bound, short-lived token out of the pod's own socket.

use std::time::Duration;

use anyhow::{Context as _, Result};
use hallpass_e2e::{
    cluster::Cluster,
    command::{kubectl_with, run},
    manifest::pod,
    token::claims,
    wait::{not_yet, until},
};
use serde_json::{Value, json};

const AUDIENCE: &str = "https://vault.example";

/// A pod `orders` that holds the token `vault`.
async fn orders(cluster: &Cluster) -> Result<String> {
    cluster.orders().await?;
    cluster
        .start(&pod("orders").injected().under("orders"))
        .await
}

async fn review(token: &str, audience: &str) -> Result<Value> {
    let review = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
        "spec": {"token": token, "audiences": [audience]},
    });
    let said = kubectl_with(&["create", "-o", "json", "-f", "-"], &review.to_string())
        .await?
        .success()?;
    Ok(serde_json::from_str::<Value>(&said)?["status"].take())
}

#[tokio::test]
async fn a_pod_reads_a_scoped_pod_bound_short_lived_token() -> Result<()> {
    let cluster = Cluster::shared("token").await?;
    let pod = orders(&cluster).await?;

    let served = cluster.token(&pod, "app", "vault").await?;
    assert_eq!(served["token_type"], "Bearer");
    assert_eq!(served["state"], "fresh");
    let token = served["access_token"].as_str().context("a token")?;
    let claims = claims(token)?;
    assert_eq!(claims["aud"], json!([AUDIENCE]));
    assert_eq!(
        claims["sub"],
        json!(format!(
            "system:serviceaccount:{}:orders",
            cluster.namespace
        ))
    );
    assert_eq!(claims["kubernetes.io"]["pod"]["name"], json!(pod));
    let life =
        claims["exp"].as_i64().unwrap_or_default() - claims["iat"].as_i64().unwrap_or_default();
    assert_eq!(life, 600);
    let left = served["expires_in"].as_i64().context("expires_in")?;
    assert!((1..=600).contains(&left), "{left}");

    // the same token by every way of reading it
    let file = cluster
        .exec(&pod, "app", &["cat", "/var/run/hallpass/tokens/vault"])
        .await?
        .success()?;
    assert_eq!(
        file, token,
        "the file holds the bare token, without a newline"
    );
    let bare = cluster
        .ask(
            &pod,
            "app",
            &["-H", "Accept: text/plain"],
            "/v1/tokens/vault",
        )
        .await?;
    assert_eq!(bare.body, token);
    let header = cluster.get(&pod, "app", "/v1/tokens/vault/header").await?;
    assert_eq!(header.body, format!("Bearer {token}"));
    let got = cluster
        .exec(&pod, "hallpass", &["/hallpass-sidecar", "get", "vault"])
        .await?
        .success()?;
    assert_eq!(got.trim_end(), token);
    Ok(())
}

#[tokio::test]
async fn the_token_is_good_for_its_audience_alone_and_dies_with_the_pod() -> Result<()> {
    let cluster = Cluster::shared("alone").await?;
    let pod = orders(&cluster).await?;
    let served = cluster.token(&pod, "app", "vault").await?;
    let token = served["access_token"].as_str().context("a token")?;

    let status = review(token, AUDIENCE).await?;
    assert_eq!(
        (&status["authenticated"], &status["audiences"]),
        (&json!(true), &json!([AUDIENCE]))
    );
    assert_eq!(
        status["user"]["extra"]["authentication.kubernetes.io/pod-name"],
        json!([pod])
    );
    assert_eq!(
        review(token, "https://other.example").await?["authenticated"],
        Value::Null
    );

    // the API server itself takes it for nobody
    let server = cluster
        .kubectl(&[
            "config",
            "view",
            "--minify",
            "-o",
            "jsonpath={.clusters[0].cluster.server}",
        ])
        .await?;
    let bearer = format!("Authorization: Bearer {token}");
    let url = format!("{}/api", server.success()?);
    let args = [
        "-sk",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        "-H",
        &bearer,
        &url,
    ];
    assert_eq!(run("curl", &args, None).await?.success()?, "401");

    cluster.kubectl(&["delete", "pod", &pod]).await?.success()?;
    until(Duration::from_secs(20), "the token dies", || async {
        let status = review(token, AUDIENCE).await?;
        if status["authenticated"] == json!(true) {
            Err(not_yet(status))
        } else {
            Ok(())
        }
    })
    .await
}

#[tokio::test]
async fn the_socket_explains_every_refusal() -> Result<()> {
    let cluster = Cluster::shared("socket").await?;
    let pod = orders(&cluster).await?;

    let unknown = cluster.get(&pod, "app", "/v1/tokens/valt").await?;
    assert_eq!(
        (unknown.status, unknown.code()?.as_str()),
        (404, "NoSuchToken")
    );
    let detail = unknown.json()?["detail"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    assert!(detail.contains("vault"), "names what exists here: {detail}");

    let post = cluster
        .ask(&pod, "app", &["-X", "POST"], "/v1/tokens/vault")
        .await?;
    assert_eq!((post.status, post.code()?.as_str()), (405, "WrongMethod"));

    let list = cluster.get(&pod, "app", "/v1/tokens").await?.json()?;
    assert_eq!(list["tokens"][0]["name"], "vault");
    assert!(list["tokens"][0].get("access_token").is_none(), "{list}");
    assert_eq!(cluster.get(&pod, "app", "/readyz").await?.status, 200);
    Ok(())
}
