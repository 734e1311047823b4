//! Tokens that no API server would make, signed with its own key: only time and whim tell them from
//! the real ones.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::Value;

use crate::{command::run, state};

/// Signs as the API server of a cluster of our own does.
#[derive(Debug)]
pub struct Forge {
    key: PathBuf,
}

impl Forge {
    /// Finds the key. `None`, with a remark that `what` was skipped, where it is out of reach.
    #[must_use]
    pub fn find(what: &str) -> Option<Self> {
        let key = state::folder(what)?.join("pki/service-accounts.key");
        Some(Self { key })
    }

    /// A token that says that.
    ///
    /// # Errors
    /// openssl could not sign.
    pub async fn sign(&self, header: &Value, claims: &Value) -> Result<String> {
        let encode = |part: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(part);
        let signed = format!(
            "{}.{}",
            encode(header.to_string().as_bytes()),
            encode(claims.to_string().as_bytes())
        );
        let key = self.key.to_str().context("a path in UTF-8")?;
        let args = ["dgst", "-sha256", "-sign", key, "-hex"];
        let said = run("openssl", &args, Some(&signed)).await?.success()?;
        let hex = said.rsplit(' ').next().unwrap_or_default().trim();
        let byte = |pair: &[u8]| -> Result<u8> {
            let pair = std::str::from_utf8(pair)?;
            u8::from_str_radix(pair, 16).context("openssl prints hexadecimal")
        };
        let signature: Vec<u8> = hex.as_bytes().chunks(2).map(byte).collect::<Result<_>>()?;
        Ok(format!("{signed}.{}", encode(&signature)))
    }
}

/// The header of a JWT. Nothing is verified.
///
/// # Errors
/// It is none.
pub fn header(token: &str) -> Result<Value> {
    let part = token.split('.').next().context("a token has a header")?;
    let json = BASE64_URL_SAFE_NO_PAD.decode(part).context("base64url")?;
    serde_json::from_slice(&json).context("a header is JSON")
}
