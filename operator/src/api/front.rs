//! Where the requests of a listener go.

use std::{
    convert::Infallible,
    net::{IpAddr, Ipv6Addr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    Router,
    body::HttpBody,
    extract::Request,
    response::{IntoResponse, Response},
};
use http::{Method, header::CONTENT_LENGTH};
use tower::{Service, ServiceExt};

use super::{
    Api,
    oauth::{self, Reach},
    observe::{Arrival, observe},
    problem,
    server::Answers,
};
use crate::telemetry::label::Route;

/// Answers the requests of one listener: those that are for an issuer, whose URLs come and go, by itself, and
/// the others through a router. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Front {
    shared: Arc<Shared>,
    /// Whoever is asked for before it is told is of the unspecified address, with all others of that.
    from: IpAddr,
}

#[derive(Debug)]
struct Shared {
    api: Arc<Api>,
    reach: Reach,
    routes: Router,
}

impl Front {
    pub(super) fn new(reach: Reach, routes: Router, api: Arc<Api>) -> Self {
        let routes = routes.fallback(async || problem::no_such_path());
        Self {
            shared: Arc::new(Shared { api, reach, routes }),
            from: IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        }
    }

    /// Hands a request to whoever answers it.
    async fn handle(&self, route: Route, mut request: Request, arrival: Arrival) -> Response {
        let Shared { api, reach, routes } = &*self.shared;
        match route {
            Route::Token | Route::Introspect | Route::Revoke | Route::Jwks | Route::Metadata => {
                let is_head = request.method() == Method::HEAD;
                let answer = oauth::answer(api, *reach, (route, &arrival), request).await;
                let answer = answer.into_response();
                if is_head { head(answer) } else { answer }
            }
            Route::Assignments
            | Route::Tokens
            | Route::Replica
            | Route::Trust
            | Route::Inject
            | Route::Other => {
                request.extensions_mut().insert(arrival);
                let Ok(response) = routes.clone().oneshot(request).await;
                response
            }
        }
    }
}

/// The answer to `HEAD`: as to `GET`, without the body (RFC 9110 §9.3.2).
fn head(mut answer: Response) -> Response {
    let body = std::mem::take(answer.body_mut());
    if let Some(length) = body.size_hint().exact() {
        let headers = answer.headers_mut();
        headers.entry(CONTENT_LENGTH).or_insert(length.into());
    }
    answer
}

impl Service<Request> for Front {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let front = self.clone();
        Box::pin(async move {
            let handle = |route, request, arrival| front.handle(route, request, arrival);
            Ok(observe(&front.shared.api, request, front.from, handle).await)
        })
    }
}

impl Answers for Front {
    fn asked_from(self, address: IpAddr) -> Self {
        Self {
            from: address,
            ..self
        }
    }
}
