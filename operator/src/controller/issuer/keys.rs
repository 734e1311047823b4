//! What the reports know of the keys of an issuer.

use std::{fmt, sync::Arc};

use hallpass_core::{issuer::Issuer, token::signing::Algorithm};
use hallpass_crds::token_issuer::KeyState;
use jiff::Timestamp;
use tokio::sync::watch;

/// The keys of one issuer at one time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IssuerKeys {
    /// In the order of their age.
    pub keys: Vec<ReportedKey>,
    /// When the next key begins to sign, if nothing else is asked for until then.
    pub next_rotation: Option<Timestamp>,
}

/// Where one key stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportedKey {
    /// Its `kid` (RFC 7638).
    pub kid: Box<str>,
    /// What it does.
    pub state: KeyState,
    /// What it signs with.
    pub algorithm: Algorithm,
    /// Since when it does that.
    pub since: Timestamp,
    /// Until when, where that is known.
    pub until: Option<Timestamp>,
}

type Look = dyn Fn(&Issuer, Timestamp) -> IssuerKeys + Send + Sync;
type Read = dyn Fn() -> bool + Send + Sync;

/// Where the reports look the keys up.
#[derive(Clone)]
pub struct KeyReports {
    look: Arc<Look>,
    read: Arc<Read>,
    changes: watch::Receiver<u64>,
}

impl IssuerKeys {
    /// The key that signs.
    #[must_use]
    pub fn active(&self) -> Option<&ReportedKey> {
        self.keys.iter().find(|key| key.state == KeyState::Active)
    }

    /// The first time after `now` at which a key does something else.
    pub(super) fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        let ends = self.keys.iter().filter_map(|key| key.until);
        ends.chain(self.next_rotation).filter(|at| *at > now).min()
    }
}

impl KeyReports {
    /// `look` tells where the keys of an issuer stand at a time, `read` whether all keys have been read yet, and
    /// `changes` counts up when either may be something else than before.
    pub fn new(
        look: impl Fn(&Issuer, Timestamp) -> IssuerKeys + Send + Sync + 'static,
        read: impl Fn() -> bool + Send + Sync + 'static,
        changes: watch::Receiver<u64>,
    ) -> Self {
        Self {
            look: Arc::new(look),
            read: Arc::new(read),
            changes,
        }
    }

    pub(in crate::controller) fn of(&self, issuer: &Issuer, now: Timestamp) -> IssuerKeys {
        (self.look)(issuer, now)
    }

    /// Whether that of which nothing was said yet is all that there is something to say of: keys that have not
    /// been read are not known to be missing, and what was said of them before stands.
    pub(in crate::controller) fn only_new(&self) -> bool {
        !(self.read)()
    }

    pub(in crate::controller) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.clone()
    }
}

impl fmt::Debug for KeyReports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyReports").finish_non_exhaustive()
    }
}
