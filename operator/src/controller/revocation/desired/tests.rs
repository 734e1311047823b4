use hallpass_core::revocation::{Cursor, Epochs, MOST_OF_NAMESPACE};
use hallpass_crds::{
    cluster_token_revocation::ClusterTokenRevocation, token_policy::TokenPolicy,
    token_revocation::TokenRevocation,
};
use serde_json::{Value, json};

use super::*;
use crate::{
    index::{
        Index,
        fixture::{audience_token, cluster_revocation, pod, policy, revocation},
    },
    issuer::fixture::now,
};

const LATER: i64 = 3610;

/// What is known, and one revocation under version 7.
struct Scene {
    policies: Vec<TokenPolicy>,
    own: Vec<TokenRevocation>,
    cluster: Vec<ClusterTokenRevocation>,
    agreement: Agreement,
    elsewhere: Elsewhere,
    /// How many others there are in the namespace, which are younger.
    beside: usize,
    /// How many seconds after the revocation was made.
    after: i64,
}

fn beside(index: usize) -> TokenRevocation {
    let spec = json!({"target": {"policy": format!("p-{index}")}});
    revocation(&format!("beside-{index}"), 100 + index as u64, &spec)
}

fn of(spec: &Value) -> Scene {
    Scene {
        own: vec![revocation("inc-1", 7, spec)],
        ..empty()
    }
}

fn of_cluster(spec: &Value) -> Scene {
    Scene {
        cluster: vec![cluster_revocation("inc-1", 7, spec)],
        ..empty()
    }
}

fn empty() -> Scene {
    Scene {
        policies: vec![],
        own: vec![],
        cluster: vec![],
        agreement: Agreement {
            epochs: Epochs {
                namespaced: 7,
                cluster: 7,
            },
            replicas: 2,
            refused: 0,
            unread: Some(0),
        },
        elsewhere: Elsewhere::default(),
        beside: 0,
        after: 0,
    }
}

impl Scene {
    fn report(&self) -> Option<Report> {
        let pods = vec![pod("shop", "orders-1", "orders")];
        let index = Index::filled(self.policies.clone(), pods, vec![]);
        let mut own = self.own.clone();
        own.extend((0..self.beside).map(beside));
        index.revoke(own, self.cluster.clone());
        let snapshot = index.snapshot().unwrap();
        let rules = snapshot.rules();
        let view = View {
            agreement: &self.agreement,
            elsewhere: &self.elsewhere,
            outside: &Outside::new(&rules.policies, &snapshot.asking()),
            revocations: index.revocations(),
            keys: &Keys::of(&[]),
            snapshot: &snapshot,
            home: "hallpass-system",
            now: Timestamp::from_second(now().as_second() + self.after).unwrap(),
        };
        index.revocations().ask(|set| {
            let (mut all, _) = set.page(Cursor::default(), usize::MAX);
            let named = all.find(|one| one.revocation.name.as_str() == "inc-1");
            let one = named.unwrap();
            desired(&one.target, one.revocation, one.namespace, &view)
        })
    }

    /// `status reason: message` of the condition Enforced.
    fn enforced(&self) -> String {
        enforced(&self.report().unwrap())
    }

    /// What was reported is stored.
    fn said(mut self) -> Self {
        let status = self.report().unwrap().status;
        for stored in &mut self.own {
            stored.status = Some(status.clone());
        }
        self
    }
}

fn enforced(report: &Report) -> String {
    let condition = &report.status.conditions[0];
    assert_eq!(condition.type_, "Enforced");
    assert_eq!(condition.observed_generation, Some(1));
    assert_eq!(report.status.reported(), report.says);
    format!(
        "{} {}: {}",
        condition.status, condition.reason, condition.message
    )
}

fn account() -> Value {
    json!({"target": {"serviceAccount": "orders"}})
}

/// A policy of that name in `shop` that gives no service-account token.
fn own(name: &str) -> TokenPolicy {
    let mut policy = policy("shop", name, "orders");
    policy.spec.tokens = vec![audience_token("pay", "payments", &["read"])];
    policy
}

#[test]
fn what_every_replica_has_read_is_enforced_and_says_what_that_means() {
    let report = of(&account()).report().unwrap();
    assert_eq!(
        enforced(&report),
        "True Enforced: in force on 2 of 2 replicas: Hallpass refuses the tokens wherever it is asked, at introspection; who checks a JWT by its signature alone takes it until it expires, an hour after it was issued at most"
    );
    assert_eq!(report.status.epoch.as_deref(), Some("7"));
    assert_eq!(report.status.observed_generation, Some(1));
    assert_eq!(report.status.conditions.len(), 1);
    let lock = json!({"target": {"namespace": "shop"}, "effect": "Lock"});
    let until = json!({
        "target": {"namespace": "shop"}, "effect": "Lock", "expiresAt": "2126-11-25T08:00:00Z",
    });
    let says = |spec, part| {
        let said = of_cluster(spec).enforced();
        assert!(said.contains(part), "{said}");
    };
    says(
        &lock,
        "and issues no new ones until this object is deleted;",
    );
    says(&until, "and issues no new ones until 2126-11-25T08:00:00Z;");
}

