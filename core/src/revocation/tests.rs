use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::*;
use crate::{
    denial::Code,
    token::{claims::Claims, fixture},
};

mod crowd;
mod look;
mod parsing;
mod places;
mod severity;
mod size;

/// When the revocations of these tests were made.
const MADE: i64 = 1_790_000_000;
/// The resourceVersion under which they were first seen.
const EPOCH: u64 = 500;

pub(super) fn time(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// Of namespace `shop`.
pub(super) fn raw(name: &str, target: RawTarget) -> RawRevocation {
    RawRevocation {
        namespace: Some("shop".into()),
        ..cluster(name, target)
    }
}

pub(super) fn cluster(name: &str, target: RawTarget) -> RawRevocation {
    RawRevocation {
        name: name.into(),
        uid: "0f2f4b9c-7c1c-4c5e-9f43-1a1c7a6f0b11".into(),
        created: time(MADE),
        resource_version: EPOCH.to_string(),
        target,
        ..RawRevocation::default()
    }
}

pub(super) fn account(name: &str) -> RawTarget {
    RawTarget {
        service_account: Some(name.into()),
        ..RawTarget::default()
    }
}

pub(super) fn lock(raw: RawRevocation, until: Option<i64>) -> RawRevocation {
    RawRevocation {
        effect: Some("Lock".into()),
        expires_at: until.map(time),
        ..raw
    }
}

pub(super) fn set(raws: &[RawRevocation]) -> RevocationSet {
    let mut set = RevocationSet::default();
    for raw in raws {
        put(&mut set, raw);
    }
    set
}

pub(super) fn put(set: &mut RevocationSet, raw: &RawRevocation) {
    let (target, revocation) = raw.parse().unwrap();
    let (kind, epoch) = (revocation.kind, raw.resource_version.parse().unwrap());
    set.put(&target, revocation, time(MADE)).unwrap();
    set.read_up_to(kind, epoch);
}

/// A token of pod `orders-0` that knew of everything, issued at that time.
pub(super) fn token(issued: i64) -> Claims {
    let known = Epochs {
        namespaced: u64::MAX,
        cluster: u64::MAX,
    };
    Claims {
        issued: time(issued),
        expires: time(issued + 900),
        known,
        ..fixture::access()
    }
}

pub(super) fn refuses(set: &RevocationSet, claims: &Claims) -> bool {
    set.refuses(claims, "kid-1", "hallpass")
}

pub(super) fn marks() -> Marks<'static> {
    Marks {
        namespace: "shop",
        service_account: "orders",
        pod: "orders-0",
        policy: "orders",
        audience: "https://payments.example",
        issuer: Some("hallpass"),
    }
}

/// Every target that names the token of [`token`], and one of the same kind that does not.
fn targets() -> Vec<(RawRevocation, RawRevocation)> {
    let jti = token(MADE).id.to_string();
    let of = |field: fn(&mut RawTarget) -> &mut Option<String>, value: &str| {
        let mut target = RawTarget::default();
        *field(&mut target) = Some(value.to_owned());
        target
    };
    let pair = |make: fn(&str, RawTarget) -> RawRevocation, field, named: &str, other: &str| {
        (make("a", of(field, named)), make("a", of(field, other)))
    };
    let in_shop = |mut raw: RawRevocation| {
        raw.target.namespace = Some("shop".into());
        raw
    };
    let named = [
        pair(raw, |t| &mut t.pod, "orders-0", "orders-1"),
        pair(raw, |t| &mut t.service_account, "orders", "payments"),
        pair(raw, |t| &mut t.policy, "orders", "others"),
        pair(raw, |t| &mut t.token_id, &jti, "another"),
        pair(cluster, |t| &mut t.token_id, &jti, "another"),
        pair(cluster, |t| &mut t.namespace, "shop", "bank"),
        pair(
            cluster,
            |t| &mut t.audience,
            "https://payments.example",
            "https://x.example",
        ),
        pair(cluster, |t| &mut t.key, "kid-1", "kid-2"),
        pair(cluster, |t| &mut t.issuer, "hallpass", "other"),
    ];
    let within = [
        pair(cluster, |t| &mut t.pod, "orders-0", "orders-1"),
        pair(cluster, |t| &mut t.service_account, "orders", "payments"),
        pair(cluster, |t| &mut t.policy, "orders", "others"),
    ];
    let within = within.map(|(named, other)| (in_shop(named), in_shop(other)));
    named.into_iter().chain(within).collect()
}

