use std::{collections::BTreeSet, time::Duration};

use futures::FutureExt;
use hallpass_core::{
    issuer::IssuerUrl,
    name::{Namespace, PodName, Uid},
};
use kube::client::Body;
use tokio::time::timeout;
use tracing::level_filters::LevelFilter;

use super::{super::task::TaskError, *};
use crate::{
    config::{DefaultIssuer, Engine, Names},
    index::fixture::{self, namespace, pod, service_account},
    lease::tenure::Tenure,
};

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
        evict: None,
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

/// An API server that is overloaded; who asks it for what is at that path, or for anything where that is empty,
/// panics.
fn injected(path: &'static str) -> Client {
    let service = tower::service_fn(move |request: http::Request<Body>| async move {
        let asked = request.uri().path();
        assert!(!path.is_empty() && asked != path, "injected at {asked}");
        let mut answer = http::Response::new(Body::empty());
        *answer.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
        Ok::<_, std::io::Error>(answer)
    });
    Client::new(service, "hallpass-system")
}

/// Longer than any part takes until it asks.
const A_WHILE: Duration = Duration::from_secs(20);

async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

fn panicked(ended: &TaskError, name: &str) -> bool {
    matches!(ended, TaskError::Panicked { task, .. } if *task == name)
}

/// All tasks of a replica that serves with that client: those of its whole life, and those that it ends in the end.
async fn started(client: Client) -> (watch::Sender<Phase>, Tasks, Tasks) {
    let parts = Parts::new(&config(), client, Metrics::new());
    let (phase, phases) = watch::channel(Phase::Serving);
    let (mut steady, mut closing) = (Tasks::default(), Tasks::default());
    let readiness = parts.readiness(Ok(()));
    parts.observe(listener().await, readiness, &mut steady);
    let (inside, outside) = (listener().await, listener().await);
    let listeners = Listeners { inside, outside };
    parts
        .start(listeners, phases, &mut steady, &mut closing)
        .unwrap();
    (phase, steady, closing)
}

/// Whatever moves a part is one of these tasks, whose end ends the process.
#[tokio::test]
async fn f22_every_part_is_watched_over() {
    let (_phase, steady, closing) = started(client()).await;
    let steady = Vec::from_iter(steady.names());
    assert_eq!(
        steady,
        [
            "agreement",
            "audiences",
            "certificate",
            "engine",
            "index",
            "injection",
            "issuers",
            "keys",
            "metrics",
            "plans",
            "policies",
            "replicas",
            "revocations",
            "rotation",
            "signing-keys",
            "standing",
        ]
    );
    let closing = Vec::from_iter(closing.names());
    assert_eq!(closing, ["api", "issuer-api", "lease", "replica"]);
}

/// The index has a watch for each kind, and none of them may end unnoticed.
#[tokio::test]
async fn f22_a_panic_in_a_watch_is_told_to_who_watches_over_it() {
    for (path, task) in [
        ("/api/v1/pods", "index"),
        ("/apis/hallpass.dev/v1alpha1/tokenrevocations", "index"),
    ] {
        let (_phase, mut steady, mut closing) = started(injected(path)).await;
        let first = async {
            tokio::select! {
                ended = steady.first_end() => ended,
                ended = closing.first_end() => ended,
            }
        };
        let ended = timeout(A_WHILE, first).await.expect(path);
        assert!(panicked(&ended, task), "{path}: {ended:?}");
    }
}

/// Those that only the leader has.
#[tokio::test]
async fn f22_a_panic_in_what_the_leader_does_is_told_to_who_watches_over_it() {
    let pods = vec![pod("shop", "orders-0", "orders")];
    let accounts = vec![service_account("shop", "orders")];
    let policies = vec![fixture::policy("shop", "orders", "orders")];
    let index = Index::filled(policies, pods, accounts);
    let namespaces = vec![namespace("shop"), namespace("payments")];
    let audiences = vec![fixture::audience("payments", "JWT")];
    index.allow(audiences, vec![fixture::issuer()], namespaces);
    let (_leads, leader) = watch::channel(Tenure::of(true));
    let of = || {
        let parts = Parts::new(&config(), injected(""), Metrics::new());
        let (reports, release) = (key_reports(&parts.keys), parts.release);
        let common = (leader.clone(), parts.context, parts.metrics);
        (index.clone(), parts.client, reports, release, common)
    };
    let mut tasks = Tasks::default();
    let (index, client, _, _, (leader, context, metrics)) = of();
    tasks.spawn("policies", async move {
        policy::run(index, client, leader, context, metrics).await;
        Ok(())
    });
    let (index, client, _, _, (leader, context, metrics)) = of();
    tasks.spawn("injection", async move {
        injection::run(index, client, leader, context, metrics, None).await;
        Ok(())
    });
    let (index, client, reports, _, (leader, context, metrics)) = of();
    tasks.spawn("audiences", async move {
        audience::run(index, reports, client, leader, context, metrics).await;
        Ok(())
    });
    let (index, client, reports, release, (leader, context, metrics)) = of();
    tasks.spawn("issuers", async move {
        issuer::run(index, reports, release, client, leader, context, metrics).await;
        Ok(())
    });
    let mut told = BTreeSet::new();
    while told.len() < 4 {
        let ended = timeout(A_WHILE, tasks.first_end()).await;
        let ended = ended.expect("another one ends");
        let TaskError::Panicked { task, .. } = ended else {
            panic!("{ended:?}");
        };
        told.insert(task);
    }
    assert_eq!(
        told,
        ["audiences", "injection", "issuers", "policies"].into()
    );
}
