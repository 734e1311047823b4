//! The operator's API met from outside of any sidecar: limits, and what every refusal says.

use std::time::Duration;

use anyhow::{Context as _, Result};
use hallpass_e2e::{
    caller::Caller,
    wait::{not_yet, until},
};
use serde_json::json;

#[tokio::test]
async fn a_token_asked_for_too_often_is_refused_and_no_other() -> Result<()> {
    let caller = Caller::new("often").await?;
    let ask = async |names: &[&str]| {
        let body = json!({"names": names}).to_string();
        caller
            .api
            .reply(&["-H", &caller.bearer, "-d", &body], "/v1/tokens")
            .await
    };
    // the sidecar may have asked this replica too
    let mut issued = 0;
    let reply = loop {
        let reply = ask(&["vault"]).await?;
        if reply.answer.status != 200 {
            break reply;
        }
        issued += 1;
        assert!(issued <= 2, "{issued} tokens in a row");
    };
    let problem = reply.refused(429, "TooOften")?;
    let wait: u64 = reply
        .header("retry-after")
        .context("Retry-After")?
        .parse()?;
    assert!((1..=10).contains(&wait), "{wait}");
    assert_eq!(problem["retry_after_seconds"], wait);
    assert_eq!(problem["tokens"][0]["name"], "vault");
    assert_eq!(problem["tokens"][0]["problem"]["code"], "TooOften");

    let both = ask(&["vault", "mail"]).await?;
    assert_eq!(both.answer.status, 200, "another name is issued: {both:?}");
    let entries = both.answer.json()?["tokens"].take();
    assert_eq!(
        entries[0]["problem"]["code"], "TooOften",
        "in the order of the request"
    );
    assert!(entries[0]["problem"]["retry_after_seconds"].is_u64());
    assert_eq!(
        (&entries[1]["name"], &entries[1]["audience"]),
        (&json!("mail"), &json!("https://mail.example"))
    );
    assert!(entries[1]["token"].is_string());

    until(
        Duration::from_secs(wait + 5),
        "the token is issued again",
        || async {
            let reply = ask(&["vault"]).await?;
            if reply.answer.status == 200 {
                Ok(())
            } else {
                Err(not_yet(reply))
            }
        },
    )
    .await
}

#[tokio::test]
async fn a_token_that_nobody_grants_is_refused_with_what_there_is() -> Result<()> {
    let caller = Caller::new("nobody").await?;
    let body = json!({"names": ["valt"]}).to_string();
    let reply = caller
        .api
        .reply(&["-H", &caller.bearer, "-d", &body], "/v1/tokens")
        .await?;
    let problem = reply.refused(403, "NoPolicy")?;
    let detail = problem["detail"].as_str().unwrap_or_default();
    for named in ["orders", "valt", "vault", "mail"] {
        assert!(detail.contains(named), "{named} is not named: {detail}");
    }
    // the twin: all that there is
    let reply = caller
        .api
        .reply(&["-H", &caller.bearer, "-d", "{}"], "/v1/tokens")
        .await?;
    assert_eq!(reply.answer.status, 200, "{reply:?}");
    assert_eq!(
        reply.answer.json()?["tokens"].as_array().map(Vec::len),
        Some(2)
    );
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    Ok(())
}

#[tokio::test]
async fn a_request_out_of_form_is_refused_by_its_fault() -> Result<()> {
    let caller = Caller::new("form").await?;
    let ask = async |rest: &[&str], path: &str| {
        caller
            .api
            .reply(&[&["-H", &caller.bearer], rest].concat(), path)
            .await
    };
    let large = json!({"names": ["vault"], "more": "x".repeat(20_000)}).to_string();
    ask(&["-d", &large], "/v1/tokens")
        .await?
        .refused(413, "TooLarge")?;
    let names: Vec<String> = (0..65).map(|i| format!("n{i}")).collect();
    let many = json!({"names": names}).to_string();
    ask(&["-d", &many], "/v1/tokens")
        .await?
        .refused(413, "TooLarge")?;
    for body in [
        "{",
        "[]",
        "{\"names\":\"vault\"}",
        "{\"names\":[]}",
        "{\"names\":[\"../x\"]}",
    ] {
        ask(&["-d", body], "/v1/tokens")
            .await?
            .refused(400, "MalformedRequest")?;
    }
    for (method, path, allowed) in [
        ("PUT", "/v1/tokens", "POST"),
        ("GET", "/v1/tokens", "POST"),
        ("POST", "/v1/assignments", "GET"),
        ("DELETE", "/v1/assignments", "GET"),
    ] {
        let reply = ask(&["-X", method], path).await?;
        reply.refused(405, "WrongMethod")?;
        assert!(
            reply
                .header("allow")
                .is_some_and(|allow| allow.contains(allowed)),
            "{reply:?}"
        );
    }
    for path in ["/", "/v1", "/v1/tokens/vault", "/metrics", "/healthz"] {
        ask(&[], path).await?.refused(404, "NoSuchPath")?;
    }
    let head = format!("X-Large: {}", "x".repeat(20_000));
    let status = ask(&["-H", &head], "/v1/assignments").await?.answer.status;
    assert_eq!(status, 431, "a head is limited too");
    assert_eq!(ask(&[], "/v1/assignments").await?.answer.status, 200);
    Ok(())
}
