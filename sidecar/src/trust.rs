//! Whom the operator is trusted by: a file that the kubelet keeps up to date or, where the pod has none,
//! the bundle that it was injected with and what came after it, renewed over a connection that the bundle
//! in use vouches for.

use std::sync::{Mutex, MutexGuard, PoisonError};

use rustls::RootCertStore;
use rustls_pki_types::{CertificateDer, pem::PemObject};

use crate::identity::{Identity, IdentityError};

/// The bundles that there are.
#[derive(Debug)]
pub(crate) struct Trust {
    identity: Identity,
    given: Option<Vec<u8>>,
    renewed: Mutex<Renewed>,
}

#[derive(Debug, Default)]
struct Renewed {
    pem: Option<Vec<u8>>,
    /// The renewed one did not fit the last time, so that it is the given one's turn.
    doubted: bool,
}

/// A bundle in use.
#[derive(Debug)]
pub(crate) struct Bundle {
    /// The certificates in PEM.
    pub pem: Vec<u8>,
    /// Whether it is renewed by way of the operator's answers; otherwise the kubelet renews it.
    pub in_band: bool,
}

/// Why a bundle cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BundleError {
    #[error("cannot read the certificates in the trust bundle")]
    Parse(#[source] rustls_pki_types::pem::Error),
    #[error("a certificate in the trust bundle cannot be used")]
    Use(#[source] rustls::Error),
    #[error("the trust bundle holds no certificate")]
    Empty,
}

impl Trust {
    /// `given` is the bundle that the pod was injected with, where it was.
    pub(crate) fn new(identity: Identity, given: Option<Vec<u8>>) -> Self {
        Self {
            identity,
            given,
            renewed: Mutex::default(),
        }
    }

    /// The bundle in use at this moment.
    ///
    /// # Errors
    /// The file is not there or cannot be read, and no bundle was given.
    pub(crate) fn bundle(&self) -> Result<Bundle, IdentityError> {
        let given = match (self.identity.trust(), &self.given) {
            (Err(IdentityError::TrustMissing { .. }), Some(given)) => given,
            (read, _) => {
                let in_band = false;
                return read.map(|pem| Bundle { pem, in_band });
            }
        };
        let renewed = self.lock();
        let renewed = renewed.pem.as_ref().filter(|_| !renewed.doubted);
        Ok(Bundle {
            pem: renewed.unwrap_or(given).clone(),
            in_band: true,
        })
    }

    /// Uses this bundle from now on, where none is in a file.
    ///
    /// # Errors
    /// It cannot be used: the present one stays.
    pub(crate) fn renew(&self, pem: Vec<u8>) -> Result<(), BundleError> {
        roots(&pem)?;
        *self.lock() = Renewed {
            pem: Some(pem),
            doubted: false,
        };
        Ok(())
    }

    /// The renewed bundle, to be kept.
    pub(crate) fn renewed(&self) -> Option<String> {
        let renewed = self.lock();
        let pem = renewed.pem.as_deref().map(std::str::from_utf8);
        pem?.ok().map(ToOwned::to_owned)
    }

    /// No operator was found that the bundle in use vouches for: it is the turn of the other one.
    pub(crate) fn doubt(&self) {
        let mut renewed = self.lock();
        renewed.doubted = !renewed.doubted;
    }

    fn lock(&self) -> MutexGuard<'_, Renewed> {
        // Every step takes effect by one assignment.
        self.renewed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The certificates of a bundle, of which there is at least one.
pub(crate) fn roots(pem: &[u8]) -> Result<RootCertStore, BundleError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(BundleError::Parse)?;
        roots.add(certificate).map_err(BundleError::Use)?;
    }
    if roots.is_empty() {
        return Err(BundleError::Empty);
    }
    Ok(roots)
}
