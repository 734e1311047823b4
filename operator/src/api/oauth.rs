//! What every issuer has below its URL: a token endpoint, introspection, keys and metadata.
//!
//! The URLs are those of the `TokenIssuer`s, which come and go. So these are no routes of a router.

use std::sync::Arc;

use axum::{extract::Request, response::Response};

use self::door::{Endpoint, find};
use super::{
    Api,
    observe::Arrival,
    problem::{Refused, no_such_path},
};
use crate::{issue::refusal::Refusal, telemetry::label::Route};

mod door;
pub(super) mod error;
mod form;
mod introspect;
mod published;
mod revoke;
mod token;
mod wish;

/// From where the listener can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// From within the cluster.
    Inside,
    /// From everywhere. Who may introspect is a pod of this cluster, and so is who gives back a token: nobody
    /// can do that here.
    Outside,
}

/// What counts the requests of that path; [`None`] where no issuer could have it.
pub(super) fn route(path: &str) -> Option<Route> {
    Endpoint::of(path)
        .next()
        .map(|(endpoint, _)| endpoint.route())
}

/// The refusal in the words of that route, where no handler has chosen them.
pub(super) fn refused(route: Route, refusal: Refusal) -> Refused {
    match route {
        Route::Token | Route::Revoke => {
            let error = error::ErrorCode::of(refusal.code, error::ErrorCode::InvalidGrant);
            Refused::oauth(refusal, error)
        }
        _ => refusal.into(),
    }
}

/// What the issuer says that the request is for.
pub(super) async fn answer(
    api: &Arc<Api>,
    reach: Reach,
    (route, arrival): (Route, &Arrival),
    request: Request,
) -> Result<Response, Refused> {
    let (mut parts, body) = request.into_parts();
    let snapshot = api.index.snapshot();
    let snapshot = snapshot.map_err(|not_synced| refused(route, not_synced.into()))?;
    let found = find(&snapshot.rules().audiences, &parts);
    let (endpoint, issuer) = found.ok_or_else(no_such_path)?;
    let within = matches!(endpoint, Endpoint::Introspect | Endpoint::Revoke);
    if within && reach == Reach::Outside {
        return Err(no_such_path());
    }
    if !endpoint.takes(&parts.method) {
        return Err(Refused::method(endpoint.allow()));
    }
    match endpoint {
        Endpoint::Token => token::token(api, (&issuer, reach), arrival, &parts.headers, body).await,
        Endpoint::Introspect => {
            introspect::introspect(api, &issuer, arrival, &mut parts.headers, body).await
        }
        Endpoint::Revoke => {
            revoke::revoke(api, (&issuer, reach), arrival, &parts.headers, body).await
        }
        Endpoint::Jwks => published::jwks(api, &issuer, &parts.headers),
        Endpoint::Metadata => published::metadata(&issuer, reach, &parts.headers),
    }
}
