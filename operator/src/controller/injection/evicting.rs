//! When pods that lack the sidecar are evicted: after they were looked at and told of.

use std::collections::BTreeMap;

use hallpass_core::name::Namespace;

use super::{Term, evict::choice::Choice, target::Target};

impl Term<'_> {
    /// Finds out what took the place of what was evicted.
    pub(super) async fn follow_up(&mut self) {
        let Some(evictor) = &mut self.evictor else {
            return;
        };
        if let Err(error) = evictor.begin(&mut self.lister, &self.writer).await {
            self.failed(&error);
        }
    }

    /// Evicts of those that ask by their own label what may be evicted. The namespaces have their turns: where pods
    /// stay, they would keep others waiting.
    pub(super) async fn evict_asking(&mut self, choices: BTreeMap<String, Choice>) {
        let after = self.last_asking.clone();
        let comes_after = |namespace: &String| after.as_ref().is_none_or(|last| namespace > last);
        let (next, first): (Vec<_>, Vec<_>) = choices
            .into_iter()
            .partition(|(namespace, _)| comes_after(namespace));
        let mut asked_for = 0;
        for (namespace, choice) in next.into_iter().chain(first) {
            if self.evict(choice).await {
                self.last_asking = Some(namespace);
                asked_for += 1;
            }
            if asked_for == MOST_ASKED_FOR {
                return;
            }
        }
    }

    /// Evicts the one that was found in that namespace, if it is still found for the same reason: to look takes a while.
    pub(super) async fn evict_selected(
        &mut self,
        namespace: &Namespace,
        target: &Target,
        choice: Choice,
    ) {
        if self.evictor.is_none() || target.closed {
            return;
        }
        if self.mark(false) && self.targets.get(namespace) == Some(target) {
            // What becomes of it is remembered.
            let _: bool = self.evict(choice).await;
        }
    }

    /// Evicts that one, if it may be now. Whether it was asked for.
    async fn evict(&mut self, choice: Choice) -> bool {
        let (Some(evictor), Some(pod)) = (&mut self.evictor, choice.take()) else {
            return false;
        };
        let attempt = evictor.attempt(pod, &mut self.lister, &self.writer);
        attempt.await.unwrap_or_else(|error| {
            self.failed(&error);
            true
        })
    }
}

/// Pods of those that are asked for in one look: the other namespaces have their turn in the next.
const MOST_ASKED_FOR: usize = 20;
