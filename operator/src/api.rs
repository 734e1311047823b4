//! The operator's API over HTTPS: what a pod is to hold, its tokens, and what every issuer has. The only
//! place where a reason becomes a status code.
//!
//! [`inside`] and [`outside`] answer requests, [`serve`] brings them in. Nothing but what issuers publish and
//! whom to trust is given to anybody but an [`Authenticated`](crate::attest::Authenticated) subject.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    routing::{get, post},
};
use hallpass_core::token::cache::VerifiedCache;
use jiff::Timestamp;

use crate::{
    attest::Attestor, index::Index, issue::Issuance, keys::Keys, revoke::Revoker,
    telemetry::Metrics, tls::Anchors,
};

mod bearer;
mod body;
mod document;
mod front;
mod inject;
mod oauth;
mod observe;
mod problem;
mod routes;
mod server;
mod trust;

pub use self::{
    front::Front,
    inject::Webhook,
    server::{Answers, ConnectionLimits, serve, serve_within},
};
use self::{oauth::Reach, problem::Refused};

/// What the handlers work with.
#[derive(Debug)]
pub struct Api {
    /// Says who asks.
    pub attestor: Arc<Attestor>,
    /// What is known of the cluster.
    pub index: Index,
    /// Makes the tokens.
    pub issuance: Issuance,
    /// The keys of the issuers.
    pub keys: Keys,
    /// What was verified a moment ago.
    pub verified: Mutex<VerifiedCache>,
    /// Writes down what pods revoke.
    pub revoker: Revoker,
    /// The CAs under which the replicas serve.
    pub anchors: Anchors,
    /// Adds the sidecar to pods, where that is not done within the API server.
    pub webhook: Option<Webhook>,
    /// Counts the requests.
    pub metrics: Metrics,
    /// Reads the clock, once for each request.
    pub clock: fn() -> Timestamp,
}

/// What is within the cluster: what the sidecars ask for, and all that issuers have below their URLs.
///
/// # Guarantees
/// Every refusal is a problem document (RFC 9457), or at a token endpoint one of RFC 6749 §5.2, with a
/// code of [`Code`](hallpass_core::denial::Code) and a request id. A panic in a handler is answered with
/// 500 and counted; a request has 13 s. A body is read up to 16 KiB, for 5 s, and that of somebody who is
/// not authenticated only at a token endpoint, whose credentials are in it, and at the webhook of injection.
/// That one answers reviews of up to 8 MiB, which have 3 s to arrive, to whoever asks.
pub fn inside(api: Arc<Api>) -> Front {
    Front::new(Reach::Inside, routes(Arc::clone(&api)), api)
}

/// What is there for the world beyond the cluster: token endpoints, keys and metadata of the issuers. It is
/// as [`inside`] in all else.
pub fn outside(api: Arc<Api>) -> Front {
    Front::new(Reach::Outside, Router::new(), api)
}

/// How many verified tokens are remembered, and as many more.
pub const REMEMBERED: usize = 2048;

fn routes(api: Arc<Api>) -> Router {
    Router::new()
        .route(
            "/v1/assignments",
            get(routes::assignments).fallback(async || Refused::method("GET,HEAD")),
        )
        .route(
            "/v1/tokens",
            post(routes::tokens).fallback(async || Refused::method("POST")),
        )
        .route(
            "/v1/replica",
            get(routes::replica).fallback(async || Refused::method("GET,HEAD")),
        )
        .route(
            "/v1/trust",
            get(trust::trust).fallback(async || Refused::method("GET,HEAD")),
        )
        .route(
            "/inject/pod",
            post(inject::pod).fallback(async || Refused::method("POST")),
        )
        .route(
            "/inject/namespace",
            post(inject::namespace).fallback(async || Refused::method("POST")),
        )
        .route(
            "/inject/policy",
            post(inject::policy).fallback(async || Refused::method("POST")),
        )
        .with_state(api)
}

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;
