//! Which namespaces are not what they were when somebody last looked.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use hallpass_core::name::Namespace;
use tokio::sync::Notify;

/// The namespaces whose policies, pods or service accounts changed. Cheap to clone; for one reader.
///
/// # Guarantees
/// A namespace that changes while nobody waits is reported to the next who asks, once, however often
/// it changed.
#[derive(Debug, Clone, Default)]
pub struct Changes(Arc<Dirty>);

#[derive(Debug, Default)]
struct Dirty {
    namespaces: Mutex<BTreeSet<Namespace>>,
    more: Notify,
}

impl Changes {
    /// Waits until a namespace changed. Cancelling it loses nothing.
    pub async fn changed(&self) {
        loop {
            let more = self.0.more.notified();
            if !self.lock().is_empty() {
                return;
            }
            more.await;
        }
    }

    /// The namespaces that changed since the last call.
    #[must_use]
    pub fn take(&self) -> BTreeSet<Namespace> {
        std::mem::take(&mut *self.lock())
    }

    pub(super) fn add(&self, namespaces: BTreeSet<Namespace>) {
        if namespaces.is_empty() {
            return;
        }
        self.lock().extend(namespaces);
        self.0.more.notify_one();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeSet<Namespace>> {
        // A set is whole after a panic of another holder, too.
        self.0
            .namespaces
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespaces(names: &[&str]) -> BTreeSet<Namespace> {
        names.iter().map(|n| Namespace::parse(n).unwrap()).collect()
    }

    #[tokio::test]
    async fn what_changed_while_nobody_waited_is_reported_once() {
        let changes = Changes::default();
        changes.add(namespaces(&["shop", "bank"]));
        changes.add(namespaces(&["shop"]));
        changes.changed().await;
        assert_eq!(changes.take(), namespaces(&["bank", "shop"]));
        assert_eq!(changes.take(), namespaces(&[]));
    }

    #[tokio::test]
    async fn a_change_wakes_the_one_who_waits() {
        let changes = Changes::default();
        let waiting = tokio::spawn({
            let changes = changes.clone();
            async move {
                changes.changed().await;
                changes.take()
            }
        });
        tokio::task::yield_now().await;
        changes.add(namespaces(&["shop"]));
        assert_eq!(waiting.await.unwrap(), namespaces(&["shop"]));
    }
}
