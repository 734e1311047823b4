//! The operator's audit: a line for every token that was issued or refused, and no token in it.

use anyhow::{Context as _, Result, ensure};
use hallpass_e2e::{caller::Caller, command::run, hay::Hay, token::claims};
use serde_json::{Value, json};

#[tokio::test]
async fn every_token_and_every_refusal_has_a_record() -> Result<()> {
    let caller = Caller::new("audit").await?;
    let asked = [
        "-H",
        &caller.bearer,
        "-d",
        "{\"names\":[\"mail\",\"nothing\"]}",
    ];
    let reply = caller.api.reply(&asked, "/v1/tokens").await?;
    assert_eq!(reply.answer.status, 200, "{reply:?}");
    let request = reply.header("x-request-id").context("a request id")?;
    let entries = reply.answer.json()?["tokens"].take();
    let served = caller.cluster.token("orders", "app", "vault").await?;

    let logs = Hay::gather(&caller.cluster).await?.operator_logs()?;
    let namespace = &caller.cluster.namespace;
    let mail = issued(
        &logs,
        namespace,
        "mail",
        &entries[0]["token"],
        &entries[0]["expires_at"],
    )
    .await?;
    assert_eq!(mail["request.id"], request);
    issued(
        &logs,
        namespace,
        "vault",
        &served["access_token"],
        &served["expires_at"],
    )
    .await?;

    let denied =
        |record: &Value| record["request.id"] == request && record["event"] == "TokenDenied";
    let denied = record(&logs, denied).context("no record of the refusal")?;
    assert_eq!(
        (&denied["denial.code"], &denied["token.name"]),
        (&json!("NoPolicy"), &json!("nothing"))
    );
    assert_eq!(denied["subject"]["pod"], "orders");
    Ok(())
}

/// The record of that token, checked member by member.
async fn issued(
    logs: &str,
    namespace: &str,
    name: &str,
    token: &Value,
    expires_at: &Value,
) -> Result<Value> {
    let token = token.as_str().context("a token")?;
    let hash = run("sha256sum", &[], Some(token)).await?.success()?;
    let hash = hash.split_whitespace().next().context("a hash")?;
    let record = record(logs, |record| record["token.sha256"] == hash);
    let record = record.with_context(|| format!("no record of {name}"))?;
    let claims = claims(token)?;
    assert_eq!(record["event"], "TokenIssued");
    assert_eq!(record["token.name"], name);
    assert_eq!(record["policy"], format!("{namespace}/orders"));
    assert_eq!(record["grant.audience"], format!("https://{name}.example"));
    assert_eq!(record["token.id"], claims["jti"]);
    assert_eq!(&record["expires_at"], expires_at);
    let subject = &record["subject"];
    let kubernetes = &claims["kubernetes.io"];
    for (seen, expected) in [
        (&subject["namespace"], &json!(namespace)),
        (&subject["service_account"], &json!("orders")),
        (
            &subject["service_account_uid"],
            &kubernetes["serviceaccount"]["uid"],
        ),
        (&subject["pod"], &json!("orders")),
        (&subject["pod_uid"], &kubernetes["pod"]["uid"]),
    ] {
        ensure!(seen == expected, "{seen} is not {expected}: {record}");
    }
    let written: jiff::Timestamp = record["time"].as_str().context("a time")?.parse()?;
    let expires: jiff::Timestamp = expires_at.as_str().context("an end")?.parse()?;
    let life = expires.duration_since(written).as_secs();
    assert!((590..=601).contains(&life), "{record}");
    Ok(record)
}

fn record(logs: &str, wanted: impl Fn(&Value) -> bool) -> Option<Value> {
    let mut records = logs
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    records.find(wanted)
}
