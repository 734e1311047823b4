//! The parts of the operator, and the tasks that move them.

use std::sync::{Arc, Mutex};

use hallpass_core::{issuer::Issuer, token::cache::VerifiedCache};
use hallpass_crds::token_issuer::KeyState;
use kube::Client;
use tokio::{net::TcpListener, sync::watch, time::Instant};

use super::{agree::agree, engine, task::Tasks};
use crate::{
    api::{self, Api, Webhook},
    attest::Attestor,
    audit::Audit,
    clock,
    config::{Config, Engine, Evict},
    controller::{
        Context, audience,
        injection::{self, Evictions},
        issuer::{
            self, Release,
            keys::{IssuerKeys, KeyReports, ReportedKey},
        },
        policy,
        revocation::{self, Agreement},
    },
    index::Index,
    inject::Settings,
    issue::Issuance,
    issuer::{
        Issuers,
        hallpass::Mint,
        kubernetes::{Minter, OperatorId},
    },
    keys::{
        Keys, plans,
        rotate::{self, Plans},
        rotation,
    },
    lease::Elector,
    replica::Identity,
    restore::Restores,
    revoke::Revoker,
    telemetry::{Metrics, health::Readiness, server},
    tls::Authority,
};

mod replica;

/// How far the shutdown is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// It is not asked for.
    Serving,
    /// Not ready and not the leader, but requests are still taken: not every node knows yet.
    Leaving,
    /// No new requests.
    Closing,
}

/// Where requests come in.
pub(super) struct Listeners {
    /// From sidecars and verifiers.
    pub(super) inside: TcpListener,
    /// From the world beyond the cluster.
    pub(super) outside: TcpListener,
}

/// Everything that has state.
pub(super) struct Parts {
    client: Client,
    metrics: Metrics,
    index: Index,
    attestor: Arc<Attestor>,
    authority: Arc<Authority>,
    elector: Elector,
    context: Context,
    keys: Keys,
    restores: Restores,
    identity: Identity,
    release: Release,
    engine: Engine,
    /// Whether the cluster has what the engine needs.
    fit: watch::Sender<Result<(), String>>,
    injection: Option<Settings>,
    evict: Option<Evict>,
}

impl Parts {
    pub(super) fn new(config: &Config, client: Client, metrics: Metrics) -> Self {
        let Config { names, pod, .. } = config;
        let index = Index::new(metrics.clone(), clock::now);
        let restores = Restores::new(metrics.clone());
        let attestor = Attestor::new(
            index.clone(),
            client.clone(),
            names.identity_audience(),
            metrics.clone(),
        );
        let kind = config.engine;
        let authority = Authority::new(client.clone(), names.clone(), kind, metrics.clone());
        let elector = Elector::new(
            client.clone(),
            names.namespace().as_str(),
            names.lease(),
            pod.as_str(),
            restores.clone(),
            metrics.clone(),
        );
        let operator = OperatorId {
            namespace: names.namespace().to_string(),
            name: names.lease().to_owned(),
        };
        let context = Context {
            operator,
            pod: pod.to_string(),
            clock: clock::now,
        };
        Self {
            client,
            keys: Keys::new(metrics.clone()),
            metrics,
            index,
            attestor: Arc::new(attestor),
            authority: Arc::new(authority),
            elector,
            context,
            restores,
            identity: Identity::of(config),
            engine: kind,
            fit: watch::Sender::new(engine::unknown()),
            release: Release {
                names: names.clone(),
                issuer: config.issuer.clone(),
            },
            injection: config.injection.clone(),
            evict: config.evict,
        }
    }

