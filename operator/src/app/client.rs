//! The client of the API server: that of kube, but for how much of an answer is read at once.

use std::time::Duration;

use http::{Method, Request, Response};
use hyper_timeout::TimeoutConnector;
use hyper_util::{
    client::legacy::{Builder, connect::HttpConnector},
    rt::TokioExecutor,
};
use kube::{
    Client, Config,
    client::{Body, ConfigExt, retry::RetryPolicy},
};
use tower::{
    BoxError, ServiceBuilder,
    retry::{Policy, RetryLayer},
};

/// A client for the API server of `config`.
///
/// # Guarantees
/// It connects, with TLS, within [`CONNECT`]. Nothing else has a limit here: a watch must be able to wait, and every
/// call has one of its own. What the API server has no time for is tried again, when it says so, but for evictions. Through a
/// proxy it is kube's own client.
///
/// # Errors
/// The credentials or the authorities of `config` cannot be used.
pub(super) fn client(config: Config) -> kube::Result<Client> {
    // Which in a cluster there never is.
    if config.proxy_url.is_some() {
        return Client::try_from(config);
    }
    let mut http = HttpConnector::new();
    // The one above it is for https, too.
    http.enforce_http(false);
    let mut connector = TimeoutConnector::new(config.rustls_https_connector_with_connector(http)?);
    connector.set_connect_timeout(Some(CONNECT));
    connector.set_write_timeout(config.write_timeout);
    let mut connections = Builder::new(TokioExecutor::new());
    connections.http1_max_buf_size(READ_AT_ONCE);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .layer(RetryLayer::new(Retried(RetryPolicy::server_retry())))
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(connections.build::<_, Body>(connector));
    Ok(Client::new(service, config.default_namespace))
}

/// What is tried again as kube does, but for evictions: a budget refuses one by the same answer as an API server that
/// is asked too often, and allows none a moment later.
#[derive(Clone)]
struct Retried(RetryPolicy);

impl<A> Policy<Request<Body>, Response<A>, BoxError> for Retried {
    type Future = tokio::time::Sleep;

    fn retry(
        &mut self,
        request: &mut Request<Body>,
        result: &mut Result<Response<A>, BoxError>,
    ) -> Option<Self::Future> {
        self.0.retry(request, result)
    }

    fn clone_request(&mut self, request: &Request<Body>) -> Option<Request<Body>> {
        let evicts =
            request.method() == Method::POST && request.uri().path().ends_with("/eviction");
        let same: Option<Request<Body>> =
            Policy::<_, Response<A>, BoxError>::clone_request(&mut self.0, request);
        same.filter(|_| !evicts)
    }
}

/// The longest time a connection may take, with its TLS handshake.
const CONNECT: Duration = Duration::from_secs(5);

/// Bytes of an answer that a connection reads at once. One that read a long list keeps room for as many as long as
/// it lives, and there is one for each watch: of itself it would take 400 KiB.
const READ_AT_ONCE: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_budget_refuses_is_not_asked_for_again_at_once() {
        let mut retried = Retried(RetryPolicy::server_retry());
        let mut again = |method: Method, path: &str| {
            let request = Request::builder().method(method).uri(path);
            let request = request.body(Body::from(b"{}".to_vec())).unwrap();
            let again: Option<Request<Body>> =
                Policy::<_, Response<()>, BoxError>::clone_request(&mut retried, &request);
            again.is_some()
        };
        let evicts = "/api/v1/namespaces/shop/pods/orders-0/eviction";
        assert!(!again(Method::POST, evicts));
        let events = "/apis/events.k8s.io/v1/namespaces/shop/events";
        assert!(again(Method::POST, events));
        let named = "/api/v1/namespaces/shop/pods/eviction";
        assert!(again(Method::GET, named), "a pod of that name");
    }
}
