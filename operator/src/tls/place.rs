//! Where those read whom to trust who call this operator.

use std::time::Duration;

use kube::Client;

use super::bundle::{self, BundleError};
use crate::{
    config::{Engine, Names},
    controller::webhook::{Registered, Registration, RegistrationError},
};

/// Where the CAs are published.
#[derive(Debug)]
pub(super) enum Place {
    /// In the ClusterTrustBundle that the pods mount.
    TrustBundle,
    /// In the registration of the webhook; pods are told at injection, and then by what they ask.
    Webhook(Box<Registration>),
}

/// What is published there, at one time.
#[derive(Debug)]
pub(super) enum Found {
    TrustBundle(Box<bundle::Found>),
    Webhook(Box<Registered>),
}

/// Why they could not be published.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlaceError {
    #[error("keep the trust bundle")]
    TrustBundle(#[from] BundleError),
    #[error("keep the registration of the webhook")]
    Webhook(#[from] RegistrationError),
}

impl Place {
    /// That of the engine. The one of the other is neither read nor written: a cluster may not have it.
    pub(super) fn new(engine: Engine, client: Client, names: Names) -> Self {
        match engine {
            Engine::AdmissionPolicy => Self::TrustBundle,
            Engine::Webhook => Self::Webhook(Box::new(Registration::new(client, names))),
        }
    }

    /// How long the leader waits between two looks when all is well. While what the API server trusts is wrong,
    /// no pod that asks for the sidecar is created.
    pub(super) const fn pace(&self) -> Duration {
        match self {
            Self::TrustBundle => Duration::from_secs(60),
            Self::Webhook(_) => Duration::from_secs(15),
        }
    }

    pub(super) async fn find(&self, client: &Client, names: &Names) -> Result<Found, PlaceError> {
        Ok(match self {
            Self::TrustBundle => Found::TrustBundle(Box::new(bundle::find(client, names).await?)),
            Self::Webhook(registration) => Found::Webhook(Box::new(registration.find().await?)),
        })
    }
}

impl Found {
    /// Whether exactly `ca` is published.
    pub(super) fn says(&self, names: &Names, ca: &str) -> bool {
        match self {
            Self::TrustBundle(found) => found.says(names, ca),
            Self::Webhook(found) => found.says(ca),
        }
    }

    /// Publishes `ca` where it is not yet. Returns whether something was written.
    pub(super) async fn publish(
        self,
        client: &Client,
        names: &Names,
        ca: &str,
    ) -> Result<bool, PlaceError> {
        Ok(match self {
            Self::TrustBundle(found) => found.publish(client, names, ca).await?,
            Self::Webhook(found) => found.publish(ca).await?,
        })
    }
}
