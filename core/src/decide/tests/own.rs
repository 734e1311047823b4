//! Tokens of audiences: what two sides agree on.

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::{
    audience::{Format, RawAllow, RawClaim, RawStatement},
    issuer::{Issuer, IssuerUrl, RawIssuer},
    policy::{RawAudienceRef, RawPolicy, RawSubject, RawToken},
};

pub(super) fn asking(lifetime: Option<&str>, scopes: &[&str]) -> Arc<Policy> {
    let raw = RawPolicy {
        namespace: "shop".into(),
        name: "orders".into(),
        uid: "u-1".into(),
        created: Timestamp::UNIX_EPOCH,
        subjects: vec![RawSubject {
            service_account: "orders".into(),
            match_labels: None,
        }],
        tokens: vec![RawToken {
            name: "payments".into(),
            audience_ref: Some(RawAudienceRef {
                namespace: "payments".into(),
                name: "payments".into(),
            }),
            scopes: Some(scopes.iter().map(|s| (*s).to_owned()).collect()),
            lifetime: lifetime.map(Into::into),
            ..RawToken::default()
        }],
    };
    Arc::new(Policy::parse(&raw).unwrap())
}

pub(super) fn raw_statement() -> RawStatement {
    RawStatement {
        namespace: "payments".into(),
        name: "payments".into(),
        uid: "u-2".into(),
        audience: "https://payments.payments.svc".into(),
        issuer: "hallpass".into(),
        format: Some("Opaque".into()),
        scopes: ["read", "write"].map(String::from).into(),
        allow: vec![RawAllow {
            match_labels: [("team".into(), "shop".into())].into(),
            service_accounts: vec!["orders".into()],
            scopes: vec!["read".into()],
        }],
        max_lifetime: Some("5m".into()),
        ..RawStatement::default()
    }
}

pub(super) fn rules_of(policy: Arc<Policy>, statement: &RawStatement) -> Rules {
    let issuer = RawIssuer {
        name: "hallpass".into(),
        uid: "u-3".into(),
        url: "https://id.example".into(),
        ..RawIssuer::default()
    };
    let labels = |team: &str| BTreeMap::from([("team".to_owned(), team.to_owned())]);
    let namespaces = [("shop", "shop"), ("payments", "api")]
        .map(|(name, team)| (Namespace::parse(name).unwrap(), labels(team)));
    Rules {
        policies: Arc::new([policy].into_iter().collect()),
        audiences: Arc::new(AudienceSet::new(
            [Arc::new(Statement::parse(statement).unwrap())],
            [],
            [Arc::new(Issuer::parse(&issuer).unwrap())],
            namespaces.into(),
        )),
    }
}

fn decided(rules: &Rules) -> Result<Grant, Denial> {
    decide(
        at(rules),
        &subject("shop", "orders", &[]),
        &name("payments"),
    )
}

fn own(grant: &Grant) -> &Own {
    match grant.source() {
        Source::Hallpass(own) => own,
        Source::Kubernetes => panic!("{grant:?}"),
    }
}

#[test]
fn grants_what_the_policy_asks_for_and_the_audience_allows() {
    let grant = decided(&rules_of(
        asking(None, &["read", "write"]),
        &raw_statement(),
    ))
    .unwrap();
    assert_eq!(grant.audience().as_str(), "https://payments.payments.svc");
    assert_eq!(grant.scopes().unwrap().to_string(), "read");
    assert_eq!(
        grant.lifetime().seconds(),
        300,
        "as long as the audience allows"
    );
    assert_eq!(own(&grant).format, Format::Opaque);
    assert_eq!(own(&grant).issuer.url.as_str(), "https://id.example");
}

#[test]
fn without_consent_there_is_no_grant() {
    let denial = decided(&rules_of(asking(None, &["write"]), &raw_statement())).unwrap_err();
    assert_eq!(denial.code, Code::ScopeNotAllowed);
    let mut nobody = raw_statement();
    nobody.allow.clear();
    let denial = decided(&rules_of(asking(None, &["read"]), &nobody)).unwrap_err();
    assert_eq!(denial.code, Code::SubjectNotAllowed);
}