#[test]
fn each_kind_of_target_refuses_what_it_names_and_nothing_else() {
    for (named, other) in targets() {
        assert!(
            refuses(&set(std::slice::from_ref(&named)), &token(MADE - 1)),
            "{named:?}"
        );
        assert!(
            !refuses(&set(std::slice::from_ref(&other)), &token(MADE - 1)),
            "{other:?}"
        );
        if named.namespace.is_some() {
            let elsewhere = RawRevocation {
                namespace: Some("bank".into()),
                ..named
            };
            assert!(
                !refuses(&set(std::slice::from_ref(&elsewhere)), &token(MADE - 1)),
                "{elsewhere:?}"
            );
        }
    }
}

#[test]
fn t32_a_namespaced_revocation_of_a_token_id_counts_in_its_namespace_alone() {
    let target = RawTarget {
        token_id: Some(token(MADE).id.to_string()),
        ..RawTarget::default()
    };
    let mut elsewhere = raw("a", target);
    elsewhere.namespace = Some("bank".into());
    assert!(!refuses(&set(&[elsewhere]), &token(MADE - 1)));
}

#[test]
fn what_was_issued_before_in_time_is_refused() {
    let set = set(&[raw("a", account("orders"))]);
    assert!(refuses(&set, &token(MADE - 1)));
    assert!(!refuses(&set, &token(MADE)));
}

#[test]
fn what_was_issued_in_ignorance_is_refused_whenever_it_was_issued() {
    let later = |known| Claims {
        known,
        ..token(MADE + 60)
    };
    let of = |namespaced, cluster| Epochs {
        namespaced,
        cluster,
    };
    let own = set(&[raw("a", account("orders"))]);
    assert!(refuses(&own, &later(of(EPOCH - 1, u64::MAX))));
    assert!(!refuses(&own, &later(of(EPOCH, 0))));
    let mut target = account("orders");
    target.namespace = Some("shop".into());
    let all = set(&[cluster("a", target)]);
    assert!(refuses(&all, &later(of(u64::MAX, EPOCH - 1))));
    assert!(!refuses(&all, &later(of(0, EPOCH))));
}

#[test]
fn an_earlier_time_spares_what_was_issued_since() {
    let raw = RawRevocation {
        issued_before: Some(time(MADE - 600)),
        ..raw("a", account("orders"))
    };
    let set = set(&[raw]);
    let ignorant = |issued| Claims {
        known: Epochs::default(),
        ..token(issued)
    };
    assert!(refuses(&set, &ignorant(MADE - 601)));
    assert!(!refuses(&set, &ignorant(MADE - 600)));
}

#[test]
fn a_fraction_of_a_second_is_rounded_to_the_safe_side() {
    let raw = RawRevocation {
        issued_before: Some(time(MADE) + SignedDuration::from_millis(1)),
        ..raw("a", account("orders"))
    };
    assert!(refuses(&set(&[raw]), &token(MADE)));
}

#[test]
fn until_its_time_has_come_nothing_is_issued_that_is_refused_at_once() {
    let raw = RawRevocation {
        issued_before: Some(time(MADE + 60)),
        ..raw("a", account("orders"))
    };
    let set = set(&[raw]);
    let denial = set.admit(marks(), time(MADE + 59)).unwrap_err();
    assert_eq!(denial.code, Code::Revoked);
    let detail = "what is issued for service account \"orders\" before 2026-09-21T14:14:20Z is revoked by TokenRevocation shop/a";
    assert_eq!(denial.detail, detail);
    assert!(set.admit(marks(), time(MADE + 60)).is_ok());
}

#[test]
fn a_lock_denies_with_its_message_until_it_ends() {
    let mut locked = lock(raw("inc-123", account("orders")), Some(MADE + 60));
    locked.message = Some("INC-123: ask the security team".into());
    let set = set(&[locked]);
    let denial = set.admit(marks(), time(MADE + 59)).unwrap_err();
    assert_eq!(denial.code, Code::Locked);
    let detail = "service account \"orders\" is locked by TokenRevocation shop/inc-123 until 2026-09-21T14:14:20Z: INC-123: ask the security team";
    assert_eq!(denial.detail, detail);
    assert!(set.admit(marks(), time(MADE + 60)).is_ok());
    assert!(
        refuses(&set, &token(MADE - 1)),
        "what was issued stays refused"
    );
    let other = Marks {
        service_account: "payments",
        ..marks()
    };
    assert!(set.admit(other, time(MADE)).is_ok());
}

#[test]
fn each_kind_of_target_can_be_locked_where_something_new_can_be_one() {
    for (named, other) in targets() {
        let closed = named.target.token_id.is_some() || named.target.key.is_some();
        let [named, other] = [named, other].map(|raw| lock(raw, None));
        if closed {
            assert!(named.parse().is_err(), "{named:?}");
            continue;
        }
        let denial = set(std::slice::from_ref(&named)).admit(marks(), time(MADE));
        assert_eq!(denial.unwrap_err().code, Code::Locked, "{named:?}");
        assert!(set(&[other]).admit(marks(), time(MADE)).is_ok());
    }
}

