use std::collections::BTreeSet;

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::{
    audience::{RawAllow, RawStatement},
    issuer::{RawAudiencePattern, RawIssuer},
    name::Scope,
};

fn issuer(name: &str, created: i64, url: &str) -> Arc<Issuer> {
    let raw = RawIssuer {
        name: name.into(),
        uid: format!("uid-{name}"),
        created: Timestamp::from_second(created).unwrap(),
        url: url.into(),
        audiences: vec![RawAudiencePattern {
            pattern: "https://*.acme.example".into(),
            match_labels: [("team".into(), "api".into())].into(),
        }],
        ..RawIssuer::default()
    };
    Arc::new(Issuer::parse(&raw).unwrap())
}

fn raw(namespace: &str, name: &str, created: i64, audience: &str) -> RawStatement {
    RawStatement {
        namespace: namespace.into(),
        name: name.into(),
        uid: format!("uid-{namespace}-{name}"),
        created: Timestamp::from_second(created).unwrap(),
        audience: audience.into(),
        issuer: "hallpass".into(),
        scopes: ["a", "b", "c"].map(String::from).into(),
        allow: vec![RawAllow {
            match_labels: [("team".into(), "shop".into())].into(),
            service_accounts: vec!["orders".into()],
            scopes: vec!["a".into(), "b".into()],
        }],
        contact: Some("#payments-oncall".into()),
        ..RawStatement::default()
    }
}

fn statement(namespace: &str, name: &str, created: i64, audience: &str) -> Arc<Statement> {
    Arc::new(Statement::parse(&raw(namespace, name, created, audience)).unwrap())
}

/// A statement that cannot be used any more.
fn hold(namespace: &str, name: &str, created: i64, audience: &str) -> Arc<Hold> {
    let mut raw = raw(namespace, name, created, audience);
    raw.scopes.clear();
    assert!(Statement::parse(&raw).is_err());
    Arc::new(Statement::hold(&raw).unwrap())
}

fn namespaces() -> BTreeMap<Namespace, Labels> {
    [
        ("shop", "shop"),
        ("payments", "api"),
        ("bank", "api"),
        ("lab", "lab"),
    ]
    .map(|(name, team)| {
        let labels = [("team".to_owned(), team.to_owned())].into();
        (Namespace::parse(name).unwrap(), labels)
    })
    .into()
}

fn set<const N: usize>(statements: [Arc<Statement>; N]) -> AudienceSet {
    held(statements, [])
}

/// The same, beside statements that cannot be used.
fn held<const N: usize, const M: usize>(
    statements: [Arc<Statement>; N],
    holds: [Arc<Hold>; M],
) -> AudienceSet {
    let issuers = [issuer("hallpass", 1, "https://id.example")];
    AudienceSet::new(statements, holds, issuers, namespaces())
}

fn id(namespace: &str, name: &str) -> AudienceId {
    AudienceId {
        namespace: Namespace::parse(namespace).unwrap(),
        name: ObjectName::parse(name).unwrap(),
    }
}

fn ask(set: &AudienceSet, who: (&str, &str), scopes: &str) -> Result<Consent, (Code, String)> {
    let (namespace, account) = who;
    let namespace = Namespace::parse(namespace).unwrap();
    let account = ServiceAccount::parse(account).unwrap();
    let asked = ScopeSet::parse(scopes).unwrap();
    set.consent(&namespace, &account, &id("payments", "payments"), &asked)
        .map_err(|d| (d.code, d.detail))
}

fn refusal(set: &AudienceSet, of: (&str, &str)) -> Option<(Code, String)> {
    let denial = set.refusal(&id(of.0, of.1))?;
    Some((denial.code, denial.detail.clone()))
}

#[test]
fn gives_what_is_asked_for_and_allowed() {
    let set = set([statement(
        "payments",
        "payments",
        1,
        "https://payments.payments.svc",
    )]);
    let consent = ask(&set, ("shop", "orders"), "a").unwrap();
    assert_eq!(consent.scopes.to_string(), "a");
    assert_eq!(consent.withheld, None);
    assert_eq!(consent.issuer.name.as_str(), "hallpass");
    let consent = ask(&set, ("shop", "orders"), "b c").unwrap();
    assert_eq!(consent.scopes.to_string(), "b");
    assert_eq!(
        consent.withheld.unwrap().detail,
        "payments/payments allows shop/orders no scope c; ask #payments-oncall"
    );
}