    /// What must hold before this replica is asked.
    pub(super) fn readiness(&self, audiences: Result<(), String>) -> Readiness {
        let fit = self.fit.subscribe();
        let (index, standing, attestor, authority, keys) = (
            self.index.clone(),
            self.index.standing().clone(),
            Arc::clone(&self.attestor),
            Arc::clone(&self.authority),
            self.keys.clone(),
        );
        Readiness::default()
            .with("synced", move || {
                index.snapshot().map(drop).map_err(|e| e.to_string())
            })
            .with("current", move || {
                let current = standing.may_issue(Instant::now());
                current.map_err(|e| e.to_string())
            })
            .with("keys", move || {
                if attestor.ready() {
                    Ok(())
                } else {
                    Err("the cluster's keys have not been read yet".into())
                }
            })
            .with("signing-keys", move || {
                if keys.synced() {
                    Ok(())
                } else {
                    Err("the issuers' keys have not been read yet".into())
                }
            })
            .with("certificate", move || authority.ready(clock::now()))
            .with("audiences", move || audiences.clone())
            .with("engine", move || fit.borrow().clone())
    }

    /// Starts what tells how the operator is.
    pub(super) fn observe(&self, listener: TcpListener, readiness: Readiness, steady: &mut Tasks) {
        let router = server::router(self.metrics.clone(), readiness);
        steady.spawn("metrics", async {
            server::serve(listener, router).await;
            Ok(())
        });
        let (client, names) = (self.client.clone(), self.release.names.clone());
        steady.spawn(
            "engine",
            engine::run(client, names, self.engine, self.fit.clone()),
        );
    }

    /// Starts the rest: `steady` tasks run for ever, `closing` ones until their phase.
    pub(super) fn start(
        self,
        listeners: Listeners,
        phases: watch::Receiver<Phase>,
        steady: &mut Tasks,
        closing: &mut Tasks,
    ) -> Result<(), rustls::Error> {
        self.sign(steady);
        self.report(steady);
        self.stand(phases.clone(), steady, closing);
        let tls = Arc::new(self.authority.server_config()?);
        let api = Arc::new(self.api());
        let inside = api::inside(Arc::clone(&api));
        let outside = api::outside(api);
        let Self {
            client,
            index,
            attestor,
            authority,
            elector,
            restores,
            ..
        } = self;
        let leader = elector.watch();
        for (name, listener, front) in [
            ("api", listeners.inside, inside),
            ("issuer-api", listeners.outside, outside),
        ] {
            let (tls, over) = (Arc::clone(&tls), reached(phases.clone(), Phase::Closing));
            closing.spawn(name, async move {
                api::serve(listener, tls, front, clock::now, over).await;
                Ok(())
            });
        }
        closing.spawn("lease", {
            let leaving = reached(phases, Phase::Leaving);
            async move {
                elector.run(leaving).await;
                Ok(())
            }
        });
        steady.spawn("index", async move {
            Err(Box::pin(index.run(client, &restores)).await.into())
        });
        steady.spawn("keys", async move {
            attestor.run().await;
            Ok(())
        });
        steady.spawn("certificate", async move {
            authority.run(leader).await;
            Ok(())
        });
        Ok(())
    }

    fn api(&self) -> Api {
        let (client, metrics) = (self.client.clone(), self.metrics.clone());
        let issuers = Issuers {
            kubernetes: Minter::new(client, self.context.operator.clone(), metrics.clone()),
            hallpass: Mint::new(
                self.keys.clone(),
                self.index.revocations().clone(),
                rand::random,
            ),
        };
        let audit = Audit::stdout();
        Api {
            attestor: Arc::clone(&self.attestor),
            index: self.index.clone(),
            issuance: Issuance::new(self.index.clone(), issuers, audit, metrics.clone()),
            keys: self.keys.clone(),
            verified: Mutex::new(VerifiedCache::new(api::REMEMBERED)),
            revoker: Revoker::new(self.client.clone(), self.release.names.clone()),
            anchors: self.authority.anchors(),
            webhook: self.webhook(),
            metrics,
            clock: clock::now,
        }
    }

    fn webhook(&self) -> Option<Webhook> {
        let authority = Arc::clone(&self.authority);
        let settings = self.injection.clone()?;
        Some(Webhook::new(settings, move || authority.bundle()))
    }

