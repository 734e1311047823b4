use hallpass_crds::{token_audience::TokenAudience, token_policy::TokenPolicy};

use super::*;
use crate::{
    controller::{
        fixture::{LATER, NOON, asking, audience, issuer, namespace, time},
        status::reported,
    },
    index::{Index, fixture::policy},
};

/// The index of namespaces shop and mail, with those audiences and policies.
fn index(audiences: Vec<TokenAudience>, policies: Vec<TokenPolicy>) -> Index {
    let index = Index::filled(policies, vec![], vec![]);
    let namespaces = vec![
        namespace("shop", ("team", "shop")),
        namespace("mail", ("hidden", "hidden")),
    ];
    index.allow(audiences, vec![issuer("hallpass")], namespaces);
    index
}

fn said(
    index: &Index,
    signing: &[&str],
    now: &str,
    old: Option<&TokenAudienceStatus>,
) -> TokenAudienceStatus {
    let snapshot = index.snapshot().unwrap();
    let namespaces = snapshot.asking();
    let signing = signing.iter().map(|n| ObjectName::parse(n).unwrap());
    let view = View {
        audiences: &snapshot.rules().audiences,
        namespace: &Namespace::parse("payments").unwrap(),
        asking: &Asking::new(&snapshot.rules().policies, &namespaces),
        signing: &signing.collect(),
    };
    let record = &snapshot.audiences("payments")["payments"];
    desired(record, &view, time(now), old)
}

fn status(index: &Index) -> TokenAudienceStatus {
    said(index, &["hallpass"], NOON, None)
}

fn summary(status: &TokenAudienceStatus) -> String {
    let c = reported(status).unwrap();
    format!("{} {}: {}", c.status, c.reason, c.message)
}

/// The refused tokens, each as `namespace/policy/token reason: message`.
fn lines(status: &TokenAudienceStatus) -> Vec<String> {
    let line = |r: &RefusedToken| {
        let of = format!("{}/{}/{}", r.namespace, r.policy, r.token);
        format!("{of} {}: {}", r.reason, r.message)
    };
    status.refused.iter().map(line).collect()
}

fn with(change: impl FnOnce(&mut TokenAudience)) -> TokenAudience {
    let mut audience = audience("payments");
    change(&mut audience);
    audience
}

#[test]
fn an_audience_with_nothing_in_its_way_is_ready() {
    let mut twice = asking("shop", "orders", &["orders"], "read");
    let mut again = twice.spec.tokens[0].clone();
    again.name = "again".to_owned();
    twice.spec.tokens.push(again);
    let policies = vec![twice, policy("shop", "other", "orders")];
    let status = status(&index(vec![audience("payments")], policies));
    assert_eq!(
        summary(&status),
        "True Ready: tokens can be issued to those who are allowed"
    );
    assert_eq!(status.observed_generation, Some(1));
    assert_eq!((status.policies, status.refused_count), (Some(1), Some(0)));
    assert_eq!(lines(&status), [] as [&str; 0]);
}

#[test]
fn an_audience_that_allows_nobody_says_so() {
    let audience = with(|a| a.spec.allow.clear());
    assert_eq!(
        summary(&status(&index(vec![audience], vec![]))),
        "True Ready: spec.allow has no entries: nobody gets a token"
    );
}

#[test]
fn what_stands_in_the_way_is_named() {
    let mut older = audience("older");
    older.spec.audience = "https://payments.payments.svc".to_owned();
    let cases = [
        (
            vec![with(|a| a.spec.scopes.clear())],
            "False Invalid: spec.scopes must have",
        ),
        (
            vec![with(|a| {
                a.spec.audience = "https://bank.example".to_owned()
            })],
            "False AudienceNotPermitted: namespace \"payments\" may not state",
        ),
        (
            vec![with(|a| a.spec.issuer_ref.name = "other".to_owned())],
            "False IssuerMissing: payments/payments names the TokenIssuer \"other\"",
        ),
        // Both are of the same age, so that the uid decides.
        (
            vec![audience("payments"), older],
            "False Conflict: payments/payments states the audience",
        ),
    ];
    for (audiences, expected) in cases {
        let said = summary(&status(&index(audiences, vec![])));
        assert!(said.starts_with(expected), "{said}");
    }
}

