//! Tells the API server whom to trust when it calls the webhook that injects: the `caBundle` of the chart's
//! MutatingWebhookConfigurations, and nothing else of them.
//!
//! The chart says no `caBundle`, so that it is nobody's but ours: by server-side apply under a name of our
//! own, neither an upgrade nor a tool that compares the chart with the cluster finds a difference.

use std::fmt;

use k8s_openapi::{ByteString, api::admissionregistration::v1::MutatingWebhookConfiguration};
use kube::{
    Api, Client, Resource,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::{
    call::{CallError, within},
    config::Names,
};

/// The configurations of one release.
#[derive(Clone)]
pub(crate) struct Registration {
    api: Api<MutatingWebhookConfiguration>,
    names: Names,
}

/// Those of them that there are, as they were at one time.
pub(crate) struct Registered {
    api: Api<MutatingWebhookConfiguration>,
    configurations: Vec<MutatingWebhookConfiguration>,
}

/// Why the API server cannot be told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RegistrationError {
    #[error(
        "there is no MutatingWebhookConfiguration {0}: nothing is injected; install the chart with injection.engine=Webhook again"
    )]
    Missing(String),
    #[error("read the MutatingWebhookConfiguration {name}")]
    Read {
        name: String,
        #[source]
        source: CallError,
    },
    #[error("write the caBundle of the MutatingWebhookConfiguration {name}")]
    Write {
        name: String,
        #[source]
        source: CallError,
    },
}

impl Registration {
    /// Those of the release of `names`.
    pub(crate) fn new(client: Client, names: Names) -> Self {
        Self {
            api: Api::all(client),
            names,
        }
    }

    /// Reads them. The one of the pods that are guaranteed must be there.
    pub(crate) async fn find(&self) -> Result<Registered, RegistrationError> {
        let guaranteed = self.names.webhook();
        let mut found = vec![
            self.get(&guaranteed)
                .await?
                .ok_or(RegistrationError::Missing(guaranteed))?,
        ];
        found.extend(self.get(&self.names.webhook_by_policy()).await?);
        Ok(Registered {
            api: self.api.clone(),
            configurations: found,
        })
    }

    async fn get(
        &self,
        name: &str,
    ) -> Result<Option<MutatingWebhookConfiguration>, RegistrationError> {
        let read = within(self.api.get_opt(name)).await;
        read.map_err(|source| RegistrationError::Read {
            name: name.to_owned(),
            source,
        })
    }
}

impl Registered {
    /// Whether the API server trusts exactly `ca`, wherever it calls us.
    pub(crate) fn says(&self, ca: &str) -> bool {
        self.configurations.iter().all(|found| says(found, ca))
    }

    /// Has the API server trust `ca`, where it does not yet. Returns whether something was written: not over
    /// what somebody else wrote since it was read.
    pub(crate) async fn publish(self, ca: &str) -> Result<bool, RegistrationError> {
        let mut written = false;
        for configuration in self.configurations.iter().filter(|found| !says(found, ca)) {
            let name = configuration.metadata.name.clone().unwrap_or_default();
            let patch = Patch::Apply(desired(configuration, ca));
            let parameters = PatchParams::apply(FIELD_MANAGER).force();
            match within(self.api.patch(&name, &parameters, &patch)).await {
                Ok(_) => written = true,
                Err(source) if source.is_conflict() => {}
                Err(source) => return Err(RegistrationError::Write { name, source }),
            }
        }
        Ok(written)
    }
}

fn says(found: &MutatingWebhookConfiguration, ca: &str) -> bool {
    let mut webhooks = found.webhooks.iter().flatten();
    webhooks.all(|webhook| {
        let told = webhook.client_config.ca_bundle.as_ref();
        told.is_some_and(|told| told.0 == ca.as_bytes())
    })
}

/// Of each webhook that there is the name, which says which one is meant, and the `caBundle`.
fn desired(found: &MutatingWebhookConfiguration, ca: &str) -> Value {
    let ca = ByteString(ca.as_bytes().to_vec());
    let webhooks = found.webhooks.iter().flatten();
    let webhooks: Vec<_> = webhooks
        .map(|webhook| json!({"name": webhook.name, "clientConfig": {"caBundle": ca}}))
        .collect();
    json!({
        "apiVersion": MutatingWebhookConfiguration::api_version(&()),
        "kind": MutatingWebhookConfiguration::kind(&()),
        "metadata": {
            "name": found.metadata.name,
            "resourceVersion": found.metadata.resource_version,
        },
        "webhooks": webhooks,
    })
}

impl fmt::Debug for Registered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registered")
            .field("configurations", &self.configurations)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration")
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

/// The owner of every `caBundle`, and of nothing else.
const FIELD_MANAGER: &str = "hallpass-webhook";

#[cfg(test)]
mod tests;
