//! What the sidecar shows to the operator, and what it trusts the operator by.
//!
//! Both are files that the kubelet replaces by swapping a symbolic link, so each is read again, by
//! content, whenever it is needed: nothing is watched, nothing is remembered.

use std::{io, path::PathBuf};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hallpass_core::{name::Uid, secret::Secret};
use serde::Deserialize;

/// The two files.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    token: PathBuf,
    trust: PathBuf,
}

/// A file is not usable. Each of these can heal by itself: the kubelet fills the files in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentityError {
    #[error("cannot read the pod's identity token {}", path.display())]
    ReadToken { path: PathBuf, source: io::Error },
    #[error("the pod's identity token {} is empty", path.display())]
    TokenEmpty { path: PathBuf },
    #[error(
        "the trust bundle is not there yet: {} is empty; the kubelet fills it within about a minute after the operator has published its ClusterTrustBundle",
        path.display()
    )]
    TrustMissing { path: PathBuf },
    #[error("cannot read the trust bundle {}", path.display())]
    ReadTrust { path: PathBuf, source: io::Error },
}

impl Identity {
    pub(crate) const fn new(token: PathBuf, trust: PathBuf) -> Self {
        Self { token, trust }
    }

    /// The identity token as it is now.
    pub(crate) fn token(&self) -> Result<Secret<String>, IdentityError> {
        let path = || self.token.clone();
        let text = std::fs::read_to_string(&self.token)
            .map(Secret::new)
            .map_err(|source| IdentityError::ReadToken {
                path: path(),
                source,
            })?;
        match text.expose().trim() {
            "" => Err(IdentityError::TokenEmpty { path: path() }),
            trimmed if trimmed.len() == text.expose().len() => Ok(text),
            trimmed => Ok(Secret::new(trimmed.to_owned())),
        }
    }

    /// The uid of the pod that the identity token was made for, as it says itself: nothing here is decided
    /// by it but whose cache this is. [`None`] where it says none.
    pub(crate) fn pod(&self) -> Option<Uid> {
        #[derive(Deserialize)]
        struct Claims {
            #[serde(rename = "kubernetes.io")]
            kubernetes: Bound,
        }
        #[derive(Deserialize)]
        struct Bound {
            pod: Pod,
        }
        #[derive(Deserialize)]
        struct Pod {
            uid: Uid,
        }
        let token = self.token().ok()?;
        let claims = token.expose().split('.').nth(1)?;
        let claims = URL_SAFE_NO_PAD.decode(claims).ok()?;
        let claims: Claims = serde_json::from_slice(&claims).ok()?;
        Some(claims.kubernetes.pod.uid)
    }

    /// The trusted certificates as they are now, in PEM.
    pub(crate) fn trust(&self) -> Result<Vec<u8>, IdentityError> {
        let path = || self.trust.clone();
        match std::fs::read(&self.trust) {
            Ok(pem) if pem.trim_ascii().is_empty() => {
                Err(IdentityError::TrustMissing { path: path() })
            }
            Ok(pem) => Ok(pem),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(IdentityError::TrustMissing { path: path() })
            }
            Err(source) => Err(IdentityError::ReadTrust {
                path: path(),
                source,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn reads_what_a_swapped_link_points_to_now() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for (name, text) in [("a", "first\n"), ("b", "second")] {
            std::fs::write(path(name), text).unwrap();
        }
        symlink(path("a"), path("token")).unwrap();
        let identity = Identity::new(path("token"), path("ca.pem"));
        assert_eq!(identity.token().unwrap().expose(), "first");
        symlink(path("b"), path("new")).unwrap();
        std::fs::rename(path("new"), path("token")).unwrap();
        assert_eq!(identity.token().unwrap().expose(), "second");
    }

    #[test]
    fn an_absent_or_empty_trust_bundle_is_one_that_is_not_there_yet() {
        let dir = tempfile::tempdir().unwrap();
        let identity = Identity::new(dir.path().join("token"), dir.path().join("ca.pem"));
        assert!(matches!(
            identity.trust(),
            Err(IdentityError::TrustMissing { .. })
        ));
        std::fs::write(dir.path().join("ca.pem"), "\n").unwrap();
        assert!(matches!(
            identity.trust(),
            Err(IdentityError::TrustMissing { .. })
        ));
        assert!(matches!(
            identity.token(),
            Err(IdentityError::ReadToken { .. })
        ));
    }
}