#[test]
fn an_issuer_without_a_key_is_waited_for() {
    let index = index(vec![audience("payments")], vec![]);
    assert_eq!(
        summary(&said(&index, &["other"], NOON, None)),
        "False IssuerNotReady: TokenIssuer \"hallpass\" has no key to sign with yet"
    );
}

#[test]
fn who_asks_and_is_not_allowed_is_told_in_order_with_every_service_account() {
    let policies = vec![
        asking("shop", "orders", &["orders", "jobs"], "read write"),
        asking("shop", "fine", &["orders"], "read"),
        asking("mail", "sender", &["sender"], "read"),
    ];
    let status = status(&index(vec![audience("payments")], policies));
    assert_eq!(
        lines(&status),
        [
            "mail/sender/pay SubjectNotAllowed: payments/payments allows mail/sender nothing; ask #payments",
            "shop/orders/pay SubjectNotAllowed: payments/payments allows shop/jobs nothing; ask #payments; \
             payments/payments allows shop/orders no scope write; ask #payments",
        ]
    );
    assert_eq!((status.policies, status.refused_count), (Some(3), Some(2)));
}

#[test]
fn all_that_are_refused_are_counted_and_the_first_of_them_listed() {
    let name = |i: usize| format!("p{:02}", 40 - i);
    let policies = (0..40).map(|i| {
        // The order is the one of the names, not of the age.
        let mut policy = asking("mail", &name(i), &["sender"], "read");
        policy.metadata.uid = Some(format!("uid-{i:02}"));
        policy
    });
    let status = status(&index(vec![audience("payments")], policies.collect()));
    assert_eq!(
        (status.policies, status.refused_count),
        (Some(40), Some(40))
    );
    let names: Vec<_> = status.refused.iter().map(|r| r.policy.clone()).collect();
    let expected: Vec<_> = (1..=32).map(|i| format!("p{i:02}")).collect();
    assert_eq!(names, expected);
}

#[test]
fn what_is_wrong_with_the_audience_itself_is_said_once_for_each_token() {
    let audience = with(|a| a.spec.issuer_ref.name = "other".to_owned());
    let policies = vec![asking("shop", "orders", &["orders", "jobs"], "read")];
    assert_eq!(
        lines(&status(&index(vec![audience], policies))),
        [
            "shop/orders/pay IssuerMissing: payments/payments names the TokenIssuer \"other\", of which there is \
             no usable one; ask #payments"
        ]
    );
}

#[test]
fn the_owner_learns_nothing_of_another_namespace_but_who_asks() {
    let mut asking = asking("mail", "sender", &["sender"], "read");
    let mut hidden = asking.spec.tokens[0].clone();
    hidden.name = "hidden".to_owned();
    hidden.audience_ref.as_mut().unwrap().name = "hidden".to_owned();
    let also_hidden = crate::index::fixture::token("hidden-too");
    asking.spec.tokens.extend([hidden, also_hidden]);
    let policies = vec![asking, policy("mail", "hidden", "hidden")];
    let status = status(&index(vec![audience("payments")], policies));
    assert_eq!((status.policies, status.refused_count), (Some(1), Some(1)));
    let text = serde_json::to_string(&status).unwrap();
    assert!(!text.contains("hidden"), "{text}");
}

#[test]
fn a_long_refusal_is_cut() {
    let scopes: Vec<String> = (0..32).map(|i| format!("{i:0>100}")).collect();
    let policies = vec![asking("shop", "orders", &["orders"], &scopes.join(" "))];
    let status = status(&index(vec![audience("payments")], policies));
    assert_eq!(status.refused[0].reason, "ScopeNotAllowed");
    assert_eq!(status.refused[0].message.len(), 1024);
}

#[test]
fn what_is_said_already_is_said_again_unchanged() {
    let policies = vec![asking("mail", "sender", &["sender"], "read")];
    let index = index(vec![audience("payments")], policies);
    let first = status(&index);
    assert_eq!(said(&index, &["hallpass"], LATER, Some(&first)), first);
    let turned = said(&index, &[], LATER, Some(&first));
    assert_eq!(
        reported(&turned).unwrap().last_transition_time.0,
        time(LATER)
    );
}
