//! The keys that a replica publishes, and what they say of a token: as a verifier does that keeps nothing.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use jsonwebtoken::{DecodingKey, Validation, decode, decode_header, jwk::JwkSet};
use serde_json::Value;

use crate::{api::OperatorApi, token};

/// The keys of an issuer at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct KeySet(JwkSet);

impl KeySet {
    /// Those that this replica publishes of the issuer at that path below the installation's.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn of(api: &OperatorApi, path: &str) -> Result<Self> {
        let answer = api.ask(&[], &format!("{path}/jwks")).await?;
        ensure!(answer.status == 200, "{answer:?}");
        Ok(Self(serde_json::from_value(answer.json()?)?))
    }

    /// The names of the keys.
    #[must_use]
    pub fn names(&self) -> BTreeSet<String> {
        let names = self.0.keys.iter().map(|key| key.common.key_id.clone());
        names.flatten().collect()
    }

    /// The name of the key that signed the token, which is of that issuer, for that audience, and valid now.
    ///
    /// # Errors
    /// It is not, or no key of these signed it.
    pub fn signer(&self, token: &str, issuer: &str, audience: &str) -> Result<String> {
        let kid = token::kid(token)?;
        let key = self.0.find(&kid);
        let key = key.with_context(|| format!("{kid} is not in {:?}", self.names()))?;
        let mut rules = Validation::new(decode_header(token)?.alg);
        rules.set_issuer(&[issuer]);
        rules.set_audience(&[audience]);
        rules.leeway = 0;
        let key = DecodingKey::from_jwk(key)?;
        decode::<Value>(token, &key, &rules).with_context(|| format!("by {kid}"))?;
        Ok(kid)
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Result;
    use serde_json::json;

    use super::*;
    use crate::{faults::faulty, mint::Mint, wait::now};

    #[tokio::test]
    async fn a_good_token_has_a_signer_and_one_with_a_fault_has_none() -> Result<()> {
        let mint = Mint::open().await?;
        let keys = KeySet(serde_json::from_value(json!({"keys": [mint.key.jwk()]}))?);
        let claims = mint.claims("https://payments.example", now());
        let good = mint.key.sign(&mint.key.header(), &claims)?;
        let signer = |token: &str| keys.signer(token, &mint.url, "https://payments.example");
        assert_eq!(signer(&good)?, mint.key.kid);
        let forged = [
            "the key of somebody else",
            "a key that is not published",
            "a zero signature",
            "other claims",
            "another audience",
            "another issuer",
            "expired for 10 s",
        ];
        let faulty = faulty(&mint, &claims)?;
        for fault in forged {
            let (_, token) = faulty
                .iter()
                .find(|(name, _)| *name == fault)
                .context(fault)?;
            assert!(signer(token).is_err(), "{fault}");
        }
        Ok(())
    }
}
