//! The operator's own CA and serving certificate, shared by the replicas through one Secret.
//!
//! Every replica reads the Secret and serves what is in it. The leader fills it while it is empty,
//! renews the serving certificate at half of its life under the same CA, and publishes the CA as a
//! ClusterTrustBundle, which the kubelet mounts into the pods. What cannot be read is never
//! overwritten: sidecars may trust it.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use kube::Client;
use rustls::{ClientConfig, ServerConfig};
use tokio::sync::watch;
use tracing::{error, info};

use self::{
    bundle::BundleError,
    certificate::MakeError,
    material::{Data, Fault, Material},
    resolver::Served,
    store::{Store, Stored},
};
use crate::{
    call::CallError,
    clock,
    config::Names,
    telemetry::{Metrics, log::Chain},
};

mod bundle;
mod certificate;
mod material;
mod resolver;
mod store;
mod trust;

/// Keeps the serving certificate. One per process.
pub struct Authority {
    client: Client,
    names: Names,
    store: Store,
    served: Arc<Served>,
    state: Mutex<State>,
    metrics: Metrics,
}

/// What [`Authority::ready`] tells.
#[derive(Debug, Default)]
struct State {
    /// The serving certificate in use ends then.
    until: Option<Timestamp>,
    /// Its leaf, to see whether another one came.
    leaf: Vec<u8>,
    /// Trusts those who serve under the same CA.
    trust: Option<Arc<ClientConfig>>,
    /// What went wrong the last time.
    fault: Option<String>,
}

/// Why the serving certificate could not be looked after.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AuthorityError {
    #[error("read the Secret {name}")]
    ReadSecret {
        name: String,
        #[source]
        source: CallError,
    },
    #[error("there is no Secret {name}: it is a part of the chart, install it again")]
    NoSecret { name: String },
    #[error(
        "the Secret {name} cannot be used and is left alone; to have a new CA made, run: \
         kubectl -n {namespace} patch secret {name} --type=merge -p '{{\"data\":null}}'"
    )]
    BrokenSecret {
        namespace: String,
        name: String,
        #[source]
        source: Box<Fault>,
    },
    #[error("make the {what}")]
    Make {
        what: &'static str,
        #[source]
        source: MakeError,
    },
    #[error("write the Secret {name}")]
    WriteSecret {
        name: String,
        #[source]
        source: CallError,
    },
    #[error("publish the CA")]
    Publish(#[source] BundleError),
}

impl Authority {
    /// For the release of `names`. Nothing is read or written before [`run`](Self::run).
    #[must_use]
    pub fn new(client: Client, names: Names, metrics: Metrics) -> Self {
        Self {
            store: Store::new(
                client.clone(),
                names.namespace().as_str(),
                names.serving_secret(),
            ),
            client,
            names,
            served: Arc::default(),
            state: Mutex::default(),
            metrics,
        }
    }

    /// TLS for the API: each new connection gets the certificate of that moment.
    ///
    /// # Errors
    /// None in practice: the provider has TLS 1.3.
    pub fn server_config(&self) -> Result<ServerConfig, rustls::Error> {
        resolver::server_config(Arc::clone(&self.served))
    }

