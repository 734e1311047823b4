//! Tokens that nobody should accept: each has one fault, and is good in all else.

use anyhow::Result;
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::{
    mint::{Key, Mint, sign_with_secret, unsigned},
    wait::now,
};

/// The tokens, each with its fault, made of the claims of a good one.
///
/// # Errors
/// One could not be signed.
pub fn faulty(mint: &Mint, claims: &Value) -> Result<Vec<(&'static str, String)>> {
    let mut tokens = Vec::new();
    let now = now().as_second();
    for (fault, claim, value) in [
        ("another audience", "aud", json!("https://other.example")),
        ("another issuer", "iss", json!("https://other.example")),
        ("expired for an hour", "exp", json!(now - 3600)),
        ("expired for 10 s", "exp", json!(now - 10)),
        ("never expires", "exp", Value::Null),
        ("begins in an hour", "nbf", json!(now + 3600)),
        ("begins in 20 s", "nbf", json!(now + 20)),
        ("issued in an hour", "iat", json!(now + 3600)),
        ("without a subject", "sub", Value::Null),
    ] {
        let token = mint
            .key
            .sign(&mint.key.header(), &with(claims, claim, value))?;
        tokens.push((fault, token));
    }
    for (fault, field, value) in [
        ("the type JWT", "typ", json!("JWT")),
        ("no type", "typ", Value::Null),
        ("an unknown name in crit", "crit", json!(["x"])),
        ("an unknown key", "kid", json!("nobody")),
        ("another algorithm in the header", "alg", json!("ES384")),
    ] {
        let header = with(&mint.key.header(), field, value);
        tokens.push((fault, mint.key.sign(&header, claims)?));
    }
    tokens.extend(forged(mint, claims)?);
    Ok(tokens)
}

/// Tokens whose signature is not the issuer's.
fn forged(mint: &Mint, claims: &Value) -> Result<Vec<(&'static str, String)>> {
    let header = mint.key.header();
    let good = mint.key.sign(&header, claims)?;
    let (_, signature) = good.rsplit_once('.').unwrap_or_default();
    let impostor = mint.key.impostor()?;
    let none = unsigned(&with(&header, "alg", json!("none")), claims);
    let symmetric = with(&header, "alg", json!("HS256"));
    let pem = mint.key.public_pem();
    let promoted = unsigned(&header, &with(claims, "scope", json!("admin")));
    let own_key = with(&header, "jwk", impostor.jwk());
    let stranger = Key::generate()?;
    let zero = BASE64_URL_SAFE_NO_PAD.encode([0; 64]);
    Ok(vec![
        ("alg none", format!("{none}.")),
        ("alg none with a signature", format!("{none}.{signature}")),
        (
            "HS256 with the public key",
            sign_with_secret(&symmetric, claims, pem.as_bytes())?,
        ),
        ("the key of somebody else", impostor.sign(&header, claims)?),
        ("a key in the header", impostor.sign(&own_key, claims)?),
        (
            "a key that is not published",
            stranger.sign(&stranger.header(), claims)?,
        ),
        ("other claims", format!("{promoted}.{signature}")),
        ("no signature", format!("{}.", unsigned(&header, claims))),
        (
            "a zero signature",
            format!("{}.{zero}", unsigned(&header, claims)),
        ),
        ("cut short", good[..good.len() - 4].to_owned()),
        ("two parts", unsigned(&header, claims)),
        ("nothing", String::new()),
    ])
}

/// The same with one field changed, or without it.
#[must_use]
pub fn with(object: &Value, field: &str, value: Value) -> Value {
    let mut changed = object.clone();
    if let Some(fields) = changed.as_object_mut() {
        if value.is_null() {
            fields.remove(field);
        } else {
            fields.insert(field.to_owned(), value);
        }
        if field == "crit" {
            fields.insert("x".to_owned(), json!(true));
        }
    }
    changed
}
