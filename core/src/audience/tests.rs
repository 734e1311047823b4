use super::*;

fn raw() -> RawStatement {
    RawStatement {
        namespace: "payments".into(),
        name: "payments".into(),
        uid: "u-1".into(),
        audience: "https://payments.payments.svc".into(),
        issuer: "hallpass".into(),
        scopes: vec!["payments:read".into(), "payments:write".into()],
        allow: vec![RawAllow {
            match_labels: [("team".into(), "shop".into())].into(),
            service_accounts: vec!["orders".into()],
            scopes: vec!["payments:read".into()],
        }],
        ..RawStatement::default()
    }
}

fn parse(change: impl FnOnce(&mut RawStatement)) -> Result<Statement, Vec<String>> {
    let mut statement = raw();
    change(&mut statement);
    let parsed = Statement::parse(&statement);
    parsed.map_err(|f| {
        f.as_slice()
            .iter()
            .map(|f| format!("{} {}", f.field, f.kind))
            .collect()
    })
}

fn allowed(statement: &Statement, label: &str, account: &str) -> Option<String> {
    let labels = [("team".to_owned(), label.to_owned())].into();
    let account = ServiceAccount::parse(account).unwrap();
    let lines = statement.admitting(&labels, &account).into_iter();
    let scopes = ScopeSet::new(lines.flat_map(|line| line.scopes.iter().cloned()));
    scopes.map(|scopes| scopes.to_string())
}

#[test]
fn applies_the_defaults() {
    let statement = parse(|_| {}).unwrap();
    assert_eq!(statement.format, Format::Jwt);
    assert_eq!(statement.max_lifetime.seconds(), 900);
    assert_eq!((statement.claims.len(), statement.verifiers.len()), (0, 0));
    let nobody = parse(|s| s.allow.clear()).unwrap();
    assert_eq!(allowed(&nobody, "shop", "orders"), None);
}

#[test]
fn allows_whom_a_line_names_and_adds_the_lines_up() {
    let statement = parse(|s| {
        s.allow.push(RawAllow {
            match_labels: [("team".into(), "shop".into())].into(),
            service_accounts: vec!["*".into()],
            scopes: vec!["payments:write".into()],
        });
    })
    .unwrap();
    let both = Some("payments:read payments:write".to_owned());
    assert_eq!(allowed(&statement, "shop", "orders"), both);
    let one = Some("payments:write".to_owned());
    assert_eq!(allowed(&statement, "shop", "other"), one);
    assert_eq!(allowed(&statement, "bank", "orders"), None);
    let account = ServiceAccount::parse("orders").unwrap();
    assert_eq!(statement.admitting(&BTreeMap::new(), &account).len(), 0);
}

#[test]
fn a_line_without_labels_admits_nobody() {
    let mut line = parse(|_| {}).unwrap().allow.remove(0);
    let account = ServiceAccount::parse("orders").unwrap();
    let labels = BTreeMap::from([("team".to_owned(), "shop".to_owned())]);
    assert!(line.admits(&labels, &account));
    line.match_labels.clear();
    assert!(!line.admits(&labels, &account));
}

