//! The operator's API over HTTPS: what a pod is to hold, and its tokens. The only place where a reason
//! becomes a status code.
//!
//! [`router`] answers requests, [`serve`] brings them in. No handler runs without an
//! [`Authenticated`](crate::attest::Authenticated) subject.

use std::sync::Arc;

use axum::{
    Router, middleware,
    routing::{get, post},
};
use jiff::Timestamp;

use crate::{attest::Attestor, index::Index, issue::Issuance, telemetry::Metrics};

mod bearer;
mod body;
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
    /// Counts the requests.
    pub metrics: Metrics,
    /// Reads the clock, once for each request.
    pub clock: fn() -> Timestamp,
}

/// The routes.
///
/// # Guarantees
/// Every refusal is a problem document (RFC 9457) with a code of
/// [`Code`](hallpass_core::denial::Code) and a request id. A panic in a handler is answered with 500
/// and counted; a request has 20 s. Only an authenticated caller's body is read, up to 16 KiB.
pub fn router(api: Api) -> Router {
    let api = Arc::new(api);
    finish(api.clone(), routes(api))
}

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
        .fallback(problem::no_such_path)
        .with_state(api)
}

fn finish(api: Arc<Api>, routes: Router) -> Router {
    routes.layer(middleware::from_fn_with_state(api, observe::observe))
}

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;
