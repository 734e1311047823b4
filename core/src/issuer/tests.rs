use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::{
    labels::PodLabels,
    name::{PodName, ServiceAccount},
};

fn raw() -> RawIssuer {
    RawIssuer {
        name: "hallpass".into(),
        uid: "u-1".into(),
        url: "https://id.prod-eu1.example".into(),
        audiences: vec![RawAudiencePattern {
            pattern: "https://*.acme.example".into(),
            match_labels: [("team".into(), "api".into())].into(),
        }],
        ..RawIssuer::default()
    }
}

fn parse(change: impl FnOnce(&mut RawIssuer)) -> Result<Issuer, Vec<String>> {
    let mut issuer = raw();
    change(&mut issuer);
    let parsed = Issuer::parse(&issuer);
    parsed.map_err(|f| {
        f.as_slice()
            .iter()
            .map(|f| format!("{} {}", f.field, f.kind))
            .collect()
    })
}

#[test]
fn applies_the_defaults() {
    let issuer = parse(|_| {}).unwrap();
    assert_eq!(issuer.algorithm, Algorithm::Es256);
    assert_eq!(issuer.rotate_every, Duration::from_secs(30 * 86400));
    assert_eq!(issuer.subject_form, SubjectForm::ServiceAccount);
}

#[test]
fn a_rotation_is_asked_for_with_a_time_and_a_mistake_in_it_stops_nothing() {
    let issuer = parse(|i| {
        i.rotate = Some("2026-11-26T10:00:00Z".into());
        i.rotate_now = Some("now".into());
    })
    .unwrap();
    assert_eq!(issuer.asked.ordinary, "2026-11-26T10:00:00Z".parse().ok());
    assert_eq!(issuer.asked.emergency, None);
    assert_eq!(issuer.asked.unreadable, ["hallpass.dev/rotate-now"]);
}

#[test]
fn names_every_fault_with_its_field() {
    let found = parse(|i| {
        i.url = "http://id.example".into();
        i.algorithm = Some("none".into());
        i.rotate_every = Some("1d12h".into());
        i.spiffe_trust_domain = Some("Prod".into());
        i.audiences[0].pattern = String::new();
        i.audiences[0].match_labels.clear();
    });
    let expected = [
        "spec.hallpass.issuerURL must be an https URL without user, query, fragment and final slash, of at most 256 characters",
        "spec.hallpass.algorithm must be one of ES256, EdDSA, RS256",
        "spec.hallpass.rotateEvery must be a number with one unit, such as 12h or 30d, between 1h and 365d",
        "spec.hallpass.spiffeTrustDomain must consist of lower-case letters, digits, '-', '.' and '_'",
        "spec.audiences[0].namespaces.matchLabels must have 1 to 16 entries",
        "spec.audiences[0].pattern must be 1 to 512 printable ASCII characters with at most 4 '*'",
    ];
    assert_eq!(found.unwrap_err(), expected);
}

#[test]
fn an_issuer_url_is_kept_byte_for_byte_and_taken_apart() {
    for (text, authority, path) in [
        ("https://id.example", "id.example", ""),
        ("https://id.example:8443/a/b", "id.example:8443", "/a/b"),
        (
            "https://hallpass.hallpass-system.svc",
            "hallpass.hallpass-system.svc",
            "",
        ),
    ] {
        let url = IssuerUrl::parse(text).unwrap();
        assert_eq!(
            (url.as_str(), url.authority(), url.path()),
            (text, authority, path)
        );
    }
    for text in [
        "",
        "https://",
        "http://id.example",
        "HTTPS://id.example",
        "https://Id.example",
        "https://id.example/",
        "https://id.example/a/",
        "https://id.example//a",
        "https://id.example/a/../b",
        "https://id.example?x",
        "https://id.example/a?x",
        "https://id.example#x",
        "https://u@id.example",
        "https://u:p@id.example",
        "https://id.example:0",
        "https://id.example:065",
        "https://id.example:+65",
        "https://id.example:65536",
        "https://id..example",
        "https://id.example/%2e",
        "https://[::1]",
        &format!("https://id.example/{}", "a".repeat(256)),
    ] {
        assert_eq!(
            IssuerUrl::parse(text),
            Err(FaultKind::IssuerUrl),
            "{text:?}"
        );
    }
}

