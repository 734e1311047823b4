//! A trust bundle that is renewed in band, for pods that have none in a file.

use http::{HeaderMap, HeaderName, Method, StatusCode};
use tracing::{info, warn};

use super::{HEDGE, Upstream, UpstreamError};
use crate::{digest::sha256, telemetry::chain, trust::BundleError};

/// Why the bundle was not renewed.
#[derive(Debug, thiserror::Error)]
enum RenewError {
    #[error("the operator gave no trust bundle")]
    Ask(#[source] UpstreamError),
    #[error("the new trust bundle is larger than {LIMIT} bytes")]
    TooLarge,
    #[error("the new trust bundle is another one than the operator announced")]
    Another,
    #[error("the new trust bundle cannot be used")]
    Use(#[source] BundleError),
}

impl Upstream {
    /// Looks whether the operator announces another bundle than the one in use, and gets it over the
    /// connection that the one in use vouches for. Tells whether there is a new one.
    pub(super) async fn renew_trust(&mut self, headers: &HeaderMap) -> bool {
        let Some(announced) = headers.get(TRUST).and_then(|value| value.to_str().ok()) else {
            return false;
        };
        let in_use = match self.trust.bundle() {
            Ok(bundle) if bundle.in_band => sha256(&bundle.pem),
            // The kubelet keeps the file up to date.
            Ok(_) | Err(_) => return false,
        };
        if announced == in_use {
            return false;
        }
        let renewed = self.renew(announced).await;
        match &renewed {
            Ok(()) => info!(trust.digest = announced, "trust bundle renewed"),
            Err(error) => warn!(error = chain(error), "trust bundle not renewed"),
        }
        renewed.is_ok()
    }

    async fn renew(&mut self, announced: &str) -> Result<(), RenewError> {
        let asked = self.ask(Method::GET, "/v1/trust", None, &[], HEDGE).await;
        let answer = asked.map_err(RenewError::Ask)?;
        if answer.status != StatusCode::OK {
            return Err(RenewError::Ask(answer.refusal()));
        }
        let pem = answer.body.expose();
        if pem.len() > LIMIT {
            return Err(RenewError::TooLarge);
        }
        if sha256(pem) != announced {
            return Err(RenewError::Another);
        }
        self.trust.renew(pem.clone()).map_err(RenewError::Use)
    }
}

/// The digest of the bundle that the operator would have used.
const TRUST: HeaderName = HeaderName::from_static("hallpass-trust");
const LIMIT: usize = 64 * 1024;
