//! Bearers that are none of a living pod: each is refused with a challenge and a code of its own.

use anyhow::{Context as _, Result};
use hallpass_e2e::{
    api::OperatorApi,
    caller::Caller,
    cluster::IDENTITY_AUDIENCE,
    forge::{Forge, header},
    manifest::Manifest,
    token::claims,
    wait::now,
};
use serde_json::{Value, json};

/// Asks with these headers; has to be refused with that code.
async fn refused(api: &OperatorApi, what: &str, headers: &[&str], code: &str) -> Result<()> {
    for (path, more) in [
        ("/v1/assignments", &[][..]),
        ("/v1/tokens", &["-d", "{}"][..]),
    ] {
        let headers = headers.iter().flat_map(|header| ["-H", header]);
        let args: Vec<&str> = headers.chain(more.iter().copied()).collect();
        let reply = api.reply(&args, path).await?;
        let seen = reply
            .answer
            .code()
            .with_context(|| format!("{what}: {reply:?}"))?;
        assert_eq!(
            (reply.answer.status, seen.as_str()),
            (401, code),
            "{what}: {reply:?}"
        );
        let challenge = reply.header("www-authenticate").unwrap_or_default();
        assert!(challenge.starts_with("Bearer"), "{what}: {challenge}");
        // RFC 6750 §3.1: without a token there is nothing to find fault with
        let faulty = challenge.contains("error=\"invalid_token\"");
        assert_eq!(faulty, code != "NoBearer", "{what}: {challenge}");
    }
    Ok(())
}

async fn refused_token(api: &OperatorApi, what: &str, token: &str, code: &str) -> Result<()> {
    refused(
        api,
        what,
        &[&format!("Authorization: Bearer {token}")],
        code,
    )
    .await
}

#[tokio::test]
async fn whoever_shows_no_identity_token_is_refused() -> Result<()> {
    let Caller {
        cluster,
        api,
        identity,
        ..
    } = Caller::new("bearer").await?;
    assert_eq!(api.assignments(&identity).await?.status, 200, "the twin");

    refused(&api, "nothing", &[], "NoBearer").await?;
    refused(
        &api,
        "a password",
        &["Authorization: Basic YTpi"],
        "NoBearer",
    )
    .await?;
    for malformed in [
        "x",
        "a.b",
        "a.b.c",
        "a.b.c.d",
        "e30.e30.e30",
        &identity[..identity.len() - 1],
        &identity[1..],
    ] {
        refused_token(&api, malformed, malformed, "MalformedBearer").await?;
    }
    let good = format!("Authorization: Bearer {identity}");
    refused(&api, "two of them", &[&good, &good], "MalformedBearer").await?;

    let served = cluster.token("orders", "app", "vault").await?;
    let served = served["access_token"].as_str().context("a token")?;
    refused_token(&api, "a token of the pod", served, "WrongAudience").await?;
    let own = cluster
        .kubectl(&["create", "token", "orders"])
        .await?
        .success()?;
    refused_token(&api, "the API server's", own.trim(), "WrongAudience").await
}

#[tokio::test]
async fn a_token_with_one_bit_changed_is_refused() -> Result<()> {
    let Caller {
        cluster: _cluster,
        api,
        identity,
        ..
    } = Caller::new("bit").await?;
    let (head, signature) = identity.rsplit_once('.').context("a signature")?;
    // not the last character: some of its bits are padding
    let middle = signature.len() / 2;
    let other = if signature.as_bytes()[middle] == b'A' {
        "B"
    } else {
        "A"
    };
    let flipped = format!(
        "{}{other}{}",
        &signature[..middle],
        &signature[middle + 1..]
    );
    refused_token(
        &api,
        "the signature",
        &format!("{head}.{flipped}"),
        "BadSignature",
    )
    .await?;
    assert_eq!(api.assignments(&identity).await?.status, 200, "the twin");
    Ok(())
}

/// What was changed in the header and claims of an identity token before it was signed, and the code.
type Forged = (&'static str, fn(Manifest) -> Manifest, &'static str);

#[rustfmt::skip]
const FORGED: &[Forged] = &[
    ("expired", |token| token.with("/claims/exp", json!(now().as_second() - 600)), "ExpiredBearer"),
    ("of the future", |token| token.with("/claims/nbf", json!(now().as_second() + 600)), "ExpiredBearer"),
    ("bound to nothing", |token| token.without("/claims/kubernetes.io/pod"), "WrongAudience"),
    ("of another audience", |token| token.with("/claims/aud", json!(["hallpass.dev/other"])), "WrongAudience"),
    ("of no audience", |token| token.without("/claims/aud"), "WrongAudience"),
    ("of another issuer", |token| token.with("/claims/iss", json!("https://other.example")), "UnknownKey"),
    ("of an unknown key", |token| token.with("/header/kid", json!("unknown")), "UnknownKey"),
    ("not signed at all", |token| token.with("/header/alg", json!("none")), "MalformedBearer"),
    ("with a symmetric key", |token| token.with("/header/alg", json!("HS256")), "MalformedBearer"),
    ("with a critical extension", |token| token.with("/header/crit", json!(["b64"])), "MalformedBearer"),
    ("that never ends", |token| token.without("/claims/exp"), "MalformedBearer"),
    ("of another service account", |token| {
        token.with("/claims/kubernetes.io/serviceaccount/name", json!("other"))
    }, "MalformedBearer"),
];

#[tokio::test]
async fn a_token_that_the_key_of_the_cluster_signed_is_not_enough() -> Result<()> {
    let Some(forge) = Forge::find("identity tokens that are expired, or bound to nothing") else {
        return Ok(());
    };
    let Caller {
        cluster: _cluster,
        api,
        identity,
        ..
    } = Caller::new("forged").await?;
    let parts: Value = json!({"header": header(&identity)?, "claims": claims(&identity)?});
    assert_eq!(parts["claims"]["aud"], json!([IDENTITY_AUDIENCE]));
    let sign = async |parts: &Manifest| {
        forge
            .sign(&parts.json()["header"], &parts.json()["claims"])
            .await
    };
    let real = Manifest::from(parts);
    let again = sign(&real).await?;
    assert_eq!(
        api.assignments(&again).await?.status,
        200,
        "the twin: the same, signed again"
    );
    for (what, change, code) in FORGED {
        let token = sign(&change(real.clone())).await?;
        refused_token(&api, what, &token, code).await?;
    }
    Ok(())
}