#[test]
fn what_some_replica_has_not_read_is_pending() {
    let mut scene = of(&account());
    scene.agreement.epochs.namespaced = 6;
    assert_eq!(
        scene.enforced(),
        "False Pending: some replica has not read this yet: it has read TokenRevocations up to version 6, and this one is 7; if that lasts: kubectl -n hallpass-system get pods"
    );
    assert_eq!(
        scene.report().unwrap().status.epoch.as_deref(),
        Some("7"),
        "the next replica is to know it"
    );
    scene.agreement = Agreement {
        replicas: 0,
        ..of(&account()).agreement
    };
    assert!(
        scene
            .enforced()
            .starts_with("False Pending: no replica has said yet")
    );
    let mut scene = of_cluster(&json!({"target": {"namespace": "shop"}}));
    scene.agreement.epochs.cluster = 6;
    assert!(
        scene
            .enforced()
            .contains("ClusterTokenRevocations up to version 6")
    );
}

#[test]
fn what_is_said_already_is_not_said_again_and_no_new_replica_takes_it_back() {
    let mut scene = of(&account()).said();
    assert_eq!(scene.report(), None);
    scene.agreement.epochs = Epochs::default();
    assert_eq!(scene.report(), None);
    scene.agreement = Agreement::default();
    assert_eq!(scene.report(), None);
    let mut scene = of(&account());
    scene.agreement = Agreement::default();
    let mut scene = scene.said();
    assert_eq!(scene.report(), None);
    scene.agreement = of(&account()).agreement;
    assert!(scene.enforced().starts_with("True Enforced"));
}

#[test]
fn service_account_tokens_are_outside_the_guard_and_the_message_ends_them() {
    let said = |spec: &Value| {
        let mut scene = of(spec);
        let other = policy("shop", "other", "mailer");
        scene.policies = vec![policy("shop", "vault", "orders"), other, own("pay")];
        scene.enforced()
    };
    assert_eq!(
        said(&json!({"target": {"pod": "orders-1"}})),
        "False OutsideGuard: in force on 2 of 2 replicas for the tokens that Hallpass makes itself; but TokenPolicy shop/vault also gives service-account tokens (kubernetesAudience), and who checks those does not ask Hallpass: they end when they expire, with their service account, or, where they are checked by TokenReview, with their pod: kubectl -n shop delete pod orders-1"
    );
    let of_account = "kubectl -n shop delete pod -l hallpass.dev/injected=true --field-selector spec.serviceAccountName=orders";
    for (target, command) in [
        (json!({"serviceAccount": "orders"}), of_account),
        (json!({"policy": "vault"}), of_account),
    ] {
        let said = said(&json!({"target": target}));
        assert!(said.starts_with("False OutsideGuard"), "{said}");
        assert!(said.ends_with(&format!(": {command}")), "{said}");
    }
    for target in [
        json!({"policy": "pay"}),
        json!({"serviceAccount": "payments"}),
        json!({"pod": "orders-2"}),
        json!({"tokenID": "f2b1"}),
    ] {
        let said = said(&json!({"target": target}));
        assert!(said.starts_with("True Enforced"), "{said}");
    }
}

#[test]
fn beyond_one_namespace_service_account_tokens_are_found_too() {
    let said = |target: Value| {
        let mut scene = of_cluster(&json!({"target": target}));
        scene.policies = vec![policy("shop", "vault", "orders"), own("pay")];
        scene.enforced()
    };
    let namespace = said(json!({"namespace": "shop"}));
    assert!(namespace.starts_with("False OutsideGuard"), "{namespace}");
    assert!(
        namespace.ends_with(": kubectl -n shop delete pod -l hallpass.dev/injected=true"),
        "{namespace}"
    );
    let audience = said(json!({"audience": "https://vault.example"}));
    assert!(audience.contains("TokenPolicy shop/vault"), "{audience}");
    for target in [
        json!({"namespace": "payments"}),
        json!({"audience": "https://other.example"}),
        json!({"issuer": "hallpass"}),
        json!({"key": "kid-1"}),
    ] {
        let said = said(target);
        assert!(said.starts_with("True Enforced"), "{said}");
    }
}

