//! A policy asks, an audience allows: a token exists only where both agree, and each side is told what the
//! other one lacks.

use std::time::Duration;

use anyhow::{Context as _, Result};
use hallpass_e2e::{
    cluster::Cluster,
    manifest::{audience, audience_policy, pod, service_account},
    token::claims,
    wait::{not_yet, until},
};
use serde_json::{Value, json};

const MINUTE: Duration = Duration::from_secs(60);
const READ: &str = "payments:read";
const WRITE: &str = "payments:write";

async fn status(cluster: &Cluster, kind: &str, name: &str) -> Result<Value> {
    let args = ["get", &format!("{kind}.hallpass.dev"), name, "-o", "json"];
    let object: Value = serde_json::from_str(&cluster.kubectl(&args).await?.success()?)?;
    Ok(object["status"].clone())
}

/// The message of the policy's one token, once its reason is that.
async fn told(cluster: &Cluster, reason: &str) -> Result<String> {
    let what = format!("the policy's status says {reason}");
    until(Duration::from_secs(30), &what, || async {
        let status = status(cluster, "tokenpolicies", "orders").await?;
        let token = &status["tokens"][0];
        if token["reason"] == reason {
            Ok(token["message"].as_str().unwrap_or_default().to_owned())
        } else {
            Err(not_yet(status))
        }
    })
    .await
}

/// The socket has no token, and says that because of `why`.
async fn refused(cluster: &Cluster, pod: &str, why: &str) -> Result<()> {
    until(MINUTE, &format!("the socket says {why}"), || async {
        let answer = cluster.get(pod, "app", "/v1/tokens/payments").await?;
        let problem = answer.json()?;
        let detail = problem["detail"].as_str().unwrap_or_default();
        if answer.status == 503 && detail.contains(why) {
            Ok(())
        } else {
            Err(not_yet(answer))
        }
    })
    .await
}

#[tokio::test]
async fn a_token_exists_only_where_both_sides_agree() -> Result<()> {
    let shop = Cluster::shared("consent").await?;
    let payments = shop.beside("payments").await?;
    let owner = audience(&payments.namespace).with("/spec/maxLifetime", json!("30s"));
    let consumer = audience_policy("orders", "payments", &payments.namespace, &[READ, WRITE]);
    shop.apply(&service_account("orders").to_string()).await?;
    shop.apply(&consumer.to_string()).await?;
    let pod = shop
        .start(&pod("orders").injected().under("orders"))
        .await?;

    let missing = told(&shop, "AudienceMissing").await?;
    let id = format!("{}/payments", payments.namespace);
    assert_eq!(missing, format!("there is no usable TokenAudience {id}"));

    // stated, but nobody is allowed
    payments.apply(&owner.to_string()).await?;
    let who = format!("{}/orders", shop.namespace);
    let line = format!("{id} allows {who} nothing; ask #payments-oncall");
    assert_eq!(told(&shop, "SubjectNotAllowed").await?, line);
    refused(&shop, &pod, &format!("SubjectNotAllowed: {line}")).await?;
    owner_is_told(&payments, &shop, "SubjectNotAllowed").await?;

    // one scope of the two is allowed: the token comes without any restart
    let allowing = owner.clone().allowing(&shop.namespace, "orders", &[READ]);
    payments.apply(&allowing.to_string()).await?;
    let served = shop.token_within(Duration::from_secs(30), &pod, "app", "payments");
    let served = served.await.context("the token after the consent")?;
    assert_eq!(served["scope"], READ);
    check_claims(&shop, &payments, &pod, &served)?;
    let part = told(&shop, "ScopeNotAllowed").await?;
    assert_eq!(
        part,
        format!("can be issued in part: {id} allows {who} no scope {WRITE}; ask #payments-oncall")
    );

    // withdrawn: what is in hand ends with its time, and nothing follows
    payments.apply(&owner.to_string()).await?;
    let line = format!("{id} allows {who} nothing; ask #payments-oncall");
    assert_eq!(told(&shop, "SubjectNotAllowed").await?, line);
    refused(&shop, &pod, &format!("SubjectNotAllowed: {line}")).await
}