    /// Starts what keeps the issuers' keys.
    fn sign(&self, steady: &mut Tasks) {
        let namespace = self.release.names.keys_namespace();
        let (wanted, plans) = watch::channel(Plans::default());
        steady.spawn("signing-keys", {
            let (keys, client) = (self.keys.clone(), self.client.clone());
            let (namespace, restores) = (namespace.clone(), self.restores.clone());
            async move {
                keys.run(client, namespace, restores).await;
                Ok(())
            }
        });
        steady.spawn("plans", {
            let (index, restores) = (self.index.clone(), self.restores.clone());
            async move {
                plans::run(index, restores, wanted).await;
                Ok(())
            }
        });
        steady.spawn("rotation", {
            let (keys, client, metrics) =
                (self.keys.clone(), self.client.clone(), self.metrics.clone());
            let leader = self.elector.watch();
            async move {
                rotate::run(keys, client, namespace, leader, plans, clock::now, metrics).await;
                Ok(())
            }
        });
    }

    /// Starts what writes statuses while this replica leads.
    fn report(&self, steady: &mut Tasks) {
        let reports = key_reports(&self.keys);
        let of = || {
            (
                self.index.clone(),
                self.client.clone(),
                self.elector.watch(),
                self.context.clone(),
                self.metrics.clone(),
            )
        };
        let (index, client, leader, context, metrics) = of();
        steady.spawn("policies", async move {
            policy::run(index, client, leader, context, metrics).await;
            Ok(())
        });
        let (index, client, leader, context, metrics) = of();
        let evictions = self.evict.map(|which| Evictions {
            which,
            fit: self.fit.subscribe(),
        });
        steady.spawn("injection", async move {
            injection::run(index, client, leader, context, metrics, evictions).await;
            Ok(())
        });
        let (index, client, leader, context, metrics) = of();
        let keys = reports.clone();
        steady.spawn("audiences", async move {
            audience::run(index, keys, client, leader, context, metrics).await;
            Ok(())
        });
        let (index, client, leader, context, metrics) = of();
        let release = self.release.clone();
        steady.spawn("issuers", async move {
            issuer::run(index, reports, release, client, leader, context, metrics).await;
            Ok(())
        });
        let (index, client, leader, context, metrics) = of();
        let (told, agreement) = watch::channel(Agreement::default());
        let replicas = self.index.standing().replicas().clone();
        steady.spawn("agreement", agree(replicas, told));
        let keys = self.keys.clone();
        steady.spawn("revocations", async move {
            revocation::run(index, keys, agreement, client, leader, context, metrics).await;
            Ok(())
        });
    }
}

/// The keys of an issuer as its status tells of them.
fn key_reports(keys: &Keys) -> KeyReports {
    let (read, changes) = (keys.clone(), keys.changes());
    let keys = keys.clone();
    let look = move |issuer: &Issuer, now| {
        let id = issuer.url.id();
        let told = keys.states(&id, now).into_iter().map(|key| ReportedKey {
            kid: key.kid,
            algorithm: key.algorithm,
            state: match key.phase {
                rotation::Phase::Active => KeyState::Active,
                rotation::Phase::Next => KeyState::Next,
                rotation::Phase::Retired => KeyState::Retired,
            },
            since: key.since,
            until: key.until,
        });
        IssuerKeys {
            keys: told.collect(),
            next_rotation: keys.next_rotation(&id, &plans::plan(issuer), now),
        }
    };
    KeyReports::new(look, move || read.synced(), changes)
}

/// Ends when the shutdown has come that far, or when nobody is left to tell.
async fn reached(mut phases: watch::Receiver<Phase>, phase: Phase) {
    // Its error says that the sender is gone, and then the process ends too.
    drop(phases.wait_for(|p| *p >= phase).await);
}

#[cfg(test)]
mod tests;
