//! Checks the chart's list of the API server's audiences against the operator's own token: an
//! audience that is missing there could be asked for by a policy, and such a token would be one for
//! the API server.

use std::{io, path::Path};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hallpass_core::{name::Audience, secret::Secret};
use serde::Deserialize;

/// Why the list cannot be relied on.
#[derive(Debug, thiserror::Error)]
pub(super) enum AudienceError {
    #[error("read the operator's own service-account token")]
    ReadToken(#[source] io::Error),
    #[error("the operator's own service-account token has no claims")]
    NoClaims,
    #[error("decode the claims of the operator's own service-account token")]
    DecodeClaims(#[source] base64::DecodeError),
    #[error("read the audiences of the operator's own service-account token")]
    ReadClaims(#[source] serde_json::Error),
    #[error("the operator's own service-account token names no audience")]
    NoAudience,
    #[error(
        "the API server takes the audience {0:?} for its own; add it to the chart's value kubernetes.apiServerAudiences"
    )]
    Missing(String),
}

/// Reads the token at `path` and finds each of its audiences among `known`.
pub(super) async fn check_file(path: &Path, known: &[Audience]) -> Result<(), AudienceError> {
    let token = tokio::fs::read_to_string(path)
        .await
        .map(Secret::new)
        .map_err(AudienceError::ReadToken)?;
    check(&token, known)
}

/// The token is read, not verified: the kubelet put it there.
fn check(token: &Secret<String>, known: &[Audience]) -> Result<(), AudienceError> {
    let claims = token
        .expose()
        .trim()
        .split('.')
        .nth(1)
        .ok_or(AudienceError::NoClaims)?;
    let claims = URL_SAFE_NO_PAD
        .decode(claims)
        .map(Secret::new)
        .map_err(AudienceError::DecodeClaims)?;
    let Claims { aud } =
        serde_json::from_slice(claims.expose()).map_err(AudienceError::ReadClaims)?;
    if aud.is_empty() {
        return Err(AudienceError::NoAudience);
    }
    match aud
        .into_iter()
        .find(|own| known.iter().all(|k| k.as_str() != own))
    {
        Some(missing) => Err(AudienceError::Missing(missing)),
        None => Ok(()),
    }
}

#[derive(Deserialize)]
struct Claims {
    /// Kubernetes always writes a list.
    aud: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &str) -> Secret<String> {
        Secret::new(format!("e30.{}.c2ln\n", URL_SAFE_NO_PAD.encode(claims)))
    }

    fn known() -> Vec<Audience> {
        ["https://kubernetes.default.svc", "k3s"]
            .map(|a| Audience::parse(a).unwrap())
            .into()
    }

    #[test]
    fn every_audience_of_the_own_token_must_be_known() {
        for (aud, missing) in [
            (r#"["https://kubernetes.default.svc"]"#, None),
            (r#"["k3s","https://kubernetes.default.svc"]"#, None),
            (r#"["https://kubernetes.default.svc","eks"]"#, Some("eks")),
            (
                r#"["https://kubernetes.default.svc/"]"#,
                Some("https://kubernetes.default.svc/"),
            ),
        ] {
            let found = match check(&token(&format!(r#"{{"iss":"i","aud":{aud}}}"#)), &known()) {
                Ok(()) => None,
                Err(AudienceError::Missing(audience)) => Some(audience),
                Err(other) => panic!("{aud}: {other:?}"),
            };
            assert_eq!(found.as_deref(), missing, "{aud}");
        }
    }

    #[test]
    fn the_error_says_what_to_change() {
        let error = check(&token(r#"{"aud":["eks"]}"#), &known())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(r#""eks""#) && error.contains("kubernetes.apiServerAudiences"),
            "{error}"
        );
    }

    #[test]
    fn what_is_no_token_is_not_taken_for_a_good_one() {
        let check = |text: &str| check(&Secret::new(text.into()), &known()).unwrap_err();
        assert!(matches!(check(""), AudienceError::NoClaims));
        assert!(matches!(check("a.!.c"), AudienceError::DecodeClaims(_)));
        assert!(matches!(check("a.e30.c"), AudienceError::ReadClaims(_)));
        let none = super::check(&token(r#"{"aud":[]}"#), &known()).unwrap_err();
        assert!(matches!(none, AudienceError::NoAudience));
    }

    #[tokio::test]
    async fn a_token_that_cannot_be_read_is_not_taken_for_a_good_one() {
        let folder = tempfile::tempdir().unwrap();
        let error = check_file(&folder.path().join("token"), &known())
            .await
            .unwrap_err();
        assert!(matches!(error, AudienceError::ReadToken(_)), "{error:?}");
    }
}
