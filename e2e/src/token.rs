//! Looking into a token, as its reader would: the header and the claims, never the signature.

use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};

/// The claims of a JWT. Nothing is verified.
///
/// # Errors
/// It is none.
pub fn claims(token: &str) -> Result<Value> {
    part(token, 1).context("the claims")
}

/// The `kid` that an access token (RFC 9068) names. Nothing is verified.
///
/// # Errors
/// It is none.
pub fn kid(token: &str) -> Result<String> {
    let header = part(token, 0).context("the header")?;
    ensure!(header["typ"] == "at+jwt", "{header}");
    Ok(header["kid"].as_str().context("a kid")?.to_owned())
}

/// The token under another header, which names that `kid`: its signature fits no more.
///
/// # Errors
/// It is none.
pub fn renamed(token: &str, kid: &str) -> Result<String> {
    let mut header = part(token, 0).context("the header")?;
    header["kid"] = json!(kid);
    let (_, rest) = token.split_once('.').context("a token has parts")?;
    let header = BASE64_URL_SAFE_NO_PAD.encode(header.to_string());
    Ok(format!("{header}.{rest}"))
}

fn part(token: &str, index: usize) -> Result<Value> {
    let part = token
        .split('.')
        .nth(index)
        .context("a token has three parts")?;
    let json = BASE64_URL_SAFE_NO_PAD.decode(part).context("base64url")?;
    serde_json::from_slice(&json).context("JSON")
}
