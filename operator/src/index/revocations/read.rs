//! A stored revocation on its way into the set.

use hallpass_core::{
    name::Namespace,
    revocation::{Kind, RawRevocation, Reported, Revocation, Target},
};
use hallpass_crds::{
    cluster_token_revocation::ClusterTokenRevocation, revocation::RevocationStatus,
    token_revocation::TokenRevocation,
};
use kube::{Resource, core::object::HasStatus};

use super::{NotInForce, Place};
use crate::index::Stored;

/// A kind that revokes.
pub(in crate::index) trait Revokes:
    Resource<DynamicType = ()> + HasStatus<Status = RevocationStatus>
{
    const KIND: Kind;
    fn raw(&self) -> RawRevocation;
}

impl Revokes for TokenRevocation {
    const KIND: Kind = Kind::Namespaced;
    fn raw(&self) -> RawRevocation {
        self.into()
    }
}

impl Revokes for ClusterTokenRevocation {
    const KIND: Kind = Kind::Cluster;
    fn raw(&self) -> RawRevocation {
        self.into()
    }
}

/// What is made of a stored revocation: the object itself may be large.
#[derive(Debug, Clone)]
pub(in crate::index) struct Read {
    /// [`None`] without the metadata that every stored object has.
    pub(super) place: Option<Place>,
    pub(super) uid: Box<str>,
    pub(super) version: u64,
    /// What its status says.
    pub(super) reported: Reported,
    /// What it says, if that can be in force.
    pub(super) says: Result<(Target<'static>, Revocation), NotInForce>,
}

impl Read {
    #[expect(
        clippy::needless_pass_by_value,
        reason = "nothing else is kept of the object"
    )]
    pub(in crate::index) fn of<K: Revokes>(object: Stored<K>) -> Option<Self> {
        let metadata = object.meta();
        let version = metadata.resource_version.as_deref();
        let status = object.0.as_ref().ok().and_then(HasStatus::status);
        Some(Self {
            place: place(&object),
            uid: metadata.uid.clone().unwrap_or_default().into(),
            version: version.and_then(|v| v.parse().ok()).unwrap_or_default(),
            reported: status.map(RevocationStatus::reported).unwrap_or_default(),
            says: parse(&object),
        })
    }
}

fn parse<K: Revokes>(object: &Stored<K>) -> Result<(Target<'static>, Revocation), NotInForce> {
    match &object.0 {
        Ok(object) => Ok(object.raw().parse()?),
        Err(unread) => Err(NotInForce::Unreadable(unread.error.clone())),
    }
}

fn place<K: Revokes>(object: &Stored<K>) -> Option<Place> {
    let metadata = object.meta();
    let namespace = metadata
        .namespace
        .as_deref()
        .map(Namespace::parse)
        .transpose()
        .ok()?;
    let namespace = namespace.map(|namespace| namespace.as_str().into());
    Some((K::KIND, namespace, metadata.name.as_deref()?.into()))
}