#[test]
fn of_several_locks_the_one_that_lasts_longest_is_told() {
    let short = lock(raw("short", account("orders")), Some(MADE + 60));
    let endless = lock(raw("endless", account("orders")), None);
    let long = lock(raw("long", account("orders")), Some(MADE + 600));
    let told = |raws: &[RawRevocation]| set(raws).admit(marks(), time(MADE)).unwrap_err().detail;
    for order in [[&short, &endless, &long], [&endless, &long, &short]] {
        assert!(
            told(&order.map(Clone::clone)).contains("shop/endless"),
            "{order:?}"
        );
    }
    assert!(told(&[short, long]).contains("shop/long"));
}

#[test]
fn who_decides_learns_how_much_was_known() {
    let mut set = set(&[raw("a", account("payments"))]);
    set.read_up_to(Kind::Cluster, 7);
    set.read_up_to(Kind::Cluster, 6);
    let known = Epochs {
        namespaced: EPOCH,
        cluster: 7,
    };
    assert_eq!(set.admit(marks(), time(MADE)), Ok(known));
}

prop_compose! {
    /// A revocation of the same service account, of either kind.
    fn any_revocation()(
        of_cluster in any::<bool>(),
        name in 0u8..6,
        before in proptest::option::of(MADE - 50..MADE + 50),
        locks in any::<bool>(),
        until in proptest::option::of(MADE - 50..MADE + 50),
        epoch in 0u64..40,
        created in MADE - 20..MADE + 20,
    ) -> RawRevocation {
        let mut target = account("orders");
        target.namespace = of_cluster.then(|| "shop".into());
        let make = if of_cluster { cluster } else { raw };
        let mut raw = make(&format!("r-{name}"), target);
        raw.uid = format!("0f2f4b9c-7c1c-4c5e-9f43-1a1c7a6f0b{name:02x}");
        raw.issued_before = before.map(time);
        raw.created = time(created);
        raw.resource_version = epoch.to_string();
        if locks { lock(raw, until) } else { raw }
    }
}

proptest! {
    /// Several are as severe as the most severe of them, in whatever order they come and go.
    #[test]
    fn t21_together_they_refuse_what_one_of_them_refuses(
        raws in prop::collection::vec(any_revocation(), 0..8),
        removed in prop::collection::btree_set(0usize..8, 0..4),
        issued in MADE - 60..MADE + 60,
        namespaced in 0u64..40,
        all in 0u64..40,
    ) {
        // Each kind and name once, as the API server has it.
        let mut seen = BTreeSet::new();
        let fresh = |raw: &&RawRevocation| seen.insert((raw.namespace.is_some(), raw.name.clone()));
        let raws: Vec<RawRevocation> = raws.iter().filter(fresh).cloned().collect();
        let mut together = set(&raws);
        for index in &removed {
            if let Some(raw) = raws.get(*index) {
                let (target, revocation) = raw.parse().unwrap();
                prop_assert!(together.remove(&target, &revocation));
            }
        }
        together.settle(time(MADE));
        let left = raws.iter().enumerate().filter(|(i, _)| !removed.contains(i));
        let left: Vec<&RawRevocation> = left.map(|(_, raw)| raw).collect();
        let known = Epochs { namespaced, cluster: all };
        let claims = Claims { known, ..token(issued) };
        let each = left.iter().any(|raw| refuses(&set(&[(*raw).clone()]), &claims));
        prop_assert_eq!(refuses(&together, &claims), each);
        let now = time(issued);
        let code = |set: &RevocationSet| set.admit(marks(), now).err().map(|denial| denial.code);
        let codes: BTreeSet<_> = left.iter().filter_map(|raw| code(&set(&[(*raw).clone()]))).collect();
        let expected = [Code::Locked, Code::Revoked].into_iter().find(|code| codes.contains(code));
        prop_assert_eq!(code(&together), expected);
        prop_assert_eq!(together.len(), left.len());
    }

    /// Whatever may be issued now is not refused now.
    #[test]
    fn what_is_admitted_is_not_refused_at_once(
        raws in prop::collection::vec(any_revocation(), 0..8),
        now in MADE - 60..MADE + 60,
    ) {
        let set = set(&raws);
        if let Ok(known) = set.admit(marks(), time(now)) {
            let claims = Claims { known, ..token(now) };
            prop_assert!(!refuses(&set, &claims));
        }
    }
}
