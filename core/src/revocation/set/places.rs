//! How many revocations may be in force, and who takes part in which number.

use std::collections::HashMap;

use super::super::{
    Kind, MOST, MOST_OF_NAMESPACE, MOST_OWN, MOST_TOKENS, MOST_TOKENS_OF_NAMESPACE, Target,
    words::within_of,
};

/// There is no room for another revocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Full {
    /// In the cluster.
    #[error("{MOST} revocations are in force in this cluster, which is the most there can be")]
    Cluster,
    /// For a `TokenRevocation`, in the cluster.
    #[error(
        "{MOST_OWN} TokenRevocations are in force in this cluster, which is the most there can be"
    )]
    Own,
    /// For single tokens, in all namespaces.
    #[error(
        "{MOST_TOKENS} TokenRevocations of single tokens are in force in this cluster, which is the most there can be"
    )]
    AllTokens,
    /// In its namespace, beside those for single tokens.
    #[error(
        "{MOST_OF_NAMESPACE} revocations are in force in this namespace beside those of single tokens, which is the most there can be"
    )]
    Namespace,
    /// For a single token, in its namespace.
    #[error(
        "{MOST_TOKENS_OF_NAMESPACE} revocations of single tokens are in force in this namespace, which is the most there can be"
    )]
    Tokens,
}

/// What a revocation takes a place of. Those of one share compete with each other first.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Share {
    /// That of the `ClusterTokenRevocation`s.
    Cluster,
    /// That of the single tokens of a namespace: pods take these places themselves, by giving back tokens.
    Tokens(Box<str>),
    /// That of whatever else is in a namespace.
    Namespace(Box<str>),
}

impl Share {
    pub(super) fn of(kind: Kind, target: &Target<'_>) -> Self {
        let namespace = within_of(kind, target).map(Box::from);
        match (namespace, target) {
            (None, _) => Self::Cluster,
            (Some(namespace), Target::Token(..)) => Self::Tokens(namespace),
            (Some(namespace), _) => Self::Namespace(namespace),
        }
    }

    /// Whether what has a place of this share is counted where it is full.
    pub(super) fn counts(&self, full: Full, wanted: &Self) -> bool {
        match full {
            Full::Cluster => true,
            Full::Own => *self != Self::Cluster,
            Full::AllTokens => matches!(self, Self::Tokens(_)),
            Full::Namespace | Full::Tokens => self == wanted,
        }
    }

    pub(super) const fn kind(&self) -> Kind {
        match self {
            Self::Cluster => Kind::Cluster,
            Self::Tokens(_) | Self::Namespace(_) => Kind::Namespaced,
        }
    }
}

/// How many places there are. What is counted in two of them is in one counted whole in the other: so whoever goes
/// from the smallest that is full makes room in all of them, and the oldest have the places in whatever order
/// they came.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Bounds {
    pub(in super::super) all: usize,
    pub(in super::super) own: usize,
    pub(in super::super) all_tokens: usize,
    pub(in super::super) namespace: usize,
    pub(in super::super) tokens: usize,
    /// How many are kept that have none.
    pub(in super::super) waiting: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            all: MOST,
            own: MOST_OWN,
            all_tokens: MOST_TOKENS,
            namespace: MOST_OF_NAMESPACE,
            tokens: MOST_TOKENS_OF_NAMESPACE,
            waiting: MOST_WAITING,
        }
    }
}

/// The places that are taken.
#[derive(Debug, Default)]
pub(super) struct Places {
    pub(super) bounds: Bounds,
    kinds: [usize; 2],
    /// Of all namespaces.
    tokens: usize,
    /// Of each but that of the cluster.
    shares: HashMap<Share, usize>,
}

impl Places {
    pub(super) const fn of_kind(&self, kind: Kind) -> usize {
        let [own, cluster] = self.kinds;
        match kind {
            Kind::Namespaced => own,
            Kind::Cluster => cluster,
        }
    }

    /// Whether there is a place. Of several that are full it is the smallest.
    pub(super) fn room(&self, share: &Share) -> Result<(), Full> {
        let [own, cluster] = self.kinds;
        let bounds = self.bounds;
        let taken = self.shares.get(share).copied().unwrap_or_default();
        match share {
            Share::Tokens(_) if taken >= bounds.tokens => Err(Full::Tokens),
            Share::Tokens(_) if self.tokens >= bounds.all_tokens => Err(Full::AllTokens),
            Share::Namespace(_) if taken >= bounds.namespace => Err(Full::Namespace),
            Share::Tokens(_) | Share::Namespace(_) if own >= bounds.own => Err(Full::Own),
            Share::Cluster | Share::Tokens(_) | Share::Namespace(_) => {
                let all = own + cluster;
                (all < bounds.all).then_some(()).ok_or(Full::Cluster)
            }
        }
    }

    pub(super) fn take(&mut self, share: &Share) {
        self.kinds[share.kind() as usize] += 1;
        self.tokens += usize::from(matches!(share, Share::Tokens(_)));
        if *share != Share::Cluster {
            *self.shares.entry(share.clone()).or_default() += 1;
        }
    }

    pub(super) fn free(&mut self, share: &Share) {
        let tokens = usize::from(matches!(share, Share::Tokens(_)));
        self.tokens = self.tokens.saturating_sub(tokens);
        let kind = &mut self.kinds[share.kind() as usize];
        *kind = kind.saturating_sub(1);
        if let Some(taken) = self.shares.get_mut(share) {
            *taken = taken.saturating_sub(1);
            if *taken == 0 {
                self.shares.remove(share);
            }
        }
    }
}

/// How many that have no place are kept: they come into force as soon as there is one.
const MOST_WAITING: usize = 10_000;
