//! Whether the pod and the service account of a token are there.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::*;
use jiff::SignedDuration;

/// An index whose pod is what `change` makes of it.
fn index_with(
    change: impl FnOnce(&mut k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta),
) -> Index {
    let mut pod = objects::pod("shop", "orders-0", "orders");
    change(&mut pod.metadata);
    let account = objects::service_account("shop", "orders");
    Index::filled(vec![], vec![pod], vec![account])
}

/// An index that has the service account, but not the pod yet.
fn index_without_pod() -> Index {
    Index::filled(
        vec![],
        vec![],
        vec![objects::service_account("shop", "orders")],
    )
}

/// An index that has the pod, but not the service account yet.
fn index_without_account() -> Index {
    Index::filled(
        vec![],
        vec![objects::pod("shop", "orders-0", "orders")],
        vec![],
    )
}

fn pod_with(pointer: &str, value: Value) -> Answer {
    let mut pod = pod();
    match pointer.rsplit_once('/') {
        Some((parent, name)) => pod.pointer_mut(parent).unwrap()[name] = value,
        None => pod = value,
    }
    Answer::ok(pod)
}

#[tokio::test(start_paused = true)]
async fn a_deleted_pod_counts_for_a_minute_after_its_deletion_was_due() {
    let due = now();
    let cluster = Cluster::new(index_with(|pod| pod.deletion_timestamp = Some(Time(due)))).await;
    let token = cluster.signer.token();
    let after = |seconds| cluster.attest_at(&token, due + SignedDuration::from_secs(seconds));
    assert!(after(-30).await.is_ok());
    assert!(after(59).await.is_ok());
    assert_eq!(after(61).await.unwrap_err(), Code::PodGone);
}

#[tokio::test(start_paused = true)]
async fn t32_a_pod_that_was_recreated_under_its_name_is_another_one() {
    let index = index_with(|pod| pod.uid = Some("uid-of-the-next".to_owned()));
    let cluster = Cluster::new(index).await;
    cluster
        .fake
        .answer(POD, pod_with("/metadata/uid", json!("uid-of-the-next")));
    let old = cluster.attest(&cluster.signer.token()).await;
    assert_eq!(old.unwrap_err(), Code::PodGone);
    let uid = "/kubernetes.io/pod/uid";
    let next = cluster.signer.sign(&with(uid, "uid-of-the-next"));
    assert!(cluster.attest(&next).await.is_ok());
    assert_eq!(cluster.fake.calls(POD), 1);
}

