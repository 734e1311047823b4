//! Policies that come, change and go while pods run; what their status says.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hallpass_e2e::{
    api::OperatorApi,
    cluster::Cluster,
    manifest::{Manifest, pod, policy, service_account},
    wait::{not_yet, now, until},
};
use serde_json::{Value, json};

const MINUTE: Duration = Duration::from_secs(60);

fn vault(audience: &str) -> Manifest {
    policy("orders", "orders", &[("vault", audience)])
}

/// The status entry of a token, once it has that reason.
async fn reason(cluster: &Cluster, policy: &str, token: &str, reason: &str) -> Result<Value> {
    until(
        Duration::from_secs(30),
        &format!("{policy}/{token} says {reason}"),
        || async {
            let args = ["get", "tokenpolicy.hallpass.dev", policy, "-o", "json"];
            let status = serde_json::from_str::<Value>(&cluster.kubectl(&args).await?.success()?)?
                ["status"]
                .take();
            let entries = status["tokens"].as_array().cloned().unwrap_or_default();
            let entry = entries.into_iter().find(|entry| entry["name"] == token);
            match entry {
                Some(entry) if entry["reason"] == reason => Ok(status),
                other => Err(not_yet(other)),
            }
        },
    )
    .await
}

#[tokio::test]
async fn a_policy_written_changed_and_deleted_reaches_a_running_pod() -> Result<()> {
    let cluster = Cluster::shared("policy").await?;
    cluster
        .apply(&service_account("orders").to_string())
        .await?;
    let pod = cluster
        .start(&pod("orders").injected().under("orders"))
        .await?;
    let answer = cluster.get(&pod, "app", "/v1/tokens/vault").await?;
    assert_eq!(
        (answer.status, answer.code()?.as_str()),
        (404, "NoSuchToken")
    );

    cluster
        .apply(&vault("https://vault.example").to_string())
        .await?;
    let served = cluster.token_within(MINUTE, &pod, "app", "vault").await?;
    assert_eq!(served["audience"], "https://vault.example");

    cluster
        .apply(&vault("https://other.example").to_string())
        .await?;
    until(MINUTE, "the token for the new audience", || async {
        let served = cluster.token(&pod, "app", "vault").await?;
        if served["audience"] == "https://other.example" {
            Ok(())
        } else {
            Err(not_yet(&served["audience"]))
        }
    })
    .await?;

    cluster
        .kubectl(&["delete", "tokenpolicy.hallpass.dev", "orders"])
        .await?
        .success()?;
    until(MINUTE, "the token is gone", || async {
        let answer = cluster.get(&pod, "app", "/v1/tokens/vault").await?;
        let file = cluster
            .exec(&pod, "app", &["ls", "/var/run/hallpass/tokens"])
            .await?
            .success()?;
        if answer.status == 404 && file.is_empty() {
            Ok(())
        } else {
            Err(not_yet((answer.status, file)))
        }
    })
    .await
}

#[tokio::test]
async fn who_is_not_meant_starts_and_is_told_what_is_missing() -> Result<()> {
    let cluster = Cluster::shared("other").await?;
    let other = cluster.beside("elsewhere").await?;
    for cluster in [&cluster, &other] {
        cluster
            .apply(&service_account("orders").to_string())
            .await?;
    }
    let narrow = vault("https://vault.example").with(
        "/spec/subjects/0/podSelector",
        json!({"matchLabels": {"app": "orders"}}),
    );
    cluster.apply(&narrow.to_string()).await?;
    let api = OperatorApi::find().await?;

    let meant = pod("meant")
        .injected()
        .under("orders")
        .label("app", "orders");
    let meant = cluster.start(&meant).await?;
    cluster
        .token(&meant, "app", "vault")
        .await
        .context("the twin that is meant")?;

    let unlabelled = cluster
        .start(&pod("unlabelled").injected().under("orders"))
        .await?;
    is_told(&cluster, &api, &unlabelled, "orders").await?;
    let account = cluster
        .start(&pod("account").injected().label("app", "orders"))
        .await?;
    is_told(&cluster, &api, &account, "default").await?;
    let elsewhere = pod("elsewhere")
        .injected()
        .under("orders")
        .label("app", "orders");
    let elsewhere = other.start(&elsewhere).await?;
    is_told(&other, &api, &elsewhere, "orders").await
}

