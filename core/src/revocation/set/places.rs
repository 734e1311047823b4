//! How many revocations may be in force, and who takes part in which number.

use std::collections::HashMap;

use super::super::{
    Kind, MOST, MOST_OF_NAMESPACE, MOST_OWN, MOST_TOKENS_OF_NAMESPACE, Target, words::within_of,
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
    /// In its namespace.
    #[error(
        "{MOST_OF_NAMESPACE} revocations are in force in this namespace, which is the most there can be"
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
            Full::Namespace => self.namespace() == wanted.namespace(),
            Full::Tokens => self == wanted,
        }
    }

    pub(super) const fn kind(&self) -> Kind {
        match self {
            Self::Cluster => Kind::Cluster,
            Self::Tokens(_) | Self::Namespace(_) => Kind::Namespaced,
        }
    }

    fn namespace(&self) -> Option<&str> {
        match self {
            Self::Cluster => None,
            Self::Tokens(namespace) | Self::Namespace(namespace) => Some(namespace),
        }
    }
}

/// How many places there are.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Bounds {
    pub(in super::super) all: usize,
    pub(in super::super) own: usize,
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
    namespaces: HashMap<Box<str>, Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    tokens: usize,
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
        if let Some(namespace) = share.namespace() {
            let taken = self.namespaces.get(namespace);
            let (all, tokens) = taken.map_or((0, 0), |taken| (taken.all, taken.tokens));
            if matches!(share, Share::Tokens(_)) && tokens >= bounds.tokens {
                return Err(Full::Tokens);
            }
            if all >= bounds.namespace {
                return Err(Full::Namespace);
            }
            if own >= bounds.own {
                return Err(Full::Own);
            }
        }
        if own + cluster >= bounds.all {
            return Err(Full::Cluster);
        }
        Ok(())
    }

    pub(super) fn take(&mut self, share: &Share) {
        let [own, cluster] = &mut self.kinds;
        let Some(namespace) = share.namespace() else {
            *cluster += 1;
            return;
        };
        *own += 1;
        let taken = self.namespaces.entry(namespace.into()).or_default();
        taken.all += 1;
        taken.tokens += usize::from(matches!(share, Share::Tokens(_)));
    }

    pub(super) fn free(&mut self, share: &Share) {
        let [own, cluster] = &mut self.kinds;
        let Some(namespace) = share.namespace() else {
            *cluster = cluster.saturating_sub(1);
            return;
        };
        *own = own.saturating_sub(1);
        if let Some(taken) = self.namespaces.get_mut(namespace) {
            let tokens = usize::from(matches!(share, Share::Tokens(_)));
            taken.all = taken.all.saturating_sub(1);
            taken.tokens = taken.tokens.saturating_sub(tokens);
            if taken.all == 0 {
                self.namespaces.remove(namespace);
            }
        }
    }
}

/// How many that have no place are kept: they come into force as soon as there is one.
const MOST_WAITING: usize = 10_000;