#[test]
fn a_subject_is_written_as_kubernetes_or_as_spiffe_does() {
    let subject = Subject {
        namespace: Namespace::parse("shop").unwrap(),
        service_account: ServiceAccount::parse("orders").unwrap(),
        service_account_uid: Uid::parse("sa-1").unwrap(),
        pod: PodName::parse("orders-0").unwrap(),
        pod_uid: Uid::parse("pod-1").unwrap(),
        labels: PodLabels::default(),
        annotations: Arc::default(),
    };
    let plain = parse(|_| {}).unwrap();
    assert_eq!(plain.subject(&subject), "system:serviceaccount:shop:orders");
    let spiffe = parse(|i| i.spiffe_trust_domain = Some("prod.example".into())).unwrap();
    assert_eq!(
        spiffe.subject(&subject),
        "spiffe://prod.example/ns/shop/sa/orders"
    );
}

#[test]
fn t11_a_namespace_may_state_its_own_services_and_nothing_that_looks_like_them() {
    let issuer = parse(|i| i.audiences.clear()).unwrap();
    let namespace = Namespace::parse("payments").unwrap();
    let may = |audience: &str| issuer.permits(audience, &namespace, &BTreeMap::new());
    for own in [
        "payments.payments.svc",
        "https://payments.payments.svc",
        "http://api.payments.svc",
        "https://payments.payments.svc.cluster.local",
        "https://payments.payments.svc:8443",
        "https://payments.payments.svc/v1",
        "https://payments.payments.svc:8443/v1?x=y",
    ] {
        assert!(may(own), "{own}");
    }
    for foreign in [
        "payments",
        "payments.svc",
        ".payments.svc",
        "https://payments.shop.svc",
        "https://a.b.payments.svc",
        "https://xpayments.svc",
        "https://payments.payments.svc.evil.example",
        "https://payments.payments.svc@evil.example",
        "https://payments.payments.svc:80@evil.example",
        "https://evil.example/payments.payments.svc",
        "https://evil.example?payments.payments.svc",
        "https://payments.payments.svc?x@evil.example",
        "ftp://payments.payments.svc",
        "https://payments.payments.svc.cluster.local.cluster.local",
        "https://Payments.payments.svc",
        "https://payments.payments.svc#x",
        "https://https://payments.payments.svc",
    ] {
        assert!(!may(foreign), "{foreign}");
    }
}

#[test]
fn t11_a_pattern_opens_audiences_to_the_namespaces_with_its_labels() {
    let issuer = parse(|_| {}).unwrap();
    let namespace = Namespace::parse("payments").unwrap();
    let labels = BTreeMap::from([("team".to_owned(), "api".to_owned())]);
    let may = |audience: &str| issuer.permits(audience, &namespace, &labels);
    assert!(may("https://payments.acme.example"));
    assert!(!issuer.permits(
        "https://payments.acme.example",
        &namespace,
        &BTreeMap::new()
    ));
    for foreign in [
        "https://acme.example",
        "https://.acme.example",
        "https://a.b.acme.example",
        "https://evil.example/.acme.example",
        "https://evil.example#.acme.example",
        "https://u:p@evil.acme.example",
        "https://payments.acme.example.evil.example",
        "https://payments.acme.example/",
        "https://PAYMENTS.acme.example",
    ] {
        assert!(!may(foreign), "{foreign}");
    }
}

/// Says what a pattern means in the plainest way there is.
fn means(pattern: &[char], text: &[char]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some(('*', rest)), Some((c, left))) => {
            "ab-".contains(*c) && (means(rest, left) || means(pattern, left))
        }
        (Some((p, rest)), Some((c, left))) => p == c && means(rest, left),
        _ => false,
    }
}

proptest! {
    #[test]
    fn a_pattern_matches_what_it_means(pattern in "[ab.*-]{1,8}", text in "[ab.-]{0,10}") {
        if let Ok(parsed) = Pattern::parse(&pattern) {
            let chars = |t: &str| t.chars().collect::<Vec<_>>();
            prop_assert_eq!(parsed.matches(&text), means(&chars(&pattern), &chars(&text)));
        }
    }

    #[test]
    fn any_text_is_an_issuer_url_or_none(text in "(https://)?[a-z0-9:/.@?#%-]{0,24}") {
        if let Ok(url) = IssuerUrl::parse(&text) {
            let whole = format!("https://{}{}", url.authority(), url.path());
            prop_assert_eq!(&whole, &text);
            prop_assert!(!text.contains(['@', '?', '#', '%']) && !text.ends_with('/'));
        }
    }
}
