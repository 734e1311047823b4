//! Looking into a token, as its reader would: the claims, never the signature.

use anyhow::{Context as _, Result};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::Value;

/// The claims of a JWT. Nothing is verified.
///
/// # Errors
/// It is none.
pub fn claims(token: &str) -> Result<Value> {
    let part = token.split('.').nth(1).context("a token has three parts")?;
    let json = BASE64_URL_SAFE_NO_PAD
        .decode(part)
        .context("the claims are base64url")?;
    serde_json::from_slice(&json).context("the claims are JSON")
}
