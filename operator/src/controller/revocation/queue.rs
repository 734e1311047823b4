//! In which order statuses are written: those of the cluster first, then locks, then the rest, each the
//! newest first, and of the namespaces one after the other. Who writes thousands waits for his own.

use std::{cmp::Reverse, collections::BTreeMap};

use hallpass_core::revocation::{Effect, Kind, Revocation, Target};

use crate::index::revocations::{Place, RefusedRevocation};

/// What a status is to be written for. What is in it is bounded for each namespace.
#[derive(Debug, Default)]
pub(super) struct Queue {
    cluster: Vec<Due>,
    locks: BTreeMap<Box<str>, Vec<Due>>,
    rest: BTreeMap<Box<str>, Vec<Due>>,
    /// More of one namespace than is kept.
    over: bool,
}

/// One of them.
#[derive(Debug)]
pub(super) enum Due {
    /// It is in the set.
    Stored(Target<'static>, Revocation, Option<Box<str>>),
    /// It is not in force.
    Refused(Place, RefusedRevocation),
}

impl Due {
    /// The later, the sooner it is told. What is not in force is told before what is.
    const fn age(&self) -> Reverse<i64> {
        Reverse(match self {
            Self::Stored(_, revocation, _) => revocation.created,
            Self::Refused(..) => i64::MAX,
        })
    }
}

impl Queue {
    /// One more.
    pub(super) fn push(&mut self, due: Due) {
        let (kind, namespace, locks) = match &due {
            Due::Stored(_, revocation, namespace) => {
                let locks = matches!(revocation.terms().effect, Effect::Lock { .. });
                (revocation.kind, namespace.clone(), locks)
            }
            Due::Refused((kind, namespace, _), _) => (*kind, namespace.clone(), false),
        };
        let namespace = namespace.unwrap_or_default();
        let of = match kind {
            Kind::Cluster => &mut self.cluster,
            Kind::Namespaced if locks => self.locks.entry(namespace).or_default(),
            Kind::Namespaced => self.rest.entry(namespace).or_default(),
        };
        of.push(due);
        if of.len() >= 2 * MOST {
            of.sort_by_key(Due::age);
            of.truncate(MOST);
            self.over = true;
        }
    }

    /// Whether some of them are not kept.
    pub(super) const fn is_over(&self) -> bool {
        self.over
    }

    /// Those of the cluster, and then all others, in the order of their turn.
    pub(super) fn turns(mut self) -> (Vec<Due>, impl Iterator<Item = Due>) {
        self.cluster.sort_by_key(Due::age);
        (self.cluster, in_turn(self.locks).chain(in_turn(self.rest)))
    }
}

/// One of each namespace, then the next of each, and so on.
fn in_turn(of: BTreeMap<Box<str>, Vec<Due>>) -> impl Iterator<Item = Due> {
    let mut all: Vec<(usize, Due)> = Vec::new();
    for (_, mut due) in of {
        due.sort_by_key(Due::age);
        all.extend(due.into_iter().enumerate());
    }
    // Stable: of those with the same turn, by namespace.
    all.sort_by_key(|(turn, _)| *turn);
    all.into_iter().map(|(_, due)| due)
}

/// How many of one namespace are kept at least, which is as many as are written in one round.
pub(super) const MOST: usize = 256;
