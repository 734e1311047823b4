//! Whom an event has told that its pods lack the sidecar.

use std::collections::{BTreeMap, BTreeSet};

use super::desired::{Owned, Owners};

/// The uids of those who know, by where they were found.
#[derive(Debug, Default)]
pub(super) struct Told(BTreeMap<Box<str>, BTreeSet<String>>);

impl Told {
    /// Those who lack it now and did not when that place was last looked at.
    pub(super) fn news(&mut self, place: &str, owners: Owners) -> Vec<Owned> {
        let owners = owners.into_all();
        let known = self.0.remove(place).unwrap_or_default();
        let uids: BTreeSet<String> = owners.keys().cloned().collect();
        if !uids.is_empty() {
            self.0.insert(place.into(), uids);
        }
        let owners = owners.into_iter();
        let news = owners.filter(|(uid, _)| !known.contains(uid));
        news.map(|(_, owned)| owned).collect()
    }

    /// Nothing is looked for there any more.
    pub(super) fn forget(&mut self, place: &str) {
        self.0.remove(place);
    }
}
