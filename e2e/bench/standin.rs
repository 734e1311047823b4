//! A stand-in for the API server: as much of it as the operator asks, over objects in memory. It is there so that
//! the operator can be shown more objects than a real one would take in within minutes, and so that every write
//! can be counted. It checks nothing and keeps nobody out.

use std::{net::Ipv4Addr, sync::Arc};

use anyhow::Result;
use hallpass_e2e::mint::Key;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

use self::store::Store;

mod document;
mod object;
mod serve;
pub(crate) mod store;

/// The `iss` of the tokens that it would make.
pub(crate) const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// One that serves on loopback until this is dropped.
#[derive(Debug)]
pub(crate) struct StandIn {
    pub(crate) store: Arc<Store>,
    /// Its port: HTTP without TLS.
    pub(crate) port: u16,
    /// What it would sign the tokens of service accounts with.
    pub(crate) key: Key,
    server: JoinHandle<()>,
}

impl StandIn {
    /// Opens without any object.
    ///
    /// # Errors
    /// There is no port, or no key.
    pub(crate) async fn open() -> Result<Self> {
        let (store, key) = (Arc::new(Store::default()), Key::generate()?);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let router = serve::router(Arc::clone(&store), key.jwk());
        let server = tokio::spawn(async move {
            // it ends with the task alone
            drop(axum::serve(listener, router).await);
        });
        Ok(Self {
            store,
            port,
            key,
            server,
        })
    }

    /// How a client finds it, as a file says it.
    pub(crate) fn kubeconfig(&self) -> Value {
        let server = format!("http://127.0.0.1:{}", self.port);
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "bench",
            "clusters": [{"name": "bench", "cluster": {"server": server}}],
            "users": [{"name": "bench", "user": {}}],
            "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench"}}],
        })
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.server.abort();
    }
}