/// The audience's status names who asks in vain.
async fn owner_is_told(payments: &Cluster, shop: &Cluster, reason: &str) -> Result<()> {
    let what = format!("the audience's status says {reason}");
    until(Duration::from_secs(30), &what, || async {
        let status = status(payments, "tokenaudiences", "payments").await?;
        let refused = &status["refused"][0];
        let expected = json!([shop.namespace, "orders", "payments", reason]);
        let told = ["namespace", "policy", "token", "reason"].map(|field| refused[field].clone());
        if json!(told) == expected && status["refusedCount"] == 1 {
            Ok(())
        } else {
            Err(not_yet(status))
        }
    })
    .await
}

fn check_claims(shop: &Cluster, payments: &Cluster, pod: &str, served: &Value) -> Result<()> {
    let token = served["access_token"].as_str().context("a token")?;
    let claims = claims(token)?;
    let subject = format!("system:serviceaccount:{}:orders", shop.namespace);
    let audience = format!("https://payments.{}.svc", payments.namespace);
    assert_eq!(claims["iss"], "https://hallpass.hallpass-system.svc");
    assert_eq!(claims["aud"], json!(audience));
    assert_eq!(claims["sub"], json!(subject));
    assert_eq!(claims["client_id"], json!(subject));
    assert_eq!(claims["scope"], READ);
    assert_eq!(claims["kubernetes.io"]["pod"]["name"], json!(pod));
    let time = |name: &str| claims[name].as_i64().context("a time");
    assert_eq!(time("exp")? - time("iat")?, 30);
    Ok(())
}

#[tokio::test]
async fn an_audience_of_somebody_elses_names_is_not_stated() -> Result<()> {
    let cluster = Cluster::shared("stated").await?;
    let other = cluster.beside("other").await?;
    // the names of another namespace
    cluster
        .apply(&audience(&other.namespace).to_string())
        .await?;
    until(Duration::from_secs(30), "AudienceNotPermitted", || async {
        let status = status(&cluster, "tokenaudiences", "payments").await?;
        let ready = &status["conditions"][0];
        if ready["status"] == "False" && ready["reason"] == "AudienceNotPermitted" {
            Ok(())
        } else {
            Err(not_yet(status))
        }
    })
    .await?;
    // its own
    other.apply(&audience(&other.namespace).to_string()).await?;
    until(Duration::from_secs(30), "its own is ready", || async {
        let status = status(&other, "tokenaudiences", "payments").await?;
        if status["conditions"][0]["status"] == "True" {
            Ok(())
        } else {
            Err(not_yet(status))
        }
    })
    .await
}

#[tokio::test]
async fn tokens_of_both_kinds_live_in_one_pod() -> Result<()> {
    let shop = Cluster::shared("kinds").await?;
    let payments = shop.beside("payments").await?;
    let opaque = audience(&payments.namespace)
        .with("/spec/format", json!("Opaque"))
        .allowing(&shop.namespace, "orders", &[READ]);
    payments.apply(&opaque.to_string()).await?;
    let kubernetes = json!({"name": "vault", "kubernetesAudience": "https://vault.example"});
    let policy = audience_policy("orders", "payments", &payments.namespace, &[READ])
        .with("/spec/tokens/-", kubernetes);
    shop.apply(&service_account("orders").to_string()).await?;
    shop.apply(&policy.to_string()).await?;
    let pod = shop
        .start(&pod("orders").injected().under("orders"))
        .await?;

    let own = shop.token_within(MINUTE, &pod, "app", "payments").await?;
    let token = own["access_token"].as_str().context("a token")?;
    assert!(token.starts_with("hpo_"), "an opaque token: {own}");
    assert_eq!(
        own["audience"],
        json!(format!("https://payments.{}.svc", payments.namespace))
    );
    let plain = shop.token(&pod, "app", "vault").await?;
    assert_eq!(
        plain["scope"],
        Value::Null,
        "a service-account token has no scope"
    );
    Ok(())
}