#[tokio::test(start_paused = true)]
async fn t33_what_a_pod_says_of_itself_makes_it_nobody_else() {
    let index = index_with(|pod| {
        let other = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        pod.annotations = Some([other("hallpass.dev/service-account", "admin")].into());
        pod.labels = Some(
            [
                other("hallpass.dev/injected", "true"),
                other("kubernetes.io/metadata.name", "bank"),
            ]
            .into(),
        );
    });
    let cluster = Cluster::new(index).await;
    let attested = cluster.attest(&cluster.signer.token()).await.unwrap();
    assert_eq!(name(&attested), "shop/orders/orders-0");
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_the_watch_has_not_delivered_yet_is_looked_up() {
    // It may have the pod of before under the same name.
    for index in [
        index_without_pod(),
        index_with(|pod| pod.uid = Some("uid-before".to_owned())),
    ] {
        let cluster = Cluster::new(index).await;
        cluster
            .fake
            .answer(POD, pod_with("/metadata/labels/tier", json!("web")));
        let attested = cluster.attest(&cluster.signer.token()).await.unwrap();
        let labels = &attested.subject().labels;
        assert_eq!(
            (labels.get("app").unwrap(), labels.get("tier").unwrap()),
            ("orders", "web")
        );
        assert_eq!(cluster.fake.calls(POD), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_is_looked_up_must_be_one_that_the_watch_selects() {
    let deletion = |seconds: i64| {
        let due = now() - SignedDuration::from_secs(seconds);
        pod_with("/metadata/deletionTimestamp", json!(due.to_string()))
    };
    for (answer, accepted) in [
        (Answer::not_found(), false),
        (pod_with("/metadata/uid", json!("uid-other")), false),
        (pod_with("/metadata/uid", Value::Null), false),
        (pod_with("/metadata/labels", Value::Null), false),
        (
            pod_with("/metadata/labels", json!({"app": "orders"})),
            false,
        ),
        (
            pod_with("/metadata/labels/hallpass.dev~1injected", json!("true")),
            true,
        ),
        (
            pod_with(
                "/metadata/labels",
                json!({"hallpass.dev/injected": "false"}),
            ),
            false,
        ),
        (
            pod_with("/metadata/labels", json!({"hallpass.dev/injected": "true"})),
            true,
        ),
        (pod_with("/status/phase", json!("Succeeded")), false),
        (pod_with("/status/phase", json!("Failed")), false),
        (pod_with("/status/phase", json!("Pending")), true),
        (pod_with("/status/phase", json!("Unknown")), true),
        (pod_with("/status", json!({})), true),
        (deletion(61), false),
        (deletion(59), true),
    ] {
        let cluster = Cluster::new(index_without_pod()).await;
        cluster.fake.answer(POD, answer.clone());
        let attested = cluster.attest(&cluster.signer.token()).await;
        let expected = if accepted { Ok(()) } else { Err(Code::PodGone) };
        assert_eq!(attested.map(|_| ()), expected, "{answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn t32_a_service_account_must_be_the_one_of_the_token() {
    let mut recreated = account();
    recreated["metadata"]["uid"] = json!("uid-of-the-next");
    let mut deleted = account();
    deleted["metadata"]["deletionTimestamp"] = json!(at(START - 1).to_string());
    for (answer, accepted) in [
        (Answer::not_found(), false),
        (Answer::ok(recreated), false),
        (Answer::ok(deleted), false),
        (Answer::ok(account()), true),
    ] {
        let cluster = Cluster::new(index_without_account()).await;
        cluster.fake.answer(ACCOUNT, answer.clone());
        let attested = cluster.attest(&cluster.signer.token()).await;
        let expected = if accepted {
            Ok(())
        } else {
            Err(Code::ServiceAccountGone)
        };
        assert_eq!(attested.map(|_| ()), expected, "{answer:?}");
        assert_eq!(cluster.fake.calls(ACCOUNT), 1);
    }
    // The index has another one of the same name.
    let cluster = Cluster::new(index()).await;
    cluster.fake.answer(ACCOUNT, Answer::ok(account()));
    let uid = "/kubernetes.io/serviceaccount/uid";
    let old = cluster.signer.sign(&with(uid, "uid-before"));
    assert_eq!(
        cluster.attest(&old).await.unwrap_err(),
        Code::ServiceAccountGone
    );
    assert!(cluster.attest(&cluster.signer.token()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_is_looked_up_is_read_however_deep_its_managed_fields_are() {
    let (mut pod, mut account) = (pod(), account());
    for object in [&mut pod, &mut account] {
        object["metadata"]["managedFields"] = objects::deep_fields("f:a");
    }
    let cluster = Cluster::new(empty_index()).await;
    cluster.fake.answer(POD, Answer::ok(pod));
    cluster.fake.answer(ACCOUNT, Answer::ok(account));
    let attested = cluster.attest(&cluster.signer.token()).await.unwrap();
    assert_eq!(name(&attested), "shop/orders/orders-0");
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_does_not_answer_makes_nothing_gone() {
    for answer in [
        Answer::failure(500, "InternalError"),
        Answer::failure(403, "Forbidden"),
        // From something that stands between.
        Answer::Json(404, json!("page not found")),
        Answer::ok(json!({"metadata": 7})),
        Answer::Silence,
    ] {
        let cluster = Cluster::new(index_without_pod()).await;
        cluster.fake.answer(POD, answer.clone());
        let token = cluster.signer.token();
        let attested = cluster.attest(&token).await;
        assert_eq!(attested.unwrap_err(), Code::Unavailable, "{answer:?}");
        cluster.fake.answer(POD, Answer::ok(pod()));
        assert!(
            cluster.attest(&token).await.is_ok(),
            "it is no answer to remember"
        );

        let cluster = Cluster::new(index_without_account()).await;
        cluster.fake.answer(ACCOUNT, answer.clone());
        let attested = cluster.attest(&cluster.signer.token()).await;
        assert_eq!(attested.unwrap_err(), Code::Unavailable, "{answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_token_without_a_pod_cannot_make_the_operator_ask_and_ask() {
    let cluster = Cluster::new(index_without_pod()).await;
    cluster.fake.answer(POD, Answer::not_found());
    let token = cluster.signer.token();
    let all = || futures::future::join_all((0..100).map(|_| cluster.attest(&token)));
    for code in all().await {
        assert_eq!(code.unwrap_err(), Code::PodGone);
    }
    let asked = cluster.fake.calls(POD);
    assert!((1..=8).contains(&asked), "{asked}");
    cluster.fake.answer(POD, Answer::ok(pod()));
    advance(Duration::from_millis(1999)).await;
    assert_eq!(cluster.attest(&token).await.unwrap_err(), Code::PodGone);
    assert_eq!(cluster.fake.calls(POD), asked);
    advance(Duration::from_millis(1)).await;
    assert!(cluster.attest(&token).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_empty_index_is_bridged_by_one_look_at_each_object() {
    let cluster = Cluster::new(empty_index()).await;
    cluster.fake.answer(POD, Answer::ok(pod()));
    cluster.fake.answer(ACCOUNT, Answer::ok(account()));
    let attested = cluster.attest(&cluster.signer.token()).await.unwrap();
    assert_eq!(name(&attested), "shop/orders/orders-0");
    assert_eq!(
        (cluster.fake.calls(POD), cluster.fake.calls(ACCOUNT)),
        (1, 1)
    );
}
