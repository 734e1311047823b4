//! As many revocations as there can be.

use hallpass_core::revocation::MOST;
use hallpass_crds::cluster_token_revocation::ClusterTokenRevocation;

use super::*;

/// So many revocations of the cluster, each of one token.
fn many(count: usize, said: bool) -> Vec<ClusterTokenRevocation> {
    let spec = json!({"target": {"tokenID": "id"}});
    let mut one = cluster_revocation("inc", 7, &spec);
    if said {
        let condition = json!({
            "type": "Enforced", "status": "True", "reason": "Enforced", "message": "",
            "lastTransitionTime": "2026-11-01T00:00:00Z",
        });
        let status = json!({"epoch": "7", "conditions": [condition]});
        one.status = serde_json::from_value(status).unwrap();
    }
    let named = |i| {
        let mut one = one.clone();
        one.metadata.name = Some(format!("inc-{i}"));
        one.metadata.uid = Some(format!("0f2f4b9c-7c1c-4c5e-9f43-{i:012x}"));
        one.spec.target.token_id = Some(format!("id-{i}"));
        one
    };
    (0..count).map(named).collect()
}

#[tokio::test(start_paused = true)]
async fn nothing_to_say_about_a_hundred_thousand_costs_one_pass_in_small_steps() {
    let index = index();
    index.revoke(vec![], many(MOST, true));
    let snapshot = index.snapshot().unwrap();
    let (agreement, elsewhere, outside) = (read(7), Elsewhere::default(), Outside::default());
    let keys = Keys::of(&[]);
    let view = View {
        agreement: &agreement,
        elsewhere: &elsewhere,
        outside: &outside,
        revocations: index.revocations(),
        keys: &keys,
        snapshot: &snapshot,
        home: "hallpass-system",
        now: now(),
    };
    let none = BTreeMap::new();
    let (mut round, pauses, mut events) = (Round::default(), Pauses::default(), Events::default());
    let mut look = Box::pin(round.look((index.revocations(), &none), &view, &pauses, &mut events));
    let mut steps = 1;
    while look.as_mut().now_or_never().is_none() {
        steps += 1;
    }
    drop(look);
    assert!((20..=100).contains(&steps), "{steps} steps");
    assert!(round.own.is_empty() && round.cluster.is_empty());
    assert!(round.deletions.is_empty() && !round.is_full());
    // It is looked again when the first of them expires, and not before.
    let again = round.later(now().as_second()).unwrap() - Instant::now();
    assert_eq!(again, Duration::from_secs(3601));
}

