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
            kubernetes_audience: "https://vault.example".into(),
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
        (token.lifetime, token.required, &token.containers),
        (Lifetime::MAX, true, &None)
    );
    assert!(policy.selects("orders", &BTreeMap::new()));
    assert!(!policy.selects("order", &BTreeMap::new()));
}

#[test]
fn names_every_fault_with_its_field() {
    let found = faults(|p| {
        p.tokens[0].lifetime = Some("5m".into());
        p.tokens.push(RawToken {
            name: "vault".into(),
            kubernetes_audience: "hallpass.dev/x".into(),
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
                kubernetes_audience: format!("a{i}"),
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

#[test]
fn a_selector_wants_every_label() {
    let labels = |pairs: &[(&str, &str)]| {
        pairs
            .iter()
            .map(|(k, v)| ((*k).into(), (*v).into()))
            .collect()
    };
    let selector = SubjectSelector {
        service_account: ServiceAccount::parse("orders").unwrap(),
        match_labels: labels(&[("app", "orders"), ("tier", "api")]),
    };
    assert!(selector.selects(
        "orders",
        &labels(&[("app", "orders"), ("tier", "api"), ("x", "y")])
    ));
    assert!(!selector.selects("orders", &labels(&[("app", "orders")])));
    assert!(!selector.selects("orders", &labels(&[("app", "orders"), ("tier", "")])));
    assert!(!selector.selects("other", &labels(&[("app", "orders"), ("tier", "api")])));
}