#[test]
fn of_many_policies_some_are_named_and_the_rest_are_counted() {
    let mut scene = of_cluster(&json!({"target": {"audience": "https://vault.example"}}));
    let named = |i| {
        policy(
            "shop",
            &format!("policy-{i:03}"),
            &format!("account-{i:03}"),
        )
    };
    scene.policies = (0..200).map(named).collect();
    let said = scene.enforced();
    assert!(
        said.contains(
            "TokenPolicies shop/policy-000, shop/policy-001, shop/policy-002 and 197 more also give"
        ),
        "{said}"
    );
    assert!(said.ends_with("; and 197 more like these"), "{said}");
    assert!(said.len() < 1024, "an event takes no more: {}", said.len());
}

#[test]
fn what_has_nothing_left_to_refuse_has_expired() {
    let mut scene = of(&account());
    scene.after = LATER - 1;
    assert!(scene.enforced().starts_with("True Enforced"));
    scene.after = LATER;
    let report = scene.report().unwrap();
    assert!(enforced(&report).starts_with("False Expired: nothing is left to refuse"));
    let expired = &report.status.conditions[1];
    let said = (
        expired.type_.as_str(),
        expired.status.as_str(),
        expired.reason.as_str(),
    );
    assert_eq!(said, ("Expired", "True", "Expired"));
    assert_eq!(scene.said().report(), None);
    let mut lock = of(&json!({"target": {"serviceAccount": "orders"}, "effect": "Lock"}));
    lock.after = 1_000_000;
    assert!(lock.enforced().starts_with("True Enforced"));
}

/// A revocation of `shop` that is not in force.
fn stored(why: NotInForce) -> RefusedRevocation {
    RefusedRevocation {
        uid: "u".into(),
        why,
        reported: Reported::Nothing,
    }
}

fn place(name: &str) -> Place {
    (Kind::Namespaced, Some("shop".into()), name.into())
}

#[test]
fn what_is_not_in_force_says_so_and_what_to_do() {
    let said = |why| {
        let report = refused(&place("inc-1"), &stored(why), now());
        assert_eq!(report.status.epoch, None, "no replica goes by it");
        enforced(&report)
    };
    assert_eq!(
        said(NotInForce::Full(Full::Namespace)),
        "False TooMany: NOT in force: 10000 revocations are in force in this namespace beside those of single tokens, which is the most there can be; delete locks that are over and those whose tokens another one names too, such as all of a service account (kubectl -n shop get tokenrevocations.hallpass.dev; kubectl -n shop delete tokenrevocations.hallpass.dev NAME); those that have expired take no room, and this one comes into force by itself as soon as there is some"
    );
    let cluster = said(NotInForce::Full(Full::Cluster));
    assert!(
        cluster.contains(
            "kubectl get tokenrevocations.hallpass.dev,clustertokenrevocations.hallpass.dev -A"
        ),
        "{cluster}"
    );
    let long = said(NotInForce::Unreadable("x".repeat(100_000)));
    assert!(long.starts_with("False Invalid: NOT in force: the stored object cannot be read: xxx"));
    assert!(
        long.ends_with(
            "it (kubectl -n shop delete tokenrevocations.hallpass.dev inc-1) and write it anew"
        ),
        "{long}"
    );
    assert!(long.len() < 1024, "an event takes no more: {}", long.len());
}

#[test]
fn where_there_is_no_room_a_new_one_is_not_called_in_force() {
    let agreement = |refused| Agreement {
        refused,
        ..of(&account()).agreement
    };
    let elsewhere = |here, there| {
        let here = Observed {
            refused: here,
            ..Observed::default()
        };
        Elsewhere::new(&here, &agreement(there))
    };
    let enforced = |own: usize, here: usize, there: usize| {
        let mut scene = of(&account());
        scene.beside = own;
        scene.agreement = agreement(there);
        scene.elsewhere = elsewhere(here, there);
        let known = scene.said();
        let kept = known.report().is_none();
        (known.own[0].status.as_ref().unwrap().reported(), kept)
    };
    let full = MOST_OF_NAMESPACE - 1;
    assert_eq!(enforced(full, 0, 1), (Reported::Pending, true));
    assert_eq!(enforced(full, 0, 0), (Reported::Enforced, true));
    // Whoever has read the same has the same in force: what has no room here has none elsewhere.
    assert_eq!(enforced(full, 1, 1), (Reported::Enforced, true));
    // And where there is room for more, what has none is another namespace's matter.
    assert_eq!(enforced(full - 1, 0, 1), (Reported::Enforced, true));
    let mut known = of(&account());
    known.beside = full;
    let mut known = known.said();
    known.elsewhere = elsewhere(0, 1);
    assert_eq!(known.report(), None, "it may be told in a moment");
    known.elsewhere = elsewhere(0, 1).for_as_long_as(LASTING);
    assert!(
        known
            .enforced()
            .starts_with("False Pending: some replica has no room")
    );
}
