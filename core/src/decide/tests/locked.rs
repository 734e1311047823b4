//! Locks, whatever else is agreed on.

use jiff::Timestamp;

use super::{
    own::{asking, raw_statement, rules_of},
    *,
};
use crate::{
    issuer::IssuerUrl,
    revocation::{RawRevocation, RawTarget},
};

/// One lock on that, and nothing else.
fn locking(target: RawTarget) -> RevocationSet {
    let raw = RawRevocation {
        name: "inc-1".into(),
        uid: "0f2f4b9c-7c1c-4c5e-9f43-1a1c7a6f0b11".into(),
        resource_version: "7".into(),
        target,
        effect: Some("Lock".into()),
        ..RawRevocation::default()
    };
    let (target, lock) = raw.parse().unwrap();
    let mut revocations = RevocationSet::default();
    revocations
        .put(&target, lock, Timestamp::UNIX_EPOCH)
        .unwrap();
    revocations
}

#[test]
fn what_is_locked_is_not_granted_whoever_agrees() {
    let rules = rules_of(asking(None, &["read"]), &raw_statement());
    let target = |field: &str, value: &str| {
        let value = Some(value.to_owned());
        let mut target = RawTarget::default();
        match field {
            "issuer" => target.issuer = value,
            "audience" => target.audience = value,
            _ => {
                target.namespace = Some("shop".into());
                match field {
                    "pod" => target.pod = value,
                    "serviceAccount" => target.service_account = value,
                    "policy" => target.policy = value,
                    _ => {}
                }
            }
        }
        target
    };
    for (field, value) in [
        ("namespace", ""),
        ("pod", "orders-0"),
        ("serviceAccount", "orders"),
        ("policy", "orders"),
        ("audience", "https://payments.payments.svc"),
        ("issuer", "hallpass"),
    ] {
        let revocations = locking(target(field, value));
        let scene = Scene {
            revocations: &revocations,
            ..at(&rules)
        };
        let subject = subject("shop", "orders", &[]);
        let issuer = IssuerUrl::parse("https://id.example").unwrap();
        let code = |grant: Result<Grant, Denial>| grant.unwrap_err().code;
        assert_eq!(
            code(decide(scene, &subject, &name("payments"))),
            Code::Locked,
            "{field}"
        );
        let exchanged = decide_for(
            scene,
            &subject,
            &issuer,
            "https://payments.payments.svc",
            None,
        );
        assert_eq!(code(exchanged), Code::Locked, "{field}");
        assert_eq!(
            code(assigned(scene, &subject).remove(0).grant),
            Code::Locked,
            "{field}"
        );
    }
}

#[test]
fn a_service_account_token_is_locked_as_any_other() {
    let policies = set([policy("shop", "orders", 1, "orders", &[("vault", "v")])]);
    let revocations = locking(RawTarget {
        namespace: Some("shop".into()),
        policy: Some("orders".into()),
        ..RawTarget::default()
    });
    let scene = Scene {
        revocations: &revocations,
        ..at(&policies)
    };
    let denial = decide(scene, &subject("shop", "orders", &[]), &name("vault")).unwrap_err();
    assert_eq!(denial.code, Code::Locked);
}
