//! The tasks by which the replicas know of each other.

use std::sync::Arc;

use tokio::sync::watch;

use super::{Parts, Phase, reached};
use crate::{
    app::task::Tasks,
    clock,
    replica::{peer::Door, publish::Publisher},
};

impl Parts {
    /// Starts what the replicas tell and ask each other.
    pub(super) fn stand(
        &self,
        phases: watch::Receiver<Phase>,
        steady: &mut Tasks,
        closing: &mut Tasks,
    ) {
        let standing = self.index.standing();
        let of = || {
            (
                self.client.clone(),
                self.identity.clone(),
                self.metrics.clone(),
            )
        };
        steady.spawn("replicas", {
            let (client, identity, metrics) = of();
            let (standing, restores) = (standing.clone(), self.restores.clone());
            async move {
                let replicas = standing.replicas().clone();
                let freshness = standing.freshness();
                let watch = replicas.run(
                    client,
                    &identity,
                    freshness,
                    &restores,
                    clock::now,
                    &metrics,
                );
                Err(Box::pin(watch).await.into())
            }
        });
        steady.spawn("standing", {
            let (standing, authority) = (standing.clone(), Arc::clone(&self.authority));
            let ([name, _], metrics) = (self.release.names.dns(), self.metrics.clone());
            let door = Door::new(name, move || authority.trust());
            let keys = self.keys.freshness().clone();
            async move {
                standing.run(door, keys, metrics).await;
                Ok(())
            }
        });
        closing.spawn("replica", {
            let (client, identity, _) = of();
            let observed = self.index.revocations().observed();
            let (keys, restores) = (self.keys.changes(), self.restores.clone());
            let publisher = Publisher::new(client, identity, observed, keys, restores, clock::now);
            // Until it answers nobody any more, others wait for it.
            let over = reached(phases, Phase::Closing);
            async move {
                publisher.run(over).await;
                Ok(())
            }
        });
    }
}