/// The pod runs, its socket has no such token, and the operator says what is missing.
async fn is_told(
    cluster: &Cluster,
    api: &OperatorApi,
    pod: &str,
    service_account: &str,
) -> Result<()> {
    let answer = cluster.get(pod, "app", "/v1/tokens/vault").await?;
    assert_eq!(
        (answer.status, answer.code()?.as_str()),
        (404, "NoSuchToken"),
        "{pod}"
    );
    let identity = cluster.identity(pod, service_account).await?;
    let assigned = api.assignments(&identity).await?;
    assert_eq!(
        (assigned.status, &assigned.json()?["tokens"]),
        (200, &json!([])),
        "{pod}"
    );
    let answer = api.tokens(&identity, &["vault"]).await?;
    assert_eq!(
        (answer.status, answer.code()?.as_str()),
        (403, "NoPolicy"),
        "{pod}"
    );
    Ok(())
}

#[tokio::test]
async fn status_says_that_a_service_account_is_missing_and_when_it_is_there() -> Result<()> {
    let cluster = Cluster::shared("missing").await?;
    cluster
        .apply(&vault("https://vault.example").to_string())
        .await?;
    let status = reason(&cluster, "orders", "vault", "ServiceAccountMissing").await?;
    let message = status["tokens"][0]["message"].as_str().unwrap_or_default();
    assert!(message.contains("orders"), "{message}");
    cluster
        .apply(&service_account("orders").to_string())
        .await?;
    let status = reason(&cluster, "orders", "vault", "Ready").await?;
    assert_eq!(status["observedGeneration"], 1);
    assert_eq!(status["conditions"][0]["status"], "True");

    let events = cluster
        .kubectl(&["get", "events", "-o", "jsonpath={.items[*].reason}"])
        .await?
        .success()?;
    ensure!(
        events.contains("ServiceAccountMissing") && events.contains("Ready"),
        "one event a transition: {events}"
    );
    Ok(())
}

#[tokio::test]
async fn of_two_policies_with_one_token_name_the_older_wins_and_the_younger_says_so() -> Result<()>
{
    let cluster = Cluster::shared("taken").await?;
    cluster
        .apply(&service_account("orders").to_string())
        .await?;
    cluster
        .apply(&policy("older", "orders", &[("vault", "https://older.example")]).to_string())
        .await?;
    // creation times have whole seconds: the younger comes when the older is surely older
    reason(&cluster, "older", "vault", "Ready").await?;
    until(Duration::from_secs(5), "a second later", || async {
        let args = [
            "get",
            "tokenpolicy.hallpass.dev",
            "older",
            "-o",
            "jsonpath={.metadata.creationTimestamp}",
        ];
        let created: jiff::Timestamp = cluster.kubectl(&args).await?.success()?.parse()?;
        let age = now().duration_since(created);
        if age.as_secs() >= 1 {
            Ok(())
        } else {
            Err(not_yet(age))
        }
    })
    .await?;
    let tokens = [
        ("vault", "https://younger.example"),
        ("mail", "https://mail.example"),
    ];
    cluster
        .apply(&policy("younger", "orders", &tokens).to_string())
        .await?;
    let pod = cluster
        .start(&pod("orders").injected().under("orders"))
        .await?;

    assert_eq!(
        cluster.token(&pod, "app", "vault").await?["audience"],
        "https://older.example"
    );
    assert_eq!(
        cluster.token(&pod, "app", "mail").await?["audience"],
        "https://mail.example"
    );
    let status = reason(&cluster, "younger", "vault", "NameTaken").await?;
    assert!(
        status.to_string().contains("older"),
        "names the older policy: {status}"
    );
    reason(&cluster, "younger", "mail", "Ready").await?;
    reason(&cluster, "older", "vault", "Ready").await?;

    cluster
        .kubectl(&["delete", "tokenpolicy.hallpass.dev", "older"])
        .await?
        .success()?;
    reason(&cluster, "younger", "vault", "Ready").await?;
    Ok(())
}
