use std::{sync::atomic::AtomicUsize, time::Duration};

use http::{Request, Response};
use kube::client::Body;
use serde_json::json;
use tokio::time::sleep;

use super::{
    super::fixture::{identity, lease},
    *,
};

fn pods(replicas: &Replicas, at: Instant) -> Option<Vec<String>> {
    let others = replicas.others(at)?.into_iter();
    Some(others.map(|peer| peer.pod.to_string()).collect())
}

#[test]
fn the_minimum_is_of_each_kind_on_its_own_over_those_that_live() {
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let leases = vec![lease("a", [5, 9], 0), lease("b", [7, 8], 0)];
    let replicas = Replicas::listed("a", leases, start);
    let minimum = |seconds| {
        let Minimum {
            epochs, replicas, ..
        } = replicas.minimum(at(seconds));
        (epochs, replicas)
    };
    assert_eq!(minimum(0), ([5, 8], 2));
    replicas.deliver(lease("a", [6, 9], 5), at(5));
    assert_eq!(minimum(14), ([6, 8], 2));
    assert_eq!(minimum(15), ([6, 9], 1), "b was not renewed for 15 s");
    assert_eq!(minimum(20), ([0, 0], 0), "nobody lives");
}

#[test]
fn what_none_can_read_is_told_only_where_it_is_the_same() {
    let start = Instant::now();
    let unread = |pod, number: &str| {
        let mut lease = lease(pod, [5, 9], 0);
        let annotations = lease.metadata.annotations.as_mut().unwrap();
        annotations.insert("hallpass.dev/unread".into(), number.into());
        lease
    };
    for (numbers, common) in [
        (["7", "7", "7"], Some(7)),
        (["7", "7", "8"], None),
        (["7", "8", "7"], None),
        (["0", "8", "8"], None),
    ] {
        let leases = ["a", "b", "c"].into_iter().zip(numbers);
        let leases = leases.map(|(pod, number)| unread(pod, number));
        let replicas = Replicas::listed("a", leases.collect(), start);
        assert_eq!(replicas.minimum(start).unread, common, "{numbers:?}");
    }
}

#[test]
fn a_lease_that_is_delivered_again_is_not_renewed_by_that() {
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let replicas = Replicas::listed("a", vec![lease("b", [0, 0], 100)], start);
    replicas.take(index::listed([lease("b", [0, 0], 100)]), at(10));
    replicas.deliver(lease("b", [1, 0], 100), at(12));
    assert_eq!(pods(&replicas, at(14)).unwrap(), ["b"]);
    assert_eq!(pods(&replicas, at(15)).unwrap(), [] as [&str; 0]);
    // The clock of the other went back: only that it changed counts.
    replicas.deliver(lease("b", [1, 0], 50), at(16));
    assert_eq!(pods(&replicas, at(30)).unwrap(), ["b"]);
}

#[test]
fn the_others_are_known_from_the_first_whole_list_on() {
    let (replicas, now) = (Replicas::default(), Instant::now());
    replicas.take(
        vec![Event::Init, Event::InitApply(lease("b", [0, 0], 0))],
        now,
    );
    assert_eq!(pods(&replicas, now), None);
    let replicas = Replicas::listed("a", vec![lease("a", [0, 0], 0), lease("b", [0, 0], 0)], now);
    assert_eq!(pods(&replicas, now).unwrap(), ["b"]);
    replicas.take(vec![Event::Delete(lease("b", [0, 0], 0))], now);
    assert_eq!(pods(&replicas, now).unwrap(), [] as [&str; 0]);
}

#[test]
fn every_change_of_a_lease_is_told() {
    let (replicas, now) = (Replicas::default(), Instant::now());
    let mut changes = replicas.changes();
    replicas.deliver(lease("b", [0, 0], 0), now);
    assert!(changes.has_changed().unwrap());
    changes.mark_unchanged();
    replicas.take(vec![Event::Delete(lease("b", [0, 0], 0))], now);
    assert!(changes.has_changed().unwrap());
}

/// An API server that knows the Lease of `b`, which noticed a restore then, and grants every watch.
fn server(lists: &Arc<AtomicUsize>) -> Client {
    let lists = Arc::clone(lists);
    let service = tower::service_fn(move |request: Request<Body>| {
        let lists = Arc::clone(&lists);
        async move {
            let (uri, query) = (request.uri(), request.uri().query().unwrap_or_default());
            let path = "/apis/coordination.k8s.io/v1/namespaces/hallpass-system/leases";
            assert_eq!(uri.path(), path);
            assert!(
                query.contains("labelSelector=hallpass.dev%2Freplica%3Dhallpass"),
                "{query}"
            );
            if query.contains("watch=true") {
                sleep(Duration::from_secs(5)).await;
                return Response::builder().body(Body::empty());
            }
            lists.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let mut other = lease("b", [3, 4], 0);
            let went_back = ("hallpass.dev/went-back", "2026-11-01T00:00:00Z");
            let annotations = other.metadata.annotations.get_or_insert_default();
            annotations.insert(went_back.0.into(), went_back.1.into());
            let list = json!({
                "kind": "LeaseList", "apiVersion": "coordination.k8s.io/v1",
                "metadata": {"resourceVersion": "10"}, "items": [other],
            });
            Response::builder().body(Body::from(list.to_string().into_bytes()))
        }
    });
    Client::new(service, "hallpass-system")
}

#[tokio::test(start_paused = true)]
async fn what_another_replica_noticed_of_a_restore_is_known_here_and_listed_anew_once() {
    let lists = Arc::default();
    let (replicas, restores) = (Replicas::default(), Restores::default());
    let (freshness, metrics) = (Freshness::default(), Metrics::new());
    let (watching, client) = (replicas.clone(), server(&lists));
    let (proofs, noted) = (freshness.clone(), restores.clone());
    let noted_at = || "2026-11-01T00:00:10Z".parse().unwrap();
    tokio::spawn(async move {
        let identity = identity("a", 1);
        let watch = watching.run(client, &identity, &proofs, &noted, noted_at, &metrics);
        Box::pin(watch).await
    });
    sleep(Duration::from_secs(8)).await;
    let went_back = "2026-11-01T00:00:00Z".parse().ok();
    assert_eq!(*restores.watch().borrow(), went_back);
    assert_eq!(lists.load(std::sync::atomic::Ordering::Relaxed), 2);
    assert_eq!(replicas.minimum(Instant::now()).epochs, [3, 4]);
    assert_eq!(pods(&replicas, Instant::now()).unwrap(), ["b"]);
    assert!(freshness.age(Instant::now()).unwrap() <= Duration::from_secs(9));
}
