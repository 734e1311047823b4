//! The client of the API server: that of kube, but for how much of an answer is read at once.

use std::time::Duration;

use hyper_timeout::TimeoutConnector;
use hyper_util::{
    client::legacy::{Builder, connect::HttpConnector},
    rt::TokioExecutor,
};
use kube::{
    Client, Config,
    client::{Body, ConfigExt, retry::RetryPolicy},
};
use tower::{BoxError, ServiceBuilder, retry::RetryLayer};

/// A client for the API server of `config`.
///
/// # Guarantees
/// It connects, with TLS, within [`CONNECT`]. Nothing else has a limit here: a watch must be able to wait, and every
/// call has one of its own. What the API server has no time for is tried again, when it says so. Through a proxy it is
/// kube's own client.
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
        .layer(RetryLayer::new(RetryPolicy::server_retry()))
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(connections.build::<_, Body>(connector));
    Ok(Client::new(service, config.default_namespace))
}

/// The longest time a connection may take, with its TLS handshake.
const CONNECT: Duration = Duration::from_secs(5);

/// Bytes of an answer that a connection reads at once. One that read a long list keeps room for as many as long as
/// it lives, and there is one for each watch: of itself it would take 400 KiB.
const READ_AT_ONCE: usize = 64 * 1024;
