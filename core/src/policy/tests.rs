use super::*;

fn raw() -> RawPolicy {
    RawPolicy {
        namespace: "shop".into(),
        name: "orders".into(),
        uid: "u-1".into(),
        created: Timestamp::UNIX_EPOCH,
        subjects: vec![RawSubject {
            service_account: "orders".into(),
            match_labels: None,
        }],
        tokens: vec![RawToken {
            name: "vault".into(),
            kubernetes_audience: Some("https://vault.example".into()),
            ..RawToken::default()
        }],
    }
}

fn faults(change: impl FnOnce(&mut RawPolicy)) -> Vec<(String, String)> {
    let mut policy = raw();
    change(&mut policy);
    let faults = Policy::parse(&policy).unwrap_err();
    faults
        .as_slice()
        .iter()
        .map(|f| (f.field.clone(), f.kind.to_string()))
        .collect()
}

#[test]
fn applies_the_defaults() {
    let policy = Policy::parse(&raw()).unwrap();
    let token = &policy.tokens[0];
    assert_eq!(
        (&token.wanted, token.required, &token.containers),
        (
            &Wanted::ServiceAccountToken {
                audience: Audience::parse("https://vault.example").unwrap(),
                lifetime: Lifetime::MAX,
            },
            true,
            &None
        )
    );
    assert!(policy.selects("orders", &PodLabels::default()));
    assert!(!policy.selects("order", &PodLabels::default()));
}

#[test]
fn names_every_fault_with_its_field() {
    let found = faults(|p| {
        p.tokens[0].lifetime = Some("5m".into());
        p.tokens.push(RawToken {
            name: "vault".into(),
            kubernetes_audience: Some("hallpass.dev/x".into()),
            containers: Some(vec!["app".into(), "APP".into()]),
            ..RawToken::default()
        });
        p.subjects[0].service_account = String::new();
        p.subjects[0].match_labels = Some(BTreeMap::new());
    });
    let fields: Vec<&str> = found.iter().map(|(field, _)| field.as_str()).collect();
    assert_eq!(
        fields,
        [
            "spec.subjects[0].serviceAccount",
            "spec.subjects[0].podSelector.matchLabels",
            "spec.tokens[0].lifetime",
            "spec.tokens[1].name",
            "spec.tokens[1].kubernetesAudience",
            "spec.tokens[1].containers[1]",
        ]
    );
    assert_eq!(found[2].1, "must be between 10m and 1h");
    assert_eq!(found[3].1, "must not occur twice");
}

#[test]
fn two_tokens_of_one_audience_are_a_fault() {
    let found = faults(|p| {
        let again = RawToken {
            name: "again".into(),
            ..p.tokens[0].clone()
        };
        p.tokens.push(again);
    });
    assert_eq!(
        found,
        [(
            "spec.tokens[1].kubernetesAudience".into(),
            "must not occur twice".into()
        )]
    );
}

#[test]
fn bounds_the_lists() {
    let many = faults(|p| {
        p.tokens = (0..33)
            .map(|i| RawToken {
                name: format!("t{i}"),
                kubernetes_audience: Some(format!("a{i}")),
                ..RawToken::default()
            })
            .collect();
        p.subjects.clear();
    });
    assert_eq!(
        many,
        [
            ("spec.subjects".into(), "must have 1 to 16 entries".into()),
            ("spec.tokens".into(), "must have 1 to 32 entries".to_owned()),
        ]
    );
}

/// A policy of 32 tokens and 16 subjects with so much each.
fn wide(scopes: usize, containers: usize, labels: usize) -> RawPolicy {
    let names = |of: usize| (0..of).map(|i| format!("n{i}")).collect::<Vec<_>>();
    let token = |i| RawToken {
        name: format!("t{i}"),
        containers: Some(names(containers)),
        ..of_audience(|token| token.scopes = Some(names(scopes)))
    };
    let subject = RawSubject {
        service_account: "orders".into(),
        match_labels: Some(names(labels).into_iter().map(|n| (n, "x".into())).collect()),
    };
    RawPolicy {
        tokens: (0..32).map(token).collect(),
        subjects: vec![subject; 16],
        ..raw()
    }
}

#[test]
fn bounds_what_all_entries_of_a_list_have_together() {
    Policy::parse(&wide(8, 4, 4)).unwrap();
    let refused = |raw| Policy::parse(&raw).unwrap_err().to_string();
    assert_eq!(
        refused(wide(9, 4, 4)),
        "spec.tokens must have at most 256 scopes in all"
    );
    assert_eq!(
        refused(wide(8, 5, 4)),
        "spec.tokens must have at most 128 containers in all"
    );
    assert_eq!(
        refused(wide(8, 4, 5)),
        "spec.subjects must have at most 64 labels in all"
    );
}

