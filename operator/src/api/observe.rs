//! What happens around every request: its id, its time limit, its panic, its metric, its line.

use std::{net::IpAddr, panic::AssertUnwindSafe};

use axum::{
    extract::Request,
    response::{IntoResponse, Response},
};
use futures::FutureExt;
use hallpass_core::{denial::Code, wire::ANSWER_WITHIN};
use http::{Extensions, HeaderName, HeaderValue, header::AUTHORIZATION};
use jiff::Timestamp;
use tokio::time::{Instant, timeout};
use tracing::{debug, error};

use super::{Api, oauth, problem::Refused};
use crate::{audit::RequestId, clock, issue::refusal::Refusal, telemetry::label::Route};

/// A request's id, when it was read, and where it came from.
#[derive(Debug, Clone)]
pub(super) struct Arrival {
    pub(super) id: RequestId,
    pub(super) at: Timestamp,
    pub(super) since: Instant,
    pub(super) from: IpAddr,
}

impl Arrival {
    /// The time of this step, counted from when the request was read.
    pub(super) fn now(&self) -> Timestamp {
        clock::after(self.at, self.since.elapsed())
    }

    /// The arrival of the request with those extensions.
    pub(super) fn of(extensions: &Extensions) -> Result<&Self, Refusal> {
        extensions
            .get()
            .ok_or_else(|| Refusal::new(Code::Internal, "the request was not received properly"))
    }
}

/// Runs the request and looks at what became of it.
pub(super) async fn observe<H: Future<Output = Response>>(
    api: &Api,
    mut request: Request,
    from: IpAddr,
    handle: impl FnOnce(Route, Request, Arrival) -> H,
) -> Response {
    let arrival = Arrival {
        id: RequestId::random(),
        at: (api.clock)(),
        since: Instant::now(),
        from,
    };
    let route = route(request.uri().path());
    for (_, value) in request
        .headers_mut()
        .iter_mut()
        .filter(|(name, _)| *name == AUTHORIZATION)
    {
        value.set_sensitive(true);
    }
    let (code, mut response) = answer(
        api,
        route,
        &arrival,
        handle(route, request, arrival.clone()),
    )
    .await;
    if let Ok(id) = HeaderValue::from_str(arrival.id.as_str()) {
        response.headers_mut().insert(X_REQUEST_ID, id);
    }
    let took = arrival.since.elapsed();
    api.metrics.request(route, code, took);
    debug!(
        request.id = arrival.id.as_str(),
        request.route = route.as_str(),
        response.status = response.status().as_u16(),
        denial.code = code.map(Code::as_str),
        request.milliseconds = took.as_millis(),
        "request answered"
    );
    response
}

async fn answer(
    api: &Api,
    route: Route,
    arrival: &Arrival,
    handling: impl Future<Output = Response>,
) -> (Option<Code>, Response) {
    // Whatever a handler shares is locked for single assignments or swapped whole: nothing is half done
    // behind a panic.
    let run = AssertUnwindSafe(handling).catch_unwind();
    let mut response = match timeout(ANSWER_WITHIN, run).await {
        Ok(Ok(response)) => response,
        Ok(Err(_panic)) => {
            // The hook has printed where it was; its message may hold anything.
            api.metrics.panicked();
            error!(request.id = arrival.id.as_str(), "a handler panicked");
            refuse(
                route,
                Code::Internal,
                "the operator's log has more under this request's id",
            )
        }
        Err(_elapsed) => refuse(
            route,
            Code::Unavailable,
            "the request took longer than 13 s",
        ),
    };
    match response.extensions_mut().remove::<Refused>() {
        None => (None, response),
        Some(refused) => (Some(refused.code()), refused.respond(&arrival.id)),
    }
}

fn refuse(route: Route, code: Code, detail: &str) -> Response {
    oauth::refused(route, Refusal::new(code, detail)).into_response()
}

fn route(path: &str) -> Route {
    match path {
        "/v1/assignments" => Route::Assignments,
        "/v1/tokens" => Route::Tokens,
        "/v1/replica" => Route::Replica,
        "/v1/trust" => Route::Trust,
        "/inject/pod" | "/inject/namespace" | "/inject/policy" => Route::Inject,
        path => oauth::route(path).unwrap_or(Route::Other),
    }
}

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
