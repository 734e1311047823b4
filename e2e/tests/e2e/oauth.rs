//! The issuer as a client or a verifier of OAuth meets it: the token endpoint and introspection.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hallpass_e2e::{
    api::OperatorApi,
    cluster::Cluster,
    manifest::{pod, service_account},
    payments::{ISSUER, Payments, READ},
    pod::Answer,
    token::claims,
    wait::{not_yet, until},
};
use serde_json::{Value, json};

const WHILE: Duration = Duration::from_secs(30);
const EXCHANGE: &str = "grant_type=urn:ietf:params:oauth:grant-type:token-exchange";
const JWT: &str = "subject_token_type=urn:ietf:params:oauth:token-type:jwt";

async fn post(api: &OperatorApi, path: &str, form: &[&str]) -> Result<Answer> {
    let form = form.iter().flat_map(|field| ["--data-urlencode", field]);
    api.ask(&form.collect::<Vec<_>>(), path).await
}

async fn exchange(api: &OperatorApi, identity: &str, fields: &[&str]) -> Result<Answer> {
    let subject = format!("subject_token={identity}");
    let form = [&[EXCHANGE, JWT, &subject], fields].concat();
    post(api, "/oauth2/token", &form).await
}

fn refused(answer: &Answer, status: u16, error: &str) -> Result<()> {
    let body = answer.json()?;
    ensure!(
        answer.status == status && body["error"] == error && body["code"].is_string(),
        "not {status} {error}: {answer:?}"
    );
    Ok(())
}

#[tokio::test]
async fn an_identity_is_exchanged_for_a_token_of_an_audience() -> Result<()> {
    let payments = Payments::new(Cluster::shared("exchange").await?, |a| a).await?;
    let identity = payments.shop.identity(&payments.pod, "orders").await?;
    let audience = format!("audience={}", payments.value());
    // inside and from outside alike
    for api in [OperatorApi::find().await?, OperatorApi::outside().await?] {
        // the sidecar and the other listener draw on the same two at once of a replica
        let answer = until(WHILE, "a token within the pod's rate", || async {
            let answer = exchange(&api, &identity, &[&audience]).await?;
            if answer.status == 429 {
                Err(not_yet(answer))
            } else {
                Ok(answer)
            }
        })
        .await?;
        ensure!(answer.status == 200, "{answer:?}");
        let body = answer.json()?;
        assert_eq!(body["token_type"], "Bearer");
        assert_eq!(body["scope"], READ);
        let kind = "urn:ietf:params:oauth:token-type:access_token";
        assert_eq!(body["issued_token_type"], kind);
        let claims = claims(body["access_token"].as_str().context("a token")?)?;
        assert_eq!(claims["sub"], json!(payments.subject()));
        assert_eq!(
            (&claims["iss"], &claims["scope"]),
            (&json!(ISSUER), &json!(READ))
        );
    }

    let api = OperatorApi::find().await?;
    let scope = exchange(&api, &identity, &[&audience, "scope=payments:write"]).await?;
    refused(&scope, 400, "invalid_scope")?;
    let target = exchange(&api, &identity, &["audience=https://vault.example"]).await?;
    refused(&target, 400, "invalid_target")?;
    let grant = exchange(&api, "a.b.c", &[&audience]).await?;
    refused(&grant, 400, "invalid_grant")?;
    let unknown = post(&api, "/oauth2/token", &["grant_type=password"]).await?;
    refused(&unknown, 400, "unsupported_grant_type")?;
    // the world outside gets tokens, keys and metadata, and nothing of what is for the inside
    let outside = OperatorApi::outside().await?;
    assert_eq!(outside.ask(&[], "/jwks").await?.status, 200);
    for inside in ["/v1/assignments", "/oauth2/introspect"] {
        assert_eq!(
            outside.ask(&["-X", "POST"], inside).await?.status,
            404,
            "{inside}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn t20_only_a_listed_verifier_learns_what_a_token_is_worth() -> Result<()> {
    for format in ["JWT", "Opaque"] {
        introspected(format).await?;
    }
    Ok(())
}

async fn introspected(format: &str) -> Result<()> {
    let payments = Payments::new(Cluster::shared("introspect").await?, |audience| {
        audience
            .with("/spec/format", json!(format))
            .with("/spec/maxLifetime", json!("10m"))
            .with("/spec/guard", json!({"serviceAccounts": ["verifier"]}))
    })
    .await?;
    let owner = &payments.api;
    let mut identities = Vec::new();
    for account in ["verifier", "stranger"] {
        owner.apply(&service_account(account).to_string()).await?;
        let pod = owner.start(&pod(account).injected().under(account)).await?;
        identities.push(owner.identity(&pod, account).await?);
    }
    let api = OperatorApi::find().await?;
    let token = payments.token().await?;
    let ask = |identity: String, token: String| {
        let api = &api;
        async move {
            let bearer = format!("Authorization: Bearer {identity}");
            let form = format!("token={token}");
            let args = ["-H", &bearer, "--data-urlencode", &form];
            let answer = api.ask(&args, "/oauth2/introspect").await?;
            ensure!(answer.status == 200, "{answer:?}");
            answer.json()
        }
    };
    let [verifier, stranger] = identities.try_into().ok().context("two identities")?;
    let told = ask(verifier.clone(), token.clone()).await?;
    assert_eq!(told["active"], true, "{told}");
    assert_eq!(told["scope"], READ);
    assert_eq!(told["sub"], json!(payments.subject()));
    assert_eq!(told["aud"], json!(payments.value()));

    let inactive = json!({"active": false});
    assert_eq!(ask(stranger, token.clone()).await?, inactive);
    let consumer = payments.shop.identity(&payments.pod, "orders").await?;
    assert_eq!(ask(consumer, token.clone()).await?, inactive);
    assert_eq!(ask(verifier.clone(), format!("{token}x")).await?, inactive);
    let nobody = post(&api, "/oauth2/introspect", &[&format!("token={token}")]).await?;
    assert_eq!(nobody.status, 401);

    // dead with its pod
    let delete = [
        "delete",
        "pod",
        &payments.pod,
        "--force",
        "--grace-period=0",
    ];
    payments.shop.kubectl(&delete).await?.success()?;
    until(WHILE, "the token is inactive with its pod", || async {
        let told: Value = ask(verifier.clone(), token.clone()).await?;
        if told == inactive {
            Ok(())
        } else {
            Err(not_yet(told))
        }
    })
    .await
}
