//! Whom to trust: the CAs under which the replicas serve.

use std::sync::Arc;

use arc_swap::ArcSwapOption;

use rustls::{ClientConfig, RootCertStore, client::Resumption, crypto::aws_lc_rs, version::TLS13};
use rustls_pki_types::{
    CertificateDer,
    pem::{self, PemObject},
};
use sha2::{Digest, Sha256};

use crate::issuer::hex;

/// The CAs to trust as they are known at the time, for all who hand them on. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Anchors(Arc<ArcSwapOption<Bundle>>);

/// Them at one time.
#[derive(Debug)]
pub struct Bundle {
    /// All of them in PEM.
    pub pem: Arc<str>,
    /// The SHA-256 of that text, in lower-case hexadecimal digits.
    pub digest: String,
}

impl Anchors {
    /// All of them in PEM; none before the first look.
    #[must_use]
    pub fn pem(&self) -> Option<Arc<str>> {
        self.0.load().as_ref().map(|bundle| Arc::clone(&bundle.pem))
    }

    /// The same with what tells one text from another.
    #[must_use]
    pub fn bundle(&self) -> Option<Arc<Bundle>> {
        self.0.load_full()
    }

    /// From now on these. Whether they are others than before.
    pub(crate) fn set(&self, pem: String) -> bool {
        if self.pem().as_deref() == Some(&*pem) {
            return false;
        }
        let digest = hex(&Sha256::digest(&pem));
        let pem = pem.into();
        self.0.store(Some(Arc::new(Bundle { pem, digest })));
        true
    }
}

/// Why the CAs cannot be trusted.
#[derive(Debug, thiserror::Error)]
pub(super) enum TrustError {
    #[error("parse the CA")]
    Parse(#[source] pem::Error),
    #[error("use the CA")]
    Use(#[source] rustls::Error),
}

/// TLS for one question to whoever serves under one of those CAs, in PEM.
pub(super) fn client_config(bundle: &str) -> Result<ClientConfig, TrustError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
        let certificate = certificate.map_err(TrustError::Parse)?;
        roots.add(certificate).map_err(TrustError::Use)?;
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(TrustError::Use)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(config)
}
