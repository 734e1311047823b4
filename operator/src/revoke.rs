//! Writes down that a pod revoked its own token (RFC 7009): a `TokenRevocation` of its `jti` beside the
//! pod, which goes by itself once the token is past its time.

use hallpass_core::name::{Namespace, TokenId};
use hallpass_crds::{
    revocation::RevocationTerms,
    token_revocation::{RevocationTarget, TokenRevocation, TokenRevocationSpec},
};
use kube::{Api, Client, api::PostParams};

use crate::{
    call::{CallError, within},
    config::Names,
    index::Stored,
    owner::{OwnerError, owner},
};

/// Writes revocations.
#[derive(Clone)]
pub struct Revoker {
    client: Client,
    names: Names,
}

/// Why a token is not revoked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RevokeError {
    #[error("find the owner of the revocation")]
    FindOwner(#[source] OwnerError),
    #[error("store the revocation")]
    Store(#[source] CallError),
    #[error("read the revocation that has that name")]
    Read(#[source] CallError),
    #[error(
        "the TokenRevocation {0} names something else than this token, as far as it can be read"
    )]
    Taken(String),
}

impl std::fmt::Debug for Revoker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Revoker")
    }
}

impl Revoker {
    /// Writes as the operator of that release.
    #[must_use]
    pub const fn new(client: Client, names: Names) -> Self {
        Self { client, names }
    }

    /// Stores that the token of that id is revoked in that namespace.
    ///
    /// # Guarantees
    /// When it returns `Ok`, the API server has stored it, now or before.
    ///
    /// # Errors
    /// It is not known to be stored.
    pub(crate) async fn revoke(
        &self,
        namespace: &Namespace,
        id: &TokenId,
    ) -> Result<(), RevokeError> {
        let owner = owner(&self.client, &self.names).await;
        let owner = owner.map_err(RevokeError::FindOwner)?;
        let spec = TokenRevocationSpec {
            target: RevocationTarget {
                token_id: Some(id.to_string()),
                ..RevocationTarget::default()
            },
            terms: RevocationTerms {
                ttl_seconds_after_expired: Some(0),
                ..RevocationTerms::default()
            },
        };
        let name = format!("token-{id}");
        let mut object = TokenRevocation::new(&name, spec);
        object.metadata.owner_references = Some(vec![owner]);
        let api: Api<TokenRevocation> = Api::namespaced(self.client.clone(), namespace.as_str());
        match within(api.create(&PostParams::default(), &object)).await {
            Ok(_) => return Ok(()),
            Err(error) if error.is_conflict() => {}
            Err(error) => return Err(RevokeError::Store(error)),
        }
        let api: Api<Stored<TokenRevocation>> =
            Api::namespaced(self.client.clone(), namespace.as_str());
        let stored = within(api.get(&name)).await.map_err(RevokeError::Read)?;
        match stored.0 {
            Ok(stored) if stored.spec.target == object.spec.target => Ok(()),
            Ok(_) | Err(_) => Err(RevokeError::Taken(name)),
        }
    }
}
