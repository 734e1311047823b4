//! What may be written.

use super::*;

fn faults(raw: &RawRevocation) -> String {
    raw.parse().unwrap_err().to_string()
}

fn target(field: impl FnOnce(&mut RawTarget)) -> RawTarget {
    let mut target = RawTarget::default();
    field(&mut target);
    target
}

#[test]
fn what_is_left_out_has_its_default() {
    let (named, revocation) = raw("a", account("orders")).parse().unwrap();
    assert_eq!(
        named,
        Target::ServiceAccount("shop".into(), "orders".into())
    );
    assert_eq!(revocation.terms().effect, Effect::Revoke);
    assert_eq!(
        (revocation.kind, revocation.created),
        (Kind::Namespaced, MADE)
    );
    assert_eq!(revocation.expires(), Some(MADE + 3610));
    assert_eq!(
        revocation.uid.to_string(),
        "0f2f4b9c-7c1c-4c5e-9f43-1a1c7a6f0b11"
    );
    assert_eq!(
        cluster("a", target(|t| t.namespace = Some("shop".into())))
            .parse()
            .unwrap()
            .1
            .kind,
        Kind::Cluster
    );
}

#[test]
fn none_is_another_time_than_no_time_at_all() {
    let ttl = |seconds| {
        let raw = RawRevocation {
            ttl_seconds_after_expired: seconds,
            ..raw("a", account("orders"))
        };
        raw.parse().unwrap().1.ttl()
    };
    let times = [None, Some(0), Some(60), Some(u32::MAX / 2)];
    assert_eq!(times.map(ttl), times);
}

#[test]
fn the_version_of_its_first_sight_counts() {
    let mut seen = raw("a", account("orders"));
    seen.epoch = Some("499".into());
    assert_eq!(seen.parse().unwrap().1.epoch, 499);
    // A status that claims a later one does not spare anything.
    seen.epoch = Some("501".into());
    assert_eq!(seen.parse().unwrap().1.epoch, EPOCH);
}

#[test]
fn it_is_kept_until_everything_that_it_refuses_is_past_its_time() {
    let expires = |raw: RawRevocation| raw.parse().unwrap().1.expires();
    let mut early = raw("a", account("orders"));
    early.issued_before = Some(time(MADE - 600));
    assert_eq!(expires(early.clone()), Some(MADE + 3610));
    early.issued_before = Some(time(MADE + 600));
    assert_eq!(expires(early.clone()), Some(MADE + 4210));
    assert_eq!(
        expires(lock(early.clone(), Some(MADE + 60))),
        Some(MADE + 4210)
    );
    assert_eq!(
        expires(lock(early.clone(), Some(MADE + 6000))),
        Some(MADE + 9610)
    );
    assert_eq!(expires(lock(early, None)), None);
}

#[test]
fn a_target_is_exactly_one_thing() {
    let own = "spec.target must have exactly one of pod, serviceAccount, policy, tokenID";
    assert_eq!(faults(&raw("a", RawTarget::default())), own);
    let two = target(|t| (t.pod, t.policy) = (Some("a".into()), Some("b".into())));
    assert_eq!(faults(&raw("a", two.clone())), own);
    let all = "spec.target must have exactly one of namespace, pod, serviceAccount, policy, tokenID, audience, key, issuer";
    assert_eq!(faults(&cluster("a", RawTarget::default())), all);
    assert_eq!(faults(&cluster("a", two)), all);
}

#[test]
fn a_namespaced_one_reaches_nothing_beyond_its_namespace() {
    for (field, beyond) in [
        ("audience", target(|t| t.audience = Some("a".into()))),
        ("key", target(|t| t.key = Some("a".into()))),
        ("issuer", target(|t| t.issuer = Some("a".into()))),
    ] {
        let text = format!(
            "spec.target.{field} must not be written here: it reaches beyond the namespace"
        );
        assert_eq!(faults(&raw("a", beyond)), text);
    }
    let mut elsewhere = account("orders");
    elsewhere.namespace = Some("bank".into());
    let text = "spec.target.namespace must not be written here: it reaches beyond the namespace";
    assert_eq!(faults(&raw("a", elsewhere)), text);
}

#[test]
fn one_of_the_cluster_says_where() {
    let text = "spec.target.namespace must be written beside pod, serviceAccount and policy";
    assert_eq!(faults(&cluster("a", account("orders"))), text);
    let mut key = target(|t| t.key = Some("kid-1".into()));
    key.namespace = Some("shop".into());
    let text = "spec.target.namespace must not be written beside tokenID, audience, key or issuer";
    assert_eq!(faults(&cluster("a", key)), text);
}

#[test]
fn what_means_nothing_is_refused() {
    let one = target(|t| t.token_id = Some("id-1".into()));
    let mut raw_one = raw("a", one);
    assert_eq!(
        faults(&lock(raw_one.clone(), None)),
        "spec.effect must not be written beside tokenID or key"
    );
    raw_one.issued_before = Some(time(MADE));
    assert_eq!(
        faults(&raw_one),
        "spec.issuedBefore must not be written beside tokenID or key"
    );
    let mut ends = raw("a", account("orders"));
    ends.expires_at = Some(time(MADE));
    assert_eq!(
        faults(&ends),
        "spec.expiresAt must not be written beside the effect Revoke"
    );
    ends.expires_at = None;
    ends.effect = Some("Freeze".into());
    assert_eq!(faults(&ends), "spec.effect must be one of Revoke, Lock");
}

#[test]
fn t38_a_message_has_no_control_characters() {
    let mut told = raw("a", account("orders"));
    for text in ["", "two\nlines", "bell\u{7}", &"x".repeat(257)] {
        told.message = Some(text.to_owned());
        let text = "spec.message must be a text of 1 to 256 characters without control characters";
        assert_eq!(faults(&told), text);
    }
}

#[test]
fn a_name_that_is_none_is_refused() {
    for (field, wrong) in [
        ("pod", target(|t| t.pod = Some("A".into()))),
        ("serviceAccount", account("a b")),
        ("policy", target(|t| t.policy = Some("..".into()))),
        ("tokenID", target(|t| t.token_id = Some("a b".into()))),
    ] {
        let faults = faults(&raw("a", wrong));
        assert!(
            faults.starts_with(&format!("spec.target.{field} must")),
            "{faults}"
        );
    }
    for (field, wrong) in [
        ("namespace", target(|t| t.namespace = Some("A".into()))),
        ("audience", target(|t| t.audience = Some("a b".into()))),
        ("key", target(|t| t.key = Some("a b".into()))),
        ("issuer", target(|t| t.issuer = Some("A".into()))),
    ] {
        let faults = faults(&cluster("a", wrong));
        assert!(
            faults.starts_with(&format!("spec.target.{field} must")),
            "{faults}"
        );
    }
    let mut odd = raw("a", account("orders"));
    odd.uid = "uid-1".into();
    odd.resource_version = "0x1".into();
    assert_eq!(
        faults(&odd),
        "metadata.uid must be a UUID; metadata.resourceVersion must be a decimal number"
    );
}