#[test]
fn what_is_assigned_without_consent_is_assigned_with_its_denial() {
    let rules = rules_of(asking(None, &["write"]), &raw_statement());
    let subject = subject("shop", "orders", &[]);
    let assigned = assigned(at(&rules), &subject);
    assert_eq!(assigned[0].token.name.as_str(), "payments");
    let denial = assigned[0].grant.as_ref().unwrap_err();
    assert_eq!(denial.code, Code::ScopeNotAllowed);
}

#[test]
fn the_owner_of_the_audience_says_what_its_tokens_say() {
    let mut statement = raw_statement();
    let claim = |name: &str| RawClaim {
        name: name.into(),
        ..RawClaim::default()
    };
    statement.claims = vec![
        RawClaim {
            literal: Some("fixed".into()),
            ..claim("a")
        },
        RawClaim {
            namespace_label: Some("team".into()),
            ..claim("b")
        },
        RawClaim {
            namespace_label: Some("absent".into()),
            ..claim("c")
        },
        RawClaim {
            service_account_annotation: Some("tier".into()),
            ..claim("d")
        },
        RawClaim {
            service_account_annotation: Some("long".into()),
            ..claim("e")
        },
        RawClaim {
            service_account_annotation: Some("absent".into()),
            ..claim("f")
        },
    ];
    let rules = rules_of(asking(None, &["read"]), &statement);
    let mut subject = Subject::clone(&subject("shop", "orders", &[]));
    let annotations = [("tier", "gold".to_owned()), ("long", "x".repeat(257))]
        .map(|(key, value)| (key.to_owned(), value));
    subject.annotations = Arc::new(annotations.into());
    let grant = decide(at(&rules), &Arc::new(subject), &name("payments")).unwrap();
    let extra = own(&grant).extra.iter();
    let extra: Vec<_> = extra
        .map(|(name, value)| (name.as_str(), &**value))
        .collect();
    assert_eq!(extra, [("a", "fixed"), ("b", "shop"), ("d", "gold")]);
}

#[test]
fn t38_a_claim_from_an_annotation_has_no_control_characters() {
    let mut statement = raw_statement();
    statement.claims = vec![RawClaim {
        name: "team".into(),
        service_account_annotation: Some("team".into()),
        ..RawClaim::default()
    }];
    let rules = rules_of(asking(None, &["read"]), &statement);
    let claim = |value: &str| {
        let mut subject = Subject::clone(&subject("shop", "orders", &[]));
        subject.annotations = Arc::new([("team".to_owned(), value.to_owned())].into());
        let grant = decide(at(&rules), &Arc::new(subject), &name("payments")).unwrap();
        own(&grant).extra.values().next().cloned()
    };
    assert_eq!(claim("shop").as_deref(), Some("shop"));
    for value in ["a\r\nx-admin: 1", "\u{1b}[2J", "a\u{2028}b", "\0", ""] {
        assert_eq!(claim(value), None, "{value:?}");
    }
}

#[test]
fn a_grant_can_be_narrowed_and_never_widened() {
    let mut statement = raw_statement();
    statement.allow[0].scopes.push("write".into());
    let rules = rules_of(asking(None, &["read", "write"]), &statement);
    let grant = decided(&rules).unwrap();
    let scopes = |text: &str| ScopeSet::parse(text).unwrap();
    let narrow = grant.narrowed(&scopes("write")).unwrap();
    assert_eq!(narrow.scopes().unwrap().to_string(), "write");
    let denial = narrow.narrowed(&scopes("read write")).unwrap_err();
    assert_eq!(denial.code, Code::ScopeNotAllowed);
    assert_eq!(
        denial.detail,
        "token \"payments\" of TokenPolicy shop/orders has not: read"
    );
    let plain = rules_of(asking(None, &["read"]), &raw_statement());
    let plain = Rules {
        policies: set([policy("shop", "p", 1, "orders", &[("payments", "v")])]).policies,
        ..plain
    };
    let denial = decided(&plain)
        .unwrap()
        .narrowed(&scopes("read"))
        .unwrap_err();
    assert_eq!(
        denial.code,
        Code::ScopeNotAllowed,
        "a service-account token has no scopes"
    );
}