#[test]
fn names_every_fault_with_its_field() {
    let found = parse(|s| {
        s.audience = "hallpass.dev/x".into();
        s.issuer = "Hallpass".into();
        s.format = Some("Macaroon".into());
        s.scopes.push("payments:read".into());
        s.allow[0].match_labels.clear();
        s.allow[0].service_accounts = vec!["*".into(), "orders".into()];
        s.allow[0].scopes.push("admin".into());
        s.max_lifetime = Some("2h".into());
        s.contact = Some("a\nb".into());
        s.verifiers = Some(Vec::new());
    })
    .unwrap_err();
    let expected = [
        "spec.audience 'hallpass.dev' and what begins with 'hallpass.dev/' is reserved for Hallpass itself",
        "spec.issuerRef.name must consist of lower-case letters, digits, '-' and '.', and each part must begin and end with a letter or digit",
        "spec.format must be one of JWT, Opaque",
        "spec.scopes[2] must not occur twice",
        "spec.allow[0].from.namespaceSelector.matchLabels must have 1 to 16 entries",
        "spec.allow[0].from.serviceAccounts[0] must consist of lower-case letters, digits, '-' and '.', and each part must begin and end with a letter or digit",
        "spec.allow[0].scopes[1] is not one of spec.scopes",
        "spec.maxLifetime must be between 30s and 1h",
        "spec.contact must be a text of 1 to 256 characters without control characters",
        "spec.guard.serviceAccounts must have 1 to 16 entries",
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_claim_has_one_source_and_a_name_that_means_nothing_else() {
    let claim = |change: fn(&mut RawClaim)| {
        let mut claim = RawClaim {
            name: "team".into(),
            literal: Some("shop".into()),
            ..RawClaim::default()
        };
        change(&mut claim);
        parse(|s| s.claims = vec![claim])
    };
    let statement = claim(|_| {}).unwrap();
    let sources: Vec<_> = statement.claims.into_values().collect();
    assert_eq!(sources, [ClaimSource::Literal("shop".into())]);
    let one =
        "spec.claims[0] must have exactly one of literal, namespaceLabel, serviceAccountAnnotation";
    let both = claim(|c| c.namespace_label = Some("team".into()));
    assert_eq!(both.unwrap_err(), [one]);
    assert_eq!(claim(|c| c.literal = None).unwrap_err(), [one]);
    let long = claim(|c| c.literal = Some("x".repeat(257))).unwrap_err();
    let text =
        "spec.claims[0].literal must be a text of 1 to 256 characters without control characters";
    assert_eq!(long, [text]);
    let twice = parse(|s| {
        let claim = RawClaim {
            name: "team".into(),
            literal: Some("shop".into()),
            ..RawClaim::default()
        };
        s.claims = vec![claim.clone(), claim];
    });
    assert_eq!(
        twice.unwrap_err(),
        ["spec.claims[1].name must not occur twice"]
    );
    for reserved in ["iss", "sub", "Sub", "scope", "kubernetes.io", "act", "HPE"] {
        let named = parse(|s| {
            s.claims = vec![RawClaim {
                name: reserved.into(),
                literal: Some("x".into()),
                ..RawClaim::default()
            }];
        });
        let faults = named.unwrap_err();
        assert!(faults[0].starts_with("spec.claims[0].name "), "{faults:?}");
    }
}

#[test]
fn what_is_allowed_is_bounded_as_a_whole() {
    let line = |length: usize| RawAllow {
        match_labels: [("team".into(), "shop".into())].into(),
        service_accounts: (0..64).map(|i| format!("{i:0>length$}")).collect(),
        scopes: vec!["payments:read".into()],
    };
    assert!(parse(|s| s.allow = vec![line(50); 8]).is_ok());
    let found = parse(|s| s.allow = vec![line(253); 8]).unwrap_err();
    assert_eq!(found, ["spec.allow must have at most 65536 bytes in all"]);
}

#[test]
fn what_all_entries_have_together_is_bounded() {
    let names = |of: usize| (0..of).map(|i| format!("n{i}")).collect::<Vec<_>>();
    let wide = |scopes: usize, accounts: usize, labels: usize| {
        let entry = RawAllow {
            match_labels: names(labels).into_iter().map(|n| (n, "x".into())).collect(),
            service_accounts: names(accounts),
            scopes: names(scopes),
        };
        parse(|s| (s.scopes, s.allow) = (names(64), vec![entry; 64]))
    };
    assert!(wide(8, 8, 2).is_ok());
    for (wide, said) in [
        (wide(9, 8, 2), "512 scopes"),
        (wide(8, 9, 2), "512 service accounts"),
        (wide(8, 8, 3), "128 labels"),
    ] {
        let said = format!("spec.allow must have at most {said} in all");
        assert_eq!(wide.unwrap_err(), [said]);
    }
}

#[test]
fn the_text_of_a_scope_is_kept_once() {
    let statement = parse(|_| {}).unwrap();
    let [line] = &statement.allow[..] else {
        panic!()
    };
    let [allowed, declared] = [&line.scopes, &statement.scopes].map(|s| s.iter().next().unwrap());
    assert!(std::ptr::eq(allowed.as_str(), declared.as_str()));
}
