//! The Secrets that the watch has delivered, and what can be made of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use hallpass_core::name::IssuerId;
use jiff::Timestamp;
use tracing::error;

use super::{
    ring::KeyRing,
    rotation::{KeyState, Unread},
    secret::{Fault, Meta, Object, StoredKey},
};
use crate::telemetry::log::Chain;

/// Everything that is stored, by name.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    entries: BTreeMap<Box<str>, Entry>,
    /// Whether it says what cannot be read, once for each stored version.
    tells: bool,
}

#[derive(Debug)]
struct Entry {
    uid: Box<str>,
    resource_version: Box<str>,
    issuer: Option<IssuerId>,
    number: Option<u32>,
    key: Result<StoredKey, Fault>,
    told: bool,
}

/// What is known of one issuer's keys.
#[derive(Debug, Default)]
pub(super) struct Issuer {
    /// By number.
    pub(super) keys: Vec<StoredKey>,
    pub(super) unread: Unread,
    pub(super) ring: Option<Arc<KeyRing>>,
}

impl Issuer {
    pub(super) fn states(&self) -> Vec<KeyState> {
        self.keys.iter().map(|key| key.state).collect()
    }

    /// The same, where these `kid`s are revoked.
    pub(super) fn states_under(&self, revoked: &BTreeSet<Box<str>>) -> Vec<KeyState> {
        let state = |key: &StoredKey| KeyState {
            revoked: revoked.contains(key.material.signing.kid()),
            ..key.state
        };
        self.keys.iter().map(state).collect()
    }

    fn add(&mut self, key: Option<&StoredKey>, number: Option<u32>) {
        match key {
            Some(key) => self.keys.push(key.clone()),
            None => {
                let number = number.unwrap_or_default();
                self.unread.count += 1;
                self.unread.highest = self.unread.highest.max(number);
            }
        }
    }

    pub(super) fn key(&self, number: u32) -> Option<&StoredKey> {
        self.keys.iter().find(|key| key.state.number == number)
    }
}

impl Shelf {
    /// An empty one that says what cannot be read.
    pub(super) fn telling() -> Self {
        Self {
            tells: true,
            ..Self::default()
        }
    }

    /// Another shelf with exactly these, which reads nothing again that this one has read.
    pub(super) fn relist(&self, objects: &[Object]) -> Self {
        let entries = objects.iter().map(|object| {
            let name = object.metadata.name.clone();
            (name, self.entry(object))
        });
        Self {
            entries: entries.collect(),
            tells: self.tells,
        }
    }

    pub(super) fn put(&mut self, object: &Object) {
        let entry = self.entry(object);
        self.entries.insert(object.metadata.name.clone(), entry);
    }

    pub(super) fn remove(&mut self, object: &Object) {
        self.entries.remove(&object.metadata.name);
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    fn entry(&self, object: &Object) -> Entry {
        let known = self.entries.get(&object.metadata.name);
        let material = known.and_then(|entry| entry.key.as_ref().ok());
        let key = object.read(material.map(|key| &key.material));
        let Meta {
            uid,
            resource_version,
            ..
        } = &object.metadata;
        let same = known.filter(|e| e.uid == *uid && e.resource_version == *resource_version);
        let told = same.is_some_and(|entry| entry.told);
        let (uid, resource_version) = (uid.clone(), resource_version.clone());
        let issuer = object.issuer();
        let number = issuer.as_ref().and_then(|issuer| object.number(issuer));
        Entry {
            uid,
            resource_version,
            issuer,
            number,
            key,
            told,
        }
    }

    /// The issuers that have keys, and how many Secrets cannot be used. In a ring is no key that was there
    /// before `since`.
    pub(super) fn issuers(
        &mut self,
        since: Option<Timestamp>,
    ) -> (BTreeMap<IssuerId, Issuer>, usize) {
        let mut issuers: BTreeMap<IssuerId, Issuer> = BTreeMap::new();
        let (mut kids, mut unread) = (BTreeSet::<Box<str>>::new(), 0);
        let mut entries: Vec<_> = self.entries.iter_mut().collect();
        entries.sort_by_key(|(_, entry)| entry.number);
        for (name, entry) in entries {
            let key = match &entry.key {
                // Of two Secrets with one key the older number counts: a kid means one key.
                Ok(key) if kids.insert(Box::from(key.material.signing.kid())) => Ok(key),
                Ok(_) => Err(&Fault::Twice),
                Err(fault) => Err(fault),
            };
            if let Err(fault) = key {
                unread += 1;
                if self.tells && !std::mem::replace(&mut entry.told, true) {
                    report(name, fault);
                }
            }
            if let Some(id) = &entry.issuer {
                let issuer = issuers.entry(id.clone()).or_default();
                issuer.add(key.ok(), entry.number);
            }
        }
        for issuer in issuers.values_mut() {
            let used = |key: &&StoredKey| Some(key.state.published) >= since;
            let keys = issuer.keys.iter().filter(used);
            let keys = keys.map(|key| (&key.state, &key.material));
            issuer.ring = KeyRing::new(keys).map(Arc::new);
        }
        (issuers, unread)
    }
}

fn report(name: &str, fault: &Fault) {
    error!(secret.name = name, error = %Chain(fault), "the Secret of a key cannot be used and is left alone");
}