#[tokio::test]
async fn ten_thousand_and_a_thousand_policies_are_one_quick_look() {
    let policies = (0..1000).map(|i| {
        let mut policy = policy("shop", &format!("p-{i}"), "a");
        policy.spec.subjects = (0..16).map(|j| subject(&format!("a-{i}-{j}"))).collect();
        policy
    });
    let index = Index::filled(policies.collect(), vec![], vec![]);
    let own = (0..10_000).map(|i| {
        let spec = json!({"target": {"serviceAccount": format!("b-{i}")}});
        let mut one = revocation(&format!("inc-{i}"), i + 7, &spec);
        one.status.clone_from(&many(1, true)[0].status);
        one
    });
    index.revoke(own.collect(), vec![]);
    let snapshot = index.snapshot().unwrap();
    let rules = snapshot.rules();
    let outside = Outside::new(&rules.policies, &snapshot.asking());
    let (agreement, elsewhere, keys) = (read(20_000), Elsewhere::default(), Keys::of(&[]));
    let view = View {
        agreement: &agreement,
        elsewhere: &elsewhere,
        outside: &outside,
        revocations: index.revocations(),
        keys: &keys,
        snapshot: &snapshot,
        home: "hallpass-system",
        now: now(),
    };
    let none = BTreeMap::new();
    let (mut round, pauses, mut events) = (Round::default(), Pauses::default(), Events::default());
    let began = std::time::Instant::now();
    let look = round.look((index.revocations(), &none), &view, &pauses, &mut events);
    look.await;
    let took = began.elapsed();
    assert!(round.own.is_empty(), "{}", round.own.len());
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn thousands_are_written_a_bounded_number_at_a_time_and_with_few_events() {
    let running = start(true, index());
    running.index.revoke(vec![], many(3000, false));
    let sent = after(&running.server, 4).await;
    assert!((2048..2048 + 256).contains(&sent.len()), "{}", sent.len());
    let names: BTreeSet<_> = sent.iter().collect();
    assert_eq!(names.len(), sent.len(), "each once");
    assert_eq!(running.events().len(), 500);
    // What comes back makes place for the rest.
    let mut stored = many(3000, true);
    let rest = many(3000, false).split_off(2500);
    stored.truncate(2500);
    stored.extend(rest);
    running.index.revoke(vec![], stored);
    let later = after(&running.server, 8).await;
    let sent: BTreeSet<_> = sent.iter().chain(&later).collect();
    let lacks = |i: &usize| !sent.contains(&format!("inc-{i} True Enforced"));
    assert_eq!((2500..3000).find(lacks), None);
    assert_eq!(running.events().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn t23_thousands_of_one_namespace_do_not_hold_up_those_of_others() {
    let running = start(true, index());
    let own = |namespace: &str, name: &str, version: u64, spec: &Value| {
        let mut own = revocation(name, version, spec);
        own.metadata.namespace = Some(namespace.to_owned());
        own
    };
    let flood = (0..4000).map(|i| {
        let spec = json!({"target": {"tokenID": format!("id-{i}")}});
        own("shop", &format!("flood-{i}"), 100 + i, &spec)
    });
    running.index.revoke(flood.collect(), vec![]);
    // As much of it is written as is remembered, and it waits.
    let sent = after(&running.server, 4).await;
    assert!((1536..1536 + 256).contains(&sent.len()), "{}", sent.len());
    assert_eq!(running.events().len(), 50, "of one namespace");
    running.index.revoke(
        vec![],
        vec![cluster_revocation(
            "inc-1",
            7,
            &json!({"target": {"namespace": "shop"}}),
        )],
    );
    assert_eq!(after(&running.server, 1).await, ["inc-1 True Enforced"]);
    assert_eq!(running.events().len(), 1);

    let running = start(true, index());
    let lock = json!({"target": {"serviceAccount": "orders"}, "effect": "Lock"});
    let pod = json!({"target": {"pod": "orders-0"}});
    let mut stored: Vec<_> = (0..1000)
        .map(|i| {
            let spec = json!({"target": {"tokenID": format!("id-{i}")}});
            own("shop", &format!("flood-{i}"), 100 + i, &spec)
        })
        .collect();
    stored.push(own("mail", "pod", 10, &pod));
    stored.push(own("shop", "lock", 11, &lock));
    let incident = cluster_revocation("inc-1", 7, &json!({"target": {"namespace": "shop"}}));
    running.index.revoke(stored, vec![incident]);
    let sent = after(&running.server, 1).await;
    let place = |name: &str| sent.iter().position(|line| line.starts_with(name)).unwrap();
    assert!(place("inc-1") < 16, "{}", place("inc-1"));
    assert!(place("lock") < 32, "{}", place("lock"));
    assert!(place("pod") < 32, "{}", place("pod"));
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_is_away_is_not_asked_for_each_of_thousands() {
    let running = start(true, index());
    running.server.lock().unwrap().status_refusal = Some(503);
    running.index.revoke(vec![], many(3000, false));
    let names: BTreeSet<_> = after(&running.server, 2).await.into_iter().collect();
    assert!((2048..2048 + 256).contains(&names.len()), "{}", names.len());
    running.server.lock().unwrap().status_refusal = None;
    running.index.revoke(vec![], many(3000, true));
    running.sent(1).await;
    assert_eq!(running.sent(300).await, 0);
}
