//! Where a webhook injects, on a cluster that may have no trust bundles.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::*;

#[tokio::test]
async fn f13_the_api_server_is_told_each_ca_before_it_signs_and_no_trust_bundle_is_touched() {
    let cluster = Shared::default();
    cluster.lock().unwrap().webhook = Some(json!({
        "metadata": {"name": "hallpass-inject", "resourceVersion": "1"},
        "webhooks": [{
            "name": "pod.inject.hallpass.dev", "clientConfig": {},
            "sideEffects": "None", "admissionReviewVersions": ["v1"],
        }],
    }));
    let told = || {
        let cluster = cluster.lock().unwrap();
        let webhook = cluster.webhook.as_ref().unwrap();
        let ca = webhook["webhooks"][0]["clientConfig"]["caBundle"].as_str();
        String::from_utf8(STANDARD.decode(ca.unwrap()).unwrap()).unwrap()
    };
    let leader = authority_for(&cluster, Engine::Webhook);
    for (days, cas) in [(0, 1), (1826, 2), (1827, 2), (1829, 2), (3650, 1)] {
        // The second look is for the CA, where the first one renewed the serving certificate.
        leader.tend(true, || later(days)).await.unwrap();
        leader.tend(true, || later(days)).await.unwrap();
        assert_eq!(told(), leader.bundle().unwrap());
        assert_eq!(told().matches("BEGIN").count(), cas, "after {days} days");
    }
    // A caBundle that somebody broke is put right soon.
    assert_eq!(leader.settle(Ok(())), Duration::from_secs(15));
}