#[test]
fn a_selector_wants_every_label() {
    let labels = |pairs: &[(&str, &str)]| -> PodLabels { pairs.iter().copied().collect() };
    let wanted = [("app", "orders"), ("tier", "api")];
    let selector = SubjectSelector {
        service_account: ServiceAccount::parse("orders").unwrap(),
        match_labels: wanted.map(|(k, v)| (k.into(), v.into())).into(),
    };
    assert!(selector.selects(
        "orders",
        &labels(&[("app", "orders"), ("tier", "api"), ("x", "y")])
    ));
    assert!(!selector.selects("orders", &labels(&[("app", "orders")])));
    assert!(!selector.selects("orders", &labels(&[("app", "orders"), ("tier", "")])));
    assert!(!selector.selects("other", &labels(&[("app", "orders"), ("tier", "api")])));
}

fn of_audience(change: impl FnOnce(&mut RawToken)) -> RawToken {
    let mut token = RawToken {
        name: "payments".into(),
        audience_ref: Some(RawAudienceRef {
            namespace: "payments".into(),
            name: "payments".into(),
        }),
        scopes: Some(vec!["payments:read".into()]),
        ..RawToken::default()
    };
    change(&mut token);
    token
}

#[test]
fn a_token_of_an_audience_has_scopes_and_may_be_as_short_as_half_a_minute() {
    let mut policy = raw();
    policy.tokens = vec![of_audience(|t| t.lifetime = Some("30s".into()))];
    let parsed = Policy::parse(&policy).unwrap();
    let Wanted::AudienceToken {
        audience,
        scopes,
        lifetime,
    } = &parsed.tokens[0].wanted
    else {
        panic!("{parsed:?}");
    };
    assert_eq!(audience.to_string(), "payments/payments");
    assert_eq!(scopes.to_string(), "payments:read");
    assert_eq!(lifetime.map(Lifetime::seconds), Some(30));
    policy.tokens = vec![of_audience(|_| {})];
    let parsed = Policy::parse(&policy).unwrap();
    let Wanted::AudienceToken { lifetime, .. } = &parsed.tokens[0].wanted else {
        panic!("{parsed:?}");
    };
    assert_eq!(*lifetime, None, "as long as the audience allows");
}

#[test]
fn one_audience_may_be_asked_for_twice_with_different_scopes() {
    let mut policy = raw();
    let write = of_audience(|t| {
        t.name = "payments-write".into();
        t.scopes = Some(vec!["payments:write".into()]);
    });
    policy.tokens = vec![of_audience(|_| {}), write];
    assert_eq!(Policy::parse(&policy).unwrap().tokens.len(), 2);
}

#[test]
fn a_token_comes_from_one_side_alone() {
    let one = |token: RawToken| faults(|p| p.tokens = vec![token]);
    let fault = |field: &str, text: &str| vec![(field.to_owned(), text.to_owned())];
    let which = "must have exactly one of kubernetesAudience, audienceRef";
    let both = of_audience(|t| t.kubernetes_audience = Some("v".into()));
    assert_eq!(one(both), fault("spec.tokens[0]", which));
    let neither = of_audience(|t| t.audience_ref = None);
    assert_eq!(one(neither), fault("spec.tokens[0]", which));
    let unscoped = of_audience(|t| t.scopes = None);
    assert_eq!(
        one(unscoped),
        fault("spec.tokens[0].scopes", "must have 1 to 32 entries")
    );
    let scoped = of_audience(|t| {
        t.audience_ref = None;
        t.kubernetes_audience = Some("v".into());
    });
    assert_eq!(
        one(scoped),
        fault(
            "spec.tokens[0].scopes",
            "must not be written beside kubernetesAudience"
        )
    );
    let short = of_audience(|t| t.lifetime = Some("29s".into()));
    assert_eq!(
        one(short),
        fault("spec.tokens[0].lifetime", "must be between 30s and 1h")
    );
    let wildcard = of_audience(|t| t.scopes = Some(vec!["payments:*".into()]));
    assert_eq!(
        one(wildcard),
        fault(
            "spec.tokens[0].scopes[0]",
            "must not contain '\"', '\\' or '*'"
        )
    );
}