#[test]
fn a_denial_names_the_missing_line_and_whom_to_ask() {
    let set = set([statement(
        "payments",
        "payments",
        1,
        "https://payments.payments.svc",
    )]);
    let refused = |who, scopes| ask(&set, who, scopes).unwrap_err();
    assert_eq!(
        refused(("shop", "orders"), "c d"),
        (
            Code::ScopeNotAllowed,
            "payments/payments allows shop/orders no scopes c d; ask #payments-oncall".into()
        )
    );
    for who in [("shop", "other"), ("lab", "orders"), ("nowhere", "orders")] {
        let (namespace, account) = who;
        let text =
            format!("payments/payments allows {namespace}/{account} nothing; ask #payments-oncall");
        assert_eq!(refused(who, "a"), (Code::SubjectNotAllowed, text));
    }
}

#[test]
fn an_audience_that_is_not_there_is_named() {
    let denied = ask(&set([]), ("shop", "orders"), "a").unwrap_err();
    let text = "there is no usable TokenAudience payments/payments".to_owned();
    assert_eq!(denied, (Code::AudienceMissing, text));
}

#[test]
fn without_its_issuer_an_audience_gives_nothing() {
    let payments = statement("payments", "payments", 1, "https://payments.payments.svc");
    let set = AudienceSet::new([payments], [], [], namespaces());
    let (code, text) = ask(&set, ("shop", "orders"), "a").unwrap_err();
    assert_eq!(code, Code::IssuerMissing);
    assert_eq!(
        text,
        "payments/payments names the TokenIssuer \"hallpass\", of which there is no usable one; ask #payments-oncall"
    );
}

#[test]
fn an_audience_beyond_its_namespace_needs_the_platform() {
    let set = set([
        statement("payments", "payments", 1, "https://payments.acme.example"),
        statement("lab", "payments", 1, "https://lab.acme.example"),
        statement("lab", "own", 1, "https://own.lab.svc"),
    ]);
    assert!(ask(&set, ("shop", "orders"), "a").is_ok());
    assert_eq!(refusal(&set, ("lab", "own")), None);
    let (code, text) = refusal(&set, ("lab", "payments")).unwrap();
    assert_eq!(code, Code::AudienceNotPermitted);
    assert_eq!(
        text,
        "namespace \"lab\" may not state the audience \"https://lab.acme.example\": take SERVICE.lab.svc, or have whoever runs Hallpass add a pattern to spec.audiences of TokenIssuer \"hallpass\""
    );
}

#[test]
fn of_two_that_state_one_audience_the_older_counts_in_any_order() {
    let value = "https://payments.acme.example";
    let older = statement("payments", "payments", 1, value);
    let younger = statement("bank", "payments", 2, value);
    for pair in [[&older, &younger], [&younger, &older]] {
        let set = set(pair.map(Arc::clone));
        assert_eq!(set.of_value(value).unwrap().id, older.id);
        assert_eq!(refusal(&set, ("payments", "payments")), None);
        let text = format!(
            "bank/payments states the audience \"{value}\", which belongs to the older payments/payments"
        );
        assert_eq!(
            refusal(&set, ("bank", "payments")),
            Some((Code::Conflict, text))
        );
        assert_eq!(set.counting().count(), 1);
        let tagged = set.tagged(AudienceTag::of(&older.audience));
        assert_eq!(tagged.map(|it| &it.id).collect::<Vec<_>>(), [&older.id]);
        let stating = set.stating(value).iter().collect::<Vec<_>>();
        assert_eq!(stating, [&younger.id, &older.id]);
    }
}

#[test]
fn who_may_not_state_an_audience_keeps_it_from_nobody() {
    let value = "https://payments.acme.example";
    let squatter = statement("lab", "payments", 1, value);
    let owner = statement("payments", "payments", 2, value);
    let set = set([squatter, owner]);
    assert_eq!(set.of_value(value).unwrap().id, id("payments", "payments"));
}

