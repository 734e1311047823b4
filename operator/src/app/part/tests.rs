use futures::FutureExt;
use hallpass_core::{
    issuer::IssuerUrl,
    name::{Namespace, PodName, Uid},
};
use kube::client::Body;
use tracing::level_filters::LevelFilter;

use super::*;
use crate::config::{DefaultIssuer, Engine, Names};

fn config() -> Config {
    let name = |text| Namespace::parse(text).unwrap();
    Config {
        names: Names::new(name("hallpass"), name("hallpass-system")),
        pod: PodName::parse("hallpass-0").unwrap(),
        pod_uid: Uid::parse("uid-hallpass-0").unwrap(),
        pod_ip: [127, 0, 0, 1].into(),
        api_server_audiences: Vec::new(),
        engine: Engine::AdmissionPolicy,
        issuer: DefaultIssuer {
            url: IssuerUrl::parse("https://id.example").unwrap(),
            algorithm: None,
            rotate_every: None,
            spiffe_trust_domain: None,
        },
        injection: None,
        api_addr: ([127, 0, 0, 1], 0).into(),
        issuer_addr: ([127, 0, 0, 1], 0).into(),
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
    assert_eq!(
        missing,
        [
            "synced",
            "current",
            "keys",
            "signing-keys",
            "certificate",
            "audiences",
            "engine"
        ]
    );
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
