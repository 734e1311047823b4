//! What a replica has in memory of the revocations, and what one event makes of it.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use hallpass_core::revocation::{Kind, Missing, RevocationSet};
use jiff::Timestamp;
use kube::runtime::watcher::Event;
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use tracing::error;

use super::{MOST_LISTED, Place, Read, RefusedRevocation};
use crate::replica::Observed;

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) set: RevocationSet,
    /// What is stored and says what cannot be in force: some of it, for its status,
    pub(super) invalid: BTreeMap<Place, RefusedRevocation>,
    /// and of each kind all of it, a number for each.
    pub(super) unread: [HashSet<u64>; 2],
    pub(super) synced: [bool; 2],
    /// While a list comes in: the newest version in it, and the invalid ones that it has.
    pub(super) newest: [u64; 2],
    pub(super) listed: [HashSet<u64>; 2],
    pub(super) filling: Option<Filling>,
    /// Of each kind, that it is to be filled up again, since it was not to the end.
    pub(super) unfilled: [bool; 2],
    /// When it was said last that there is no room, and for how many.
    pub(super) said: Option<(Instant, usize)>,
}

/// A list beside the watch, of what had no place when the watch delivered it.
#[derive(Debug)]
pub(super) struct Filling {
    pub(super) kind: Kind,
    /// What was deleted since it began: a page may still have it.
    pub(super) gone: HashSet<Box<str>>,
}

impl State {
    pub(super) fn take(
        &mut self,
        kind: Kind,
        event: Event<Read>,
        now: Timestamp,
    ) -> Option<Missing> {
        match event {
            Event::Init => {
                self.newest[kind as usize] = 0;
                self.listed[kind as usize].clear();
                self.filling = None;
                self.set.begin(kind);
            }
            Event::InitApply(read) => {
                let version = self.put(read, now);
                let newest = &mut self.newest[kind as usize];
                *newest = version.max(*newest);
            }
            Event::InitDone => {
                self.synced[kind as usize] = true;
                let listed = std::mem::take(&mut self.listed[kind as usize]);
                self.invalid
                    .retain(|place, one| place.0 != kind || listed.contains(&number(&one.uid)));
                self.unread[kind as usize] = listed;
                let newest = self.newest[kind as usize];
                return Some(self.set.finish(kind, newest, now));
            }
            Event::Apply(read) => {
                let version = self.put(read, now);
                self.set.read_up_to(kind, version);
            }
            Event::Delete(read) => {
                let version = self.remove(kind, read);
                self.set.read_up_to(kind, version);
            }
        }
        None
    }

    /// Puts in force what can be. Returns its version.
    fn put(&mut self, read: Read, now: Timestamp) -> u64 {
        let Some(place) = read.place else {
            return 0;
        };
        match read.says {
            Ok((target, revocation)) => {
                // What has no room waits in the set.
                let _no_room = self.set.put(&target, revocation, now);
                self.invalid.remove(&place);
            }
            Err(why) => self.refuse(
                place,
                RefusedRevocation {
                    uid: read.uid,
                    why,
                    reported: read.reported,
                },
            ),
        }
        read.version
    }

    fn refuse(&mut self, place: Place, refused: RefusedRevocation) {
        // Whatever was read first, and whether it is described or not: replicas that have read the same agree.
        self.unread[place.0 as usize].insert(number(&refused.uid));
        self.listed[place.0 as usize].insert(number(&refused.uid));
        let known = self.invalid.get(&place);
        if known.is_none() && self.invalid.len() >= MOST_LISTED {
            return;
        }
        if known.is_none_or(|known| known.why != refused.why || known.uid != refused.uid) {
            let (kind, namespace, name) = &place;
            let (kind, namespace) = (kind.as_str(), namespace.as_deref().unwrap_or_default());
            error!(object.kind = kind, object.namespace = namespace, object.name = &**name, error = %refused.why, "a revocation is NOT in force");
        }
        self.invalid.insert(place, refused);
    }

    fn remove(&mut self, kind: Kind, read: Read) -> u64 {
        if let Some(place) = &read.place {
            self.invalid.remove(place);
        }
        self.unread[kind as usize].remove(&number(&read.uid));
        if let Some(filling) = &mut self.filling {
            filling.gone.insert(read.uid);
        }
        if let Ok((target, revocation)) = read.says {
            self.set.remove(&target, &revocation);
        }
        read.version
    }

    /// What of it the other replicas are told.
    pub(super) fn told(&self) -> Observed {
        let epochs = self.set.epochs();
        let unread = self.unread.iter().flatten().copied();
        Observed {
            epochs: [epochs.namespaced, epochs.cluster],
            refused: self.set.without_place(),
            unread: unread.fold(0, |all, one| all ^ one),
            revocations: 0,
        }
    }

    /// Whether it is to be said that so many have no room: at once where all had, and once a minute.
    pub(super) fn is_news(&mut self, refused: usize, now: Instant) -> bool {
        if refused == 0 {
            self.said = None;
            return false;
        }
        let news = self
            .said
            .is_none_or(|(at, count)| count != refused && now.saturating_duration_since(at) >= SAY);
        if news {
            self.said = Some((now, refused));
        }
        news
    }
}

/// A number that stands for that uid: of several, in whatever order, the exclusive or stands for all.
fn number(uid: &str) -> u64 {
    let hash: [u8; 32] = Sha256::digest(uid.as_bytes()).into();
    hash.iter().take(8).fold(0, |n, b| n << 8 | u64::from(*b))
}

/// How often it is said that there is no room.
pub(super) const SAY: Duration = Duration::from_secs(60);
