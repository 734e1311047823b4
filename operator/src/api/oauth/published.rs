//! What an issuer shows to everybody: its keys and its metadata.

use axum::response::Response;
use hallpass_core::{denial::Code, issuer::Issuer};
use http::{HeaderMap, HeaderValue};
use serde::Serialize;
use tokio::time::Instant;

use super::{Reach, wish::EXCHANGE};
use crate::{
    api::{Api, document::Document, problem::Refused, routes::encode},
    issue::refusal::Refusal,
};

/// `GET …/jwks`: the keys of the issuer, those that are not used yet or no more among them.
pub(super) fn jwks(api: &Api, issuer: &Issuer, headers: &HeaderMap) -> Result<Response, Refused> {
    let ring = api.keys.ring(&issuer.url.id());
    // An empty set would be kept by its readers, who would then believe no token.
    let ring = ring.ok_or_else(|| not_ready(issuer))?;
    let document = Document {
        kind: "application/jwk-set+json",
        keep: if api.keys.are_behind(Instant::now()) {
            ASK_AGAIN
        } else {
            KEEP
        },
        tag: ring.jwks().etag.to_string(),
        body: ring.jwks().body.clone(),
    };
    Ok(document.answer(headers))
}

/// `GET …/.well-known/…`: the metadata, the same at both of its places.
pub(super) fn metadata(
    issuer: &Issuer,
    reach: Reach,
    headers: &HeaderMap,
) -> Result<Response, Refused> {
    let body = encode(&Metadata::of(issuer, reach))?;
    Ok(Document::json(body, KEEP).answer(headers))
}

/// The refusal while this replica knows no key of the issuer.
pub(super) fn not_ready(issuer: &Issuer) -> Refusal {
    let detail = format!(
        "the issuer \"{}\" has no key that this replica knows of yet",
        issuer.name
    );
    Refusal::new(Code::IssuerNotReady, detail)
}

/// The members of RFC 8414 §2, and those that OpenID Connect Discovery 1.0 §3 wants beside them, so that
/// a library for it finds the keys. There are no `scopes_supported`: scopes belong to audiences.
#[derive(Serialize)]
struct Metadata<'a> {
    issuer: &'a str,
    token_endpoint: String,
    jwks_uri: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    introspection_endpoint: Option<String>,
    /// Named as an access token type, since the caller shows its identity token as one.
    #[serde(skip_serializing_if = "Option::is_none")]
    introspection_endpoint_auth_methods_supported: Option<[&'static str; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revocation_endpoint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revocation_endpoint_auth_methods_supported: Option<[&'static str; 1]>,
    /// Required beside `private_key_jwt`, as below.
    #[serde(skip_serializing_if = "Option::is_none")]
    revocation_endpoint_auth_signing_alg_values_supported: Option<[&'static str; 3]>,
    grant_types_supported: [&'static str; 2],
    /// Of the registered values `private_key_jwt` is the one whose parameters are those that are sent: a
    /// `client_assertion` under an asymmetric key. That the key is the cluster's and not the client's own
    /// changes nothing about how to send it. `none` is for the exchange, where the subject token says who
    /// asks. Left out, this would mean `client_secret_basic`.
    token_endpoint_auth_methods_supported: [&'static str; 2],
    /// Required beside `private_key_jwt`: what an API server signs identity tokens with.
    token_endpoint_auth_signing_alg_values_supported: [&'static str; 3],
    /// Required, and there are readers that take an empty list for a missing one. `none` is the
    /// registered word for an answer without a credential; there is no authorization endpoint to give it.
    response_types_supported: [&'static str; 1],
    subject_types_supported: [&'static str; 1],
    id_token_signing_alg_values_supported: [&'static str; 1],
}

impl<'a> Metadata<'a> {
    fn of(issuer: &'a Issuer, reach: Reach) -> Self {
        let url = issuer.url.as_str();
        let inside = matches!(reach, Reach::Inside);
        Self {
            issuer: url,
            token_endpoint: format!("{url}/oauth2/token"),
            jwks_uri: format!("{url}/jwks"),
            introspection_endpoint: inside.then(|| format!("{url}/oauth2/introspect")),
            introspection_endpoint_auth_methods_supported: inside.then_some(["Bearer"]),
            revocation_endpoint: inside.then(|| format!("{url}/oauth2/revoke")),
            revocation_endpoint_auth_methods_supported: inside.then_some(["private_key_jwt"]),
            revocation_endpoint_auth_signing_alg_values_supported: inside.then_some(SIGNING),
            grant_types_supported: ["client_credentials", EXCHANGE],
            token_endpoint_auth_methods_supported: ["private_key_jwt", "none"],
            token_endpoint_auth_signing_alg_values_supported: SIGNING,
            response_types_supported: ["none"],
            subject_types_supported: ["public"],
            id_token_signing_alg_values_supported: [issuer.algorithm.as_str()],
        }
    }
}

/// What an API server signs identity tokens with.
const SIGNING: [&str; 3] = ["RS256", "ES256", "ES384"];

/// How long both may be kept. A rotation of the keys waits for that long before a new one signs.
const KEEP: HeaderValue = HeaderValue::from_static("public, max-age=300");

/// A replica that is behind does its best, and nobody keeps that.
const ASK_AGAIN: HeaderValue = HeaderValue::from_static("no-cache");