#[test]
fn what_cannot_be_used_any_more_still_holds_its_audience() {
    let value = "https://payments.acme.example";
    let older = hold("payments", "payments", 1, value);
    let younger = statement("bank", "payments", 2, value);
    let set = held([younger], [older]);
    let text = format!(
        "bank/payments states the audience \"{value}\", which belongs to the older payments/payments"
    );
    assert_eq!(
        refusal(&set, ("bank", "payments")),
        Some((Code::Conflict, text))
    );
    assert_eq!(set.of_value(value), None);
    assert_eq!(set.counting().count(), 0);
    let value = Audience::parse(value).unwrap();
    let tag = AudienceTag::of(&value);
    assert_eq!(set.tagged(tag).count(), 0);
    let stating = ["bank", "payments"].map(|namespace| id(namespace, "payments"));
    assert_eq!(*set.stating(value.as_str()), stating.into());
    assert_eq!(set.claimed(tag).collect::<Vec<_>>(), [&value]);
    let (code, _) = ask(&set, ("shop", "orders"), "a").unwrap_err();
    assert_eq!(code, Code::AudienceMissing);
}

#[test]
fn what_cannot_be_used_keeps_an_audience_from_nobody_who_is_older_or_may_state_it_alone() {
    let value = "https://payments.acme.example";
    let younger = hold("bank", "payments", 3, value);
    // It may not state that value, nor may one whose issuer is not there.
    let not_permitted = hold("lab", "payments", 1, value);
    let mut without_issuer = (*hold("bank", "other", 1, value)).clone();
    without_issuer.issuer = ObjectName::parse("other").unwrap();
    let owner = statement("payments", "payments", 2, value);
    let holds = [younger, not_permitted, Arc::new(without_issuer)];
    let set = held([owner], holds);
    assert_eq!(refusal(&set, ("payments", "payments")), None);
    assert_eq!(set.of_value(value).unwrap().id, id("payments", "payments"));
}

#[test]
fn of_two_issuers_with_one_url_the_older_counts() {
    let url = "https://id.example";
    let issuers = [
        issuer("a-younger", 2, url),
        issuer("older", 1, url),
        issuer("other", 3, "https://b.example"),
    ];
    let set = AudienceSet::new([], [], issuers, namespaces());
    let counting: Vec<&str> = set.issuers().map(|i| i.name.as_str()).collect();
    assert_eq!(counting, ["older", "other"]);
    let denial = set.issuer_refusal("a-younger").unwrap();
    assert_eq!(denial.code, Code::Conflict);
    assert_eq!(
        denial.detail,
        "the older TokenIssuer \"older\" has the same issuerURL"
    );
    assert_eq!(set.issuer_refusal("older"), None);
}

fn scopes() -> impl Strategy<Value = BTreeSet<&'static str>> {
    prop::collection::btree_set(prop::sample::select(&["a", "b", "c", "d"][..]), 1..4)
}

fn scope_set(scopes: &BTreeSet<&str>) -> ScopeSet {
    ScopeSet::new(scopes.iter().map(|s| Scope::parse(s).unwrap())).unwrap()
}

proptest! {
    /// Whatever is asked for and whatever the lines say: no scope beyond either, and none of both left out.
    #[test]
    fn consent_is_the_intersection_and_never_a_widening(
        asked in scopes(),
        lines in prop::collection::vec(("(shop|lab)", "(orders|other|\\*)", scopes()), 0..5),
    ) {
        let mut raw = raw("payments", "payments", 1, "https://payments.payments.svc");
        raw.scopes = ["a", "b", "c", "d"].map(String::from).into();
        raw.allow = lines.iter().map(|(team, account, scopes)| RawAllow {
            match_labels: [("team".into(), team.clone())].into(),
            service_accounts: vec![account.clone()],
            scopes: scopes.iter().map(|s| (*s).to_owned()).collect(),
        }).collect();
        let set = set([Arc::new(Statement::parse(&raw).unwrap())]);
        let allowed: BTreeSet<&str> = lines.iter()
            .filter(|(team, account, _)| team == "shop" && (account == "orders" || account == "*"))
            .flat_map(|(_, _, scopes)| scopes.iter().copied()).collect();
        let both: BTreeSet<&str> = asked.intersection(&allowed).copied().collect();
        match ask(&set, ("shop", "orders"), &scope_set(&asked).to_string()) {
            Ok(consent) => {
                prop_assert_eq!(&consent.scopes, &scope_set(&both));
                prop_assert_eq!(consent.withheld.is_some(), both != asked);
            }
            Err((code, _)) => {
                prop_assert!(both.is_empty());
                let expected = if allowed.is_empty() { Code::SubjectNotAllowed } else { Code::ScopeNotAllowed };
                prop_assert_eq!(code, expected);
            }
        }
    }
}
