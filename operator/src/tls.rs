//! The operator's own CA and serving certificate, shared by the replicas through one Secret.
//!
//! Every replica reads the Secret and serves what is in it. The leader fills it while it is empty,
//! renews the serving certificate at half of its life, has each CA followed by the next one, and publishes
//! all that are to be trusted: as a ClusterTrustBundle, which the kubelet mounts into the pods, or where a
//! webhook injects, as its `caBundle`. What cannot be read is never overwritten: sidecars may trust it. What has merely ended is replaced.

use std::{
    cmp::min,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use kube::Client;
use rustls::{ClientConfig, ServerConfig};
use tokio::sync::watch;
use tracing::{error, info, warn};

use self::{
    certificate::{LIVES, MakeError},
    material::{Content, Data, Fault, Material},
    place::{Found, Place, PlaceError},
    resolver::Served,
    rotation::{Life, Lives, Step},
    store::{Store, Stored},
};
use crate::{
    call::CallError,
    clock,
    config::{Engine, Names},
    lease::tenure::Tenure,
    telemetry::{Metrics, log::Chain},
};

mod bundle;
mod certificate;
mod material;
mod place;
mod resolver;
mod rotation;
mod store;
mod trust;

pub use self::trust::{Anchors, Bundle};

/// Keeps the serving certificate. One per process.
pub struct Authority {
    client: Client,
    names: Names,
    store: Store,
    place: Place,
    lives: Lives,
    served: Arc<Served>,
    anchors: Anchors,
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
    /// The life of its CA.
    authority: Option<Life>,
    /// Trusts those who serve under one of the CAs that are to be trusted.
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
    #[error("make a certificate")]
    Make(#[source] MakeError),
    #[error("write the Secret {name}")]
    WriteSecret {
        name: String,
        #[source]
        source: CallError,
    },
    #[error("publish the CA")]
    Publish(#[source] PlaceError),
}

impl Authority {
    /// For the release of `names`, whose pods are injected by `engine`. Nothing is read or written before
    /// [`run`](Self::run).
    #[must_use]
    pub fn new(client: Client, names: Names, engine: Engine, metrics: Metrics) -> Self {
        Self {
            store: Store::new(
                client.clone(),
                names.namespace().as_str(),
                names.serving_secret(),
            ),
            place: Place::new(engine, client.clone(), names.clone()),
            client,
            names,
            lives: LIVES,
            served: Arc::default(),
            anchors: Anchors::default(),
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
        let authority = state.authority.filter(|life| life.is_over(now));
        match (state.until, &state.fault, authority) {
            (Some(until), _, None) if now < until => Ok(()),
            (_, Some(fault), _) => Err(fault.clone()),
            (_, None, Some(Life { until, .. })) => Err(format!(
                "the CA of the serving certificate ended at {until}; the leader makes a new one"
            )),
            (Some(until), None, None) => Err(format!(
                "the serving certificate ended at {until}; the leader makes a new one"
            )),
            (None, None, None) => Err(format!(
                "the Secret {} is still empty; the leader fills it",
                self.names.serving_secret()
            )),
        }
    }

    /// TLS for a question to another replica: trust in all CAs under which one may serve.
    #[must_use]
    pub fn trust(&self) -> Option<Arc<ClientConfig>> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.trust.clone()
    }

    /// The CAs that clients are to trust, in PEM: those that sign, that signed and that will sign. `None`
    /// before the Secret was read.
    #[must_use]
    pub fn bundle(&self) -> Option<String> {
        self.anchors.pem().as_deref().map(str::to_owned)
    }

    /// The same for who hands them on, and always those of the time.
    #[must_use]
    pub fn anchors(&self) -> Anchors {
        self.anchors.clone()
    }

    /// Looks after the certificate for ever. `leader` tells whether this replica writes.
    pub async fn run(self: Arc<Self>, mut leader: watch::Receiver<Tenure>) {
        loop {
            let leads = leader.borrow_and_update().may_write();
            let outcome = self.tend(leads, clock::now).await;
            let pause = self.settle(outcome);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                // An elector that ended ends the process; until then nothing changes.
                Ok(()) = leader.changed() => {}
            }
        }
    }

    /// One look: read, serve, and as the leader write what is missing, one step at a time.
    async fn tend(&self, leads: bool, clock: impl Fn() -> Timestamp) -> Result<(), AuthorityError> {
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
        let mut material = self.parse(&stored.data, clock())?;
        material.iter().for_each(|material| self.serve(material));
        if !leads {
            return Ok(());
        }
        let found = self.place.find(&self.client, &self.names).await;
        // Where nobody can tell what is published, the certificate is looked after all the same.
        let says = |found: &Found, m: &Material| found.says(&self.names, &m.bundle());
        let published = found
            .as_ref()
            .ok()
            .zip(material.as_ref())
            .map(|(found, material)| says(found, material));
        // Not before it was seen what is published: a time of before would tell of longer than it was.
        let now = clock();
        if let Some((step, content)) = self.due(material.as_ref(), published, now)? {
            let data = content.data();
            if !self.write(&stored, &data, step).await? {
                return Ok(());
            }
            material = self.parse(&data, now)?;
            material.iter().for_each(|material| self.serve(material));
        }
        let found = found.map_err(AuthorityError::Publish)?;
        let Some(material) = material else {
            return Ok(());
        };
        let bundle = material.bundle();
        let written = found.publish(&self.client, &self.names, &bundle).await;
        if written.map_err(AuthorityError::Publish)? {
            info!(place = ?self.place, "the CAs to trust are published");
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

    /// What is to be done, and what is to be stored for it. `None`: all is well.
    fn due(
        &self,
        material: Option<&Material>,
        published: Option<bool>,
        now: Timestamp,
    ) -> Result<Option<(Step, Content)>, AuthorityError> {
        let dns = self.names.dns();
        let Some(material) = material else {
            let first = Content::first(&dns, self.lives, now).map_err(AuthorityError::Make)?;
            return Ok(Some((Step::Replace, first)));
        };
        let Some(step) = rotation::step(&material.scene(), published, self.lives, now) else {
            return Ok(None);
        };
        let Life { until, .. } = material.authority_life();
        if until <= now {
            warn!(
                authority.until = %until,
                "the CA had ended: another one signs at once, and pods reach the operator again when they have read it"
            );
        }
        let content = material.after(step, &dns, self.lives, now);
        Ok(Some((step, content.map_err(AuthorityError::Make)?)))
    }

    /// Whether it was written. Another leader may have been faster: then the next look reads its work.
    async fn write(
        &self,
        stored: &Stored,
        data: &Data,
        step: Step,
    ) -> Result<bool, AuthorityError> {
        match self.store.write(&stored.resource_version, data).await {
            Ok(()) => {
                let secret = self.names.serving_secret();
                info!(secret, step = ?step, "the CA and the serving certificate went a step");
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
        let (bundle, authority) = (material.bundle(), material.authority_life());
        if self.anchors.set(bundle.clone()) {
            state.trust = match trust::client_config(&bundle) {
                Ok(config) => Some(Arc::new(config)),
                Err(error) => {
                    error!(error = %Chain(&error), "no other replica can be asked");
                    None
                }
            };
        }
        let serving = material.serving();
        let leaf = serving.cert.first().map_or(&[][..], |c| c.as_ref());
        if state.leaf == leaf {
            return;
        }
        let until = material.serving_until();
        state.leaf = leaf.to_vec();
        state.until = Some(until);
        state.authority = Some(authority);
        self.served.swap(Arc::clone(serving));
        self.metrics.certificate_expiry(until);
        self.metrics.authority_expiry(authority.until);
        info!(certificate.until = %until, authority.until = %authority.until, "serving certificate in use");
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
        let pause = match state.authority {
            Some(authority) if fault.is_none() => min(self.place.pace(), rotation::pace(authority)),
            _ => EAGER,
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

/// Between two looks when something is missing.
const EAGER: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests;
