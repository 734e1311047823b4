//! Trust in our own CA, for a replica that asks another one.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore, client::Resumption, crypto::aws_lc_rs, version::TLS13};
use rustls_pki_types::{
    CertificateDer,
    pem::{self, PemObject},
};

/// Why the CA cannot be trusted.
#[derive(Debug, thiserror::Error)]
pub(super) enum TrustError {
    #[error("parse the CA")]
    Parse(#[source] pem::Error),
    #[error("use the CA")]
    Use(#[source] rustls::Error),
}

/// TLS for one question to whoever serves under that CA, in PEM.
pub(super) fn client_config(ca: &str) -> Result<ClientConfig, TrustError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca.as_bytes()) {
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
