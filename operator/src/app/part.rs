//! The parts of the operator, and the tasks that move them.

use std::sync::Arc;

use kube::Client;
use tokio::{net::TcpListener, sync::watch};

use super::task::Tasks;
use crate::{
    api::{self, Api},
    attest::Attestor,
    audit::Audit,
    clock,
    config::Config,
    controller::policy::{self, Context},
    index::Index,
    issue::Issuance,
    issuer::kubernetes::{Minter, OperatorId},
    lease::Elector,
    telemetry::{Metrics, health::Readiness, server},
    tls::Authority,
};

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

/// Everything that has state.
pub(super) struct Parts {
    client: Client,
    metrics: Metrics,
    index: Index,
    attestor: Arc<Attestor>,
    authority: Arc<Authority>,
    elector: Elector,
    context: Context,
}

impl Parts {
    pub(super) fn new(config: &Config, client: Client, metrics: Metrics) -> Self {
        let Config { names, pod, .. } = config;
        let index = Index::new(metrics.clone());
        let attestor = Attestor::new(
            index.clone(),
            client.clone(),
            names.identity_audience(),
            metrics.clone(),
        );
        let authority = Authority::new(client.clone(), names.clone(), metrics.clone());
        let elector = Elector::new(
            client.clone(),
            names.namespace().as_str(),
            names.lease(),
            pod.as_str(),
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
            metrics,
            index,
            attestor: Arc::new(attestor),
            authority: Arc::new(authority),
            elector,
            context,
        }
    }

    /// What must hold before this replica is asked.
    pub(super) fn readiness(&self, audiences: Result<(), String>) -> Readiness {
        let (index, attestor, authority) = (
            self.index.clone(),
            Arc::clone(&self.attestor),
            Arc::clone(&self.authority),
        );
        Readiness::default()
            .with("synced", move || {
                index.snapshot().map(drop).map_err(|e| e.to_string())
            })
            .with("keys", move || {
                if attestor.ready() {
                    Ok(())
                } else {
                    Err("the cluster's keys have not been read yet".into())
                }
            })
            .with("certificate", move || authority.ready(clock::now()))
            .with("audiences", move || audiences.clone())
    }

    /// Starts what tells how the operator is.
    pub(super) fn observe(&self, listener: TcpListener, readiness: Readiness, steady: &mut Tasks) {
        let router = server::router(self.metrics.clone(), readiness);
        steady.spawn("metrics", async {
            server::serve(listener, router).await;
            Ok(())
        });
    }

    /// Starts the rest: `steady` tasks run for ever, `closing` ones until their phase.
    pub(super) fn start(
        self,
        listener: TcpListener,
        phases: watch::Receiver<Phase>,
        steady: &mut Tasks,
        closing: &mut Tasks,
    ) -> Result<(), rustls::Error> {
        let Self {
            client,
            metrics,
            index,
            attestor,
            authority,
            elector,
            context,
        } = self;
        let tls = Arc::new(authority.server_config()?);
        let leader = elector.watch();
        let minter = Minter::new(client.clone(), context.operator.clone(), metrics.clone());
        let issuance = Issuance::new(
            index.clone(),
            minter,
            Audit::new(std::io::stdout()),
            metrics.clone(),
        );
        let router = api::router(Api {
            attestor: Arc::clone(&attestor),
            index: index.clone(),
            issuance,
            metrics: metrics.clone(),
            clock: clock::now,
        });
        closing.spawn("api", {
            let closing = reached(phases.clone(), Phase::Closing);
            async move {
                api::serve(listener, tls, router, closing).await;
                Ok(())
            }
        });
        closing.spawn("lease", {
            let leaving = reached(phases, Phase::Leaving);
            async move {
                elector.run(leaving).await;
                Ok(())
            }
        });
        steady.spawn("index", {
            let (index, client) = (index.clone(), client.clone());
            async move { Err(index.run(client).await.into()) }
        });
        steady.spawn("keys", async move {
            attestor.run().await;
            Ok(())
        });
        steady.spawn("certificate", {
            let leader = leader.clone();
            async move {
                authority.run(leader).await;
                Ok(())
            }
        });
        steady.spawn("policies", async move {
            policy::run(index, client, leader, context, metrics).await;
            Ok(())
        });
        Ok(())
    }
}

/// Ends when the shutdown has come that far, or when nobody is left to tell.
async fn reached(mut phases: watch::Receiver<Phase>, phase: Phase) {
    // Its error says that the sender is gone, and then the process ends too.
    drop(phases.wait_for(|p| *p >= phase).await);
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use hallpass_core::name::{Namespace, PodName};
    use kube::client::Body;
    use tracing::level_filters::LevelFilter;

    use super::*;
    use crate::config::Names;

    fn config() -> Config {
        let name = |text| Namespace::parse(text).unwrap();
        Config {
            names: Names::new(name("hallpass"), name("hallpass-system")),
            pod: PodName::parse("hallpass-0").unwrap(),
            api_server_audiences: Vec::new(),
            api_addr: ([127, 0, 0, 1], 0).into(),
            metrics_addr: ([127, 0, 0, 1], 0).into(),
            log_level: LevelFilter::INFO,
        }
    }

    /// An API server that never answers.
    fn client() -> Client {
        let service = tower::service_fn(|_: http::Request<Body>| {
            std::future::pending::<Result<http::Response<Body>, std::io::Error>>()
        });
        Client::new(service, "hallpass-system")
    }

    #[tokio::test]
    async fn a_replica_that_has_read_nothing_names_all_that_it_waits_for() {
        let parts = Parts::new(&config(), client(), Metrics::new());
        let missing = parts.readiness(Err("add k3s".into())).missing();
        let missing: Vec<_> = missing.iter().map(|m| m.condition).collect();
        assert_eq!(missing, ["synced", "keys", "certificate", "audiences"]);
    }

    #[tokio::test]
    async fn a_phase_is_reached_in_it_and_after_it_and_when_nobody_is_left_to_tell() {
        let (phase, phases) = watch::channel(Phase::Serving);
        let is_leaving = || reached(phases.clone(), Phase::Leaving).now_or_never();
        assert_eq!(is_leaving(), None);
        phase.send_replace(Phase::Leaving);
        assert_eq!(is_leaving(), Some(()));
        phase.send_replace(Phase::Closing);
        assert_eq!(is_leaving(), Some(()));
        phase.send_replace(Phase::Serving);
        drop(phase);
        assert_eq!(is_leaving(), Some(()));
    }
}