proptest! {
    #[test]
    fn no_token_outlives_what_either_side_says(asked in prop::option::of(30u32..=3600), ceiling in 30u32..=3600) {
        let text = asked.map(|s| format!("{s}s"));
        let mut statement = raw_statement();
        statement.max_lifetime = Some(format!("{ceiling}s"));
        let grant = decided(&rules_of(asking(text.as_deref(), &["read"]), &statement)).unwrap();
        prop_assert_eq!(grant.lifetime().seconds(), asked.map_or(ceiling, |asked| asked.min(ceiling)));
    }
}

#[test]
fn a_token_of_an_audience_is_found_by_its_value_and_its_scopes() {
    let mut statement = raw_statement();
    statement.allow[0].scopes.push("write".into());
    let rules = rules_of(asking(None, &["read", "write"]), &statement);
    let subject = subject("shop", "orders", &[]);
    let value = "https://payments.payments.svc";
    let scopes = |text: &str| ScopeSet::parse(text).unwrap();
    let issuer = IssuerUrl::parse("https://id.example").unwrap();
    let all = decide_for(at(&rules), &subject, &issuer, value, None).unwrap();
    assert_eq!(all.scopes().unwrap().to_string(), "read write");
    let some = decide_for(at(&rules), &subject, &issuer, value, Some(&scopes("read"))).unwrap();
    assert_eq!(some.scopes().unwrap().to_string(), "read");
    let code = |audience, asked: Option<&str>| {
        let asked = asked.map(scopes);
        let denial = decide_for(at(&rules), &subject, &issuer, audience, asked.as_ref());
        denial.unwrap_err().code
    };
    assert_eq!(code(value, Some("admin")), Code::ScopeNotAllowed);
    assert_eq!(code("https://payments.payments.svc/", None), Code::NoPolicy);
    assert_eq!(code("payments", None), Code::NoPolicy);
}

#[test]
fn t42_an_issuer_gives_no_token_of_another_one() {
    let rules = rules_of(asking(None, &["read"]), &raw_statement());
    let subject = subject("shop", "orders", &[]);
    let other = IssuerUrl::parse("https://id.example/other").unwrap();
    let value = "https://payments.payments.svc";
    let denial = decide_for(at(&rules), &subject, &other, value, None).unwrap_err();
    assert_eq!(denial.code, Code::AudienceMissing);
    assert_eq!(
        denial.detail,
        "tokens for the audience \"https://payments.payments.svc\" are made by https://id.example, not by https://id.example/other"
    );
}

#[test]
fn no_issuer_gives_a_service_account_token() {
    let rules = set([policy("shop", "p", 1, "orders", &[("payments", "v")])]);
    let subject = subject("shop", "orders", &[]);
    let issuer = IssuerUrl::parse("https://id.example").unwrap();
    for scopes in [None, ScopeSet::parse("read").ok()] {
        let denial = decide_for(at(&rules), &subject, &issuer, "v", scopes.as_ref()).unwrap_err();
        assert_eq!(denial.code, Code::NoPolicy);
        assert!(
            denial
                .detail
                .ends_with("\"payments\" is a service-account token, which no issuer makes"),
            "{}",
            denial.detail
        );
    }
}

#[test]
fn the_claims_are_those_of_the_grant() {
    let rules = rules_of(asking(Some("30s"), &["read"]), &raw_statement());
    let grant = decided(&rules).unwrap();
    let now: Timestamp = "2026-11-26T10:00:00.9Z".parse().unwrap();
    let id = crate::name::TokenId::from_random([7; 16]);
    let claims = grant.claims(id, now).unwrap();
    assert_eq!(&*claims.issuer, "https://id.example");
    assert_eq!(&*claims.subject, "system:serviceaccount:shop:orders");
    assert_eq!(claims.issued.to_string(), "2026-11-26T10:00:00Z");
    assert_eq!(claims.expires.to_string(), "2026-11-26T10:00:30Z");
    assert_eq!(claims.scopes.to_string(), "read");
    assert_eq!(
        (claims.pod.as_str(), claims.pod_uid.as_str()),
        ("orders-0", "pod-1")
    );
    let plain = set([policy("shop", "p", 1, "orders", &[("payments", "v")])]);
    let id = crate::name::TokenId::from_random([7; 16]);
    assert_eq!(decided(&plain).unwrap().claims(id, now), None);
}