    /// Whether there is a serving certificate that is valid at `now`.
    ///
    /// # Errors
    /// What is missing, for a person. A Secret that breaks later does not count while the certificate
    /// that was read before it is still valid.
    pub fn ready(&self, now: Timestamp) -> Result<(), String> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match (state.until, &state.fault) {
            (Some(until), _) if now < until => Ok(()),
            (_, Some(fault)) => Err(fault.clone()),
            (Some(until), None) => Err(format!("the serving certificate ended at {until}")),
            (None, None) => Err(format!(
                "the Secret {} is still empty; the leader fills it",
                self.names.serving_secret()
            )),
        }
    }

    /// TLS for a question to another replica: trust in the CA that the serving certificate in use is of.
    #[must_use]
    pub fn trust(&self) -> Option<Arc<ClientConfig>> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.trust.clone()
    }

    /// Looks after the certificate for ever. `leader` tells whether this replica writes.
    pub async fn run(self: Arc<Self>, mut leader: watch::Receiver<bool>) {
        loop {
            let leads = *leader.borrow_and_update();
            let outcome = self.tend(leads, clock::now()).await;
            let pause = self.settle(outcome);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                // An elector that ended ends the process; until then nothing changes.
                Ok(()) = leader.changed() => {}
            }
        }
    }

    /// One look: read, serve, and as the leader write what is missing.
    async fn tend(&self, leads: bool, now: Timestamp) -> Result<(), AuthorityError> {
        let name = || self.names.serving_secret();
        let stored = self
            .store
            .read()
            .await
            .map_err(|source| AuthorityError::ReadSecret {
                name: name(),
                source,
            })?;
        let stored = stored.ok_or_else(|| AuthorityError::NoSecret { name: name() })?;
        let mut material = self.parse(&stored.data, now)?;
        if let Some(material) = &material {
            self.serve(material);
        }
        if !leads {
            return Ok(());
        }
        if let Some(data) = self.renewed(material.as_ref(), now)? {
            if !self.write(&stored, &data).await? {
                return Ok(());
            }
            material = self.parse(&data, now)?;
            material.iter().for_each(|material| self.serve(material));
        }
        if let Some(material) = material {
            let ca = &material.authority.certificate;
            if bundle::publish(&self.client, &self.names, ca)
                .await
                .map_err(AuthorityError::Publish)?
            {
                info!(bundle = self.names.trust_bundle(), "trust bundle published");
            }
        }
        Ok(())
    }

    fn parse(&self, data: &Data, now: Timestamp) -> Result<Option<Material>, AuthorityError> {
        Material::parse(data, &self.names.dns(), now).map_err(|source| {
            AuthorityError::BrokenSecret {
                namespace: self.names.namespace().to_string(),
                name: self.names.serving_secret(),
                source: Box::new(source),
            }
        })
    }

    /// The data that is to be stored: a new CA where there is none, a new serving certificate where
    /// the old one is due. `None`: all is well.
    fn renewed(
        &self,
        material: Option<&Material>,
        now: Timestamp,
    ) -> Result<Option<Data>, AuthorityError> {
        let make = |what| move |source| AuthorityError::Make { what, source };
        let made;
        let (authority, until) = match material {
            Some(m) if !certificate::is_due(m.serving_from, m.serving_until, now) => {
                return Ok(None);
            }
            Some(m) => (&m.authority, m.authority_until),
            None => {
                made = certificate::authority(now).map_err(make("CA"))?;
                (&made, now + certificate::AUTHORITY_LIFE)
            }
        };
        let serving = certificate::serving(authority, until, &self.names.dns(), now)
            .map_err(make("serving certificate"))?;
        Ok(Some(material::data(authority, &serving)))
    }

    /// Whether it was written. Another leader may have been faster: then the next look reads its work.
    async fn write(&self, stored: &Stored, data: &Data) -> Result<bool, AuthorityError> {
        match self.store.write(&stored.resource_version, data).await {
            Ok(()) => {
                info!(
                    secret = self.names.serving_secret(),
                    "serving certificate made"
                );
                Ok(true)
            }
            Err(source) if source.is_conflict() => Ok(false),
            Err(source) => Err(AuthorityError::WriteSecret {
                name: self.names.serving_secret(),
                source,
            }),
        }
    }

    fn serve(&self, material: &Material) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let leaf = material
            .serving
            .cert
            .first()
            .map_or(&[][..], |c| c.as_ref());
        if state.leaf == leaf {
            return;
        }
        state.leaf = leaf.to_vec();
        state.until = Some(material.serving_until);
        state.trust = match trust::client_config(&material.authority.certificate) {
            Ok(config) => Some(Arc::new(config)),
            Err(error) => {
                error!(error = %Chain(&error), "no other replica can be asked");
                None
            }
        };
        self.served.swap(Arc::clone(&material.serving));
        self.metrics.certificate_expiry(material.serving_until);
        info!(certificate.until = %material.serving_until, "serving certificate in use");
    }

    /// Keeps what went wrong, tells it once, and says when to look again.
    fn settle(&self, outcome: Result<(), AuthorityError>) -> Duration {
        let fault = outcome.err().map(|error| Chain(&error).to_string());
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(text) = fault
            .as_ref()
            .filter(|text| Some(*text) != state.fault.as_ref())
        {
            error!(error = text, "the serving certificate is not looked after");
        }
        let pause = if fault.is_none() && state.until.is_some() {
            CALM
        } else {
            EAGER
        };
        state.fault = fault;
        pause
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

/// Between two looks when all is well.
const CALM: Duration = Duration::from_secs(60);
/// Between two looks when something is missing.
const EAGER: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests;
