//! The operator's API over HTTPS: what a pod is to hold, its tokens, and what every issuer has. The only
//! place where a reason becomes a status code.
//!
//! [`router`] and [`public_router`] answer requests, [`serve`] brings them in. Nothing but what issuers
//! publish is given to anybody but an [`Authenticated`](crate::attest::Authenticated) subject.

use std::sync::{Arc, Mutex};

use axum::{
    Router, middleware,
    routing::{get, post},
};
use hallpass_core::token::cache::VerifiedCache;
use jiff::Timestamp;

use crate::{
    attest::Attestor, index::Index, issue::Issuance, keys::Keys, revoke::Revoker,
    telemetry::Metrics,
};

mod bearer;
mod body;
mod document;
mod oauth;
mod observe;
mod problem;
mod routes;
mod server;

pub use self::server::{ConnectionLimits, serve, serve_within};

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
    /// Counts the requests.
    pub metrics: Metrics,
    /// Reads the clock, once for each request.
    pub clock: fn() -> Timestamp,
}

/// The routes within the cluster: those of the sidecars, and all that issuers have below their URLs.
///
/// # Guarantees
/// Every refusal is a problem document (RFC 9457), or at a token endpoint one of RFC 6749 §5.2, with a
/// code of [`Code`](hallpass_core::denial::Code) and a request id. A panic in a handler is answered with
/// 500 and counted; a request has 20 s. A body is read up to 16 KiB, for 5 s, and that of somebody who is
/// not authenticated only at a token endpoint, whose credentials are in it.
pub fn router(api: impl Into<Arc<Api>>) -> Router {
    let api = api.into();
    finish(api.clone(), routes(api))
}

/// The routes for the world beyond the cluster: token endpoints, keys and metadata of the issuers. It is
/// as [`router`] in all else.
pub fn public_router(api: impl Into<Arc<Api>>) -> Router {
    let api = api.into();
    let routes = Router::new().fallback(oauth::outside);
    finish(api.clone(), routes.with_state(api))
}

/// How many verified tokens are remembered, and as many more.
pub const REMEMBERED: usize = 2048;

fn routes(api: Arc<Api>) -> Router {
    Router::new()
        .route(
            "/v1/assignments",
            get(routes::assignments).fallback(problem::wrong_method),
        )
        .route(
            "/v1/tokens",
            post(routes::tokens).fallback(problem::wrong_method),
        )
        .route(
            "/v1/replica",
            get(routes::replica).fallback(problem::wrong_method),
        )
        .fallback(oauth::inside)
        .with_state(api)
}

fn finish(api: Arc<Api>, routes: Router) -> Router {
    routes.layer(middleware::from_fn_with_state(api, observe::observe))
}

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;
