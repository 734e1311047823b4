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
    let mut pauses = Pauses::default();
    let mut backlog = Backlog::default();
    let mut looking = Box::pin(backlog.round(&none, &view, &mut pauses));
    let mut steps = 1;
    let round = loop {
        match looking.as_mut().now_or_never() {
            Some(round) => break round,
            None => steps += 1,
        }
    };
    drop(looking);
    assert!((20..=100).contains(&steps), "{steps} steps");
    assert!(round.is_idle() && !backlog.has_more());
    // It is looked again when the first of them expires, and not before.
    let again = backlog.later(now().as_second()).unwrap() - Instant::now();
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
    let mut pauses = Pauses::default();
    let mut backlog = Backlog::default();
    let began = std::time::Instant::now();
    let round = backlog.round(&none, &view, &mut pauses).await;
    let took = began.elapsed();
    assert!(round.own.is_empty(), "{}", round.own.len());
    assert!(took < Duration::from_secs(2), "{took:?}");
}

/// Rounds of a leader whose writes the watch brings back at once.
#[derive(Default)]
struct Leader {
    backlog: Backlog,
    pauses: Pauses,
}

impl Leader {
    /// One of them: who is written to, and how many were looked at.
    async fn round(&mut self, index: &Index, agreement: Agreement) -> (Vec<String>, usize) {
        let snapshot = index.snapshot().unwrap();
        let (elsewhere, outside) = (Elsewhere::default(), Outside::default());
        let view = View {
            agreement: &agreement,
            elsewhere: &elsewhere,
            outside: &outside,
            revocations: index.revocations(),
            keys: &Keys::of(&[]),
            snapshot: &snapshot,
            home: "hallpass-system",
            now: now(),
        };
        let (none, pauses) = (BTreeMap::new(), &mut self.pauses);
        let round = self.backlog.round(&none, &view, pauses);
        let round = round.await;
        let names = round.cluster.iter().map(|write| write.name.to_string());
        (names.collect(), round.looked)
    }
}

#[tokio::test(start_paused = true)]
async fn a_hundred_thousand_statuses_take_a_few_looks_at_all_of_them() {
    let index = index();
    index.revoke(vec![], many(MOST, false));
    let mut said: BTreeMap<String, ClusterTokenRevocation> = BTreeMap::new();
    let name = |one: &ClusterTokenRevocation| one.metadata.name.clone().unwrap();
    said.extend(many(MOST, true).into_iter().map(|one| (name(&one), one)));
    let (mut leader, mut looked, mut rounds) = (Leader::default(), 0, 0);
    while !said.is_empty() {
        rounds += 1;
        // What is written moves the versions on.
        let (names, count) = leader.round(&index, read(1000 + rounds)).await;
        looked += count;
        assert!(!names.is_empty(), "{} are left", said.len());
        let stored = names.iter().map(|name| said.remove(name).unwrap());
        index.deliver_cluster_revocations(stored.collect());
    }
    assert!((391..=391 + 13).contains(&rounds), "{rounds}");
    // All of them thirteen times at most, and each when it is written and when it comes back.
    assert!(looked <= 15 * MOST, "{looked}");
}

#[tokio::test(start_paused = true)]
async fn who_comes_while_there_are_many_is_looked_at_alone() {
    let index = index();
    index.revoke(vec![], many(50_000, true));
    let mut leader = Leader::default();
    assert_eq!(leader.round(&index, read(7)).await, (vec![], 50_000));
    assert_eq!(leader.round(&index, read(8)).await, (vec![], 0));
    let deliver = |version, reason: Option<&str>| {
        let mut one = many(50_001, true).pop().unwrap();
        one.metadata.resource_version = Some(version);
        match (reason, &mut one.status) {
            (Some(reason), Some(status)) => status.conditions[0].reason = reason.to_owned(),
            (_, status) => *status = None,
        }
        if let Some(status) = &mut one.status {
            status.epoch = Some("20".to_owned());
        }
        index.deliver_cluster_revocations(vec![one]);
    };
    let name = vec!["inc-50000".to_owned()];
    // It is pending, and so when the others have read it.
    deliver("20".to_owned(), None);
    let (names, looked) = leader.round(&index, read(9)).await;
    assert_eq!((names, looked), (name.clone(), 2));
    deliver("21".to_owned(), Some("Pending"));
    let (names, looked) = leader.round(&index, read(10)).await;
    assert!(names.is_empty() && looked <= 2, "{names:?} {looked}");
    let (names, looked) = leader.round(&index, read(20)).await;
    assert!(names == name && looked <= 3, "{names:?} {looked}");
    deliver("22".to_owned(), Some("Enforced"));
    assert_eq!(leader.round(&index, read(22)).await, (vec![], 1));
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
