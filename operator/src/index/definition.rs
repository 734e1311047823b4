//! Whether the definition of a kind of ours is there: when it is deleted, Kubernetes deletes every object of it.

use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Client, Resource,
    core::{Request, Status},
};
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use super::Described;
use crate::telemetry::log::Chain;

/// The CustomResourceDefinition of one kind.
pub(super) struct Definition {
    client: Client,
    name: String,
    /// That there is none was said.
    said: bool,
}

/// What the API server says of a definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    /// It is there, under that uid.
    There(Box<str>),
    /// It is gone, or about to go.
    Gone,
    /// The API server does not say.
    Unknown,
    /// The API server does not let this operator ask.
    Unasked,
}

impl Definition {
    pub(super) fn of<K: Resource<DynamicType = ()>>(client: Client) -> Self {
        Self {
            client,
            name: format!("{}.{}", K::plural(&()), K::group(&())),
            said: false,
        }
    }

    /// The name of the definition.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Looks at it.
    ///
    /// # Guarantees
    /// Kubernetes marks a definition as deleted before it deletes the first object of it, and what is read here is
    /// read from etcd: who looks after an object was deleted by that finds [`Found::Gone`], or another uid.
    pub(super) async fn look(&mut self) -> Found {
        let read = timeout(PATIENCE, self.read_patiently()).await;
        let (found, why) = match read {
            Ok(Ok(found)) => {
                self.said = false;
                return found;
            }
            Ok(Err(refused)) => (Found::Unasked, Chain(&refused).to_string()),
            // Elapsed says nothing but that.
            Err(_) => (Found::Unknown, format!("no answer within {:?}", PATIENCE)),
        };
        let name = &*self.name;
        if std::mem::replace(&mut self.said, true) {
            debug!(
                definition = name,
                error = why,
                "a definition still cannot be looked at"
            );
        } else {
            warn!(
                definition = name,
                error = why,
                "a definition cannot be looked at: what is deleted with it may count as deleted"
            );
        }
        found
    }

    /// What the API server says; only that it may not be asked is an error.
    async fn read_patiently(&self) -> kube::Result<Found> {
        loop {
            match self.read().await {
                Err(kube::Error::Api(status)) if status.is_forbidden() => {
                    return Err(kube::Error::Api(status));
                }
                Err(error) => {
                    debug!(definition = &*self.name, error = %Chain(&error), "a definition was not read");
                }
                found => return found,
            }
            sleep(AGAIN).await;
        }
    }

    async fn read(&self) -> kube::Result<Found> {
        let definitions = Request::new(CustomResourceDefinition::url_path(&(), None));
        // Without a version it is read from etcd, not from a cache that may be behind.
        let request = definitions.get_metadata(&self.name, &Default::default());
        let request = request.map_err(kube::Error::BuildRequest)?;
        let read: kube::Result<Described<CustomResourceDefinition>> =
            self.client.request(request).await;
        match read {
            Ok(Described(found)) if found.metadata.deletion_timestamp.is_some() => Ok(Found::Gone),
            Ok(Described(found)) => {
                let uid = found.metadata.uid;
                Ok(uid.map_or(Found::Unknown, |uid| Found::There(uid.into())))
            }
            Err(kube::Error::Api(status)) if self.is_missing(&status) => Ok(Found::Gone),
            Err(error) => Err(error),
        }
    }

    /// Whether the API server says so of this definition: whatever is between may have its own pages that are not found.
    fn is_missing(&self, status: &Status) -> bool {
        let named = status.details.as_ref().map(|details| &details.name);
        status.is_not_found() && named == Some(&self.name)
    }
}

/// How long it is waited for what the API server says of a definition: meanwhile what came after a deletion waits.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long after a failure it is asked for again.
const AGAIN: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests;
