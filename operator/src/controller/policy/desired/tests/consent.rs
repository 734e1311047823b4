//! Tokens of audiences: what the status says of the other side.

use super::*;
use crate::index::fixture::{audience, audience_token, issuer, namespace};

/// Policy `orders` of `shop` that asks for those scopes of `payments/payments`.
fn asking(scopes: &[&str]) -> Shop {
    let mut policy = policy("shop", "orders", "orders");
    policy.spec.tokens = vec![audience_token("payments", "payments", scopes)];
    Shop {
        policies: vec![policy],
        accounts: vec!["orders", "other"],
        right: Right::Withheld,
        ..Shop::default()
    }
}

fn allowed(shop: &Shop) -> Index {
    let index = shop.index();
    let namespaces = ["shop", "payments"].map(namespace).into();
    index.allow(
        vec![audience("payments", "JWT")],
        vec![issuer()],
        namespaces,
    );
    index
}

fn told(index: &Index) -> (String, String) {
    let snapshot = index.snapshot().unwrap();
    let namespace = Namespace::parse("shop").unwrap();
    let view = View {
        namespace: &namespace,
        rules: snapshot.rules(),
        standings: Standings::default(),
        service_accounts: snapshot.service_accounts("shop"),
        right: Right::Withheld,
        grant_command: GRANT,
    };
    let record = &snapshot.policies("shop")["orders"];
    let status = desired(
        &record.clone().unpacked(),
        &view,
        NOON.parse().unwrap(),
        None,
    );
    let token = &status.tokens[0];
    let line = format!("{:?} {}: {}", token.ready, token.reason, token.message);
    (line, summary_line(&status))
}

#[test]
fn a_token_that_its_audience_allows_needs_no_right_to_mint() {
    let (token, summary) = told(&allowed(&asking(&["read"])));
    assert_eq!(token, "True Ready: can be issued");
    assert_eq!(summary, "True Ready: every token can be issued");
}

#[test]
fn a_token_without_consent_names_the_missing_line_and_whom_to_ask() {
    let (token, summary) = told(&allowed(&asking(&["write"])));
    let expected = "False ScopeNotAllowed: payments/payments allows shop/orders no scope write; ask #payments-oncall";
    assert_eq!(token, expected);
    assert_eq!(summary, expected);
    let (token, _) = told(&asking(&["read"]).index());
    assert_eq!(
        token,
        "False AudienceMissing: there is no usable TokenAudience payments/payments"
    );
}

#[test]
fn a_token_that_is_allowed_in_part_is_ready_and_says_what_it_lacks() {
    let (token, summary) = told(&allowed(&asking(&["read", "write"])));
    let expected = "True ScopeNotAllowed: can be issued in part: payments/payments allows shop/orders no scope write; ask #payments-oncall";
    assert_eq!(token, expected);
    assert_eq!(summary, expected);
}

#[test]
fn of_two_subjects_the_one_that_is_refused_is_named() {
    let mut shop = asking(&["read"]);
    shop.policies[0].spec.subjects.push(subject("other"));
    let (token, _) = told(&allowed(&shop));
    assert_eq!(
        token,
        "True SubjectNotAllowed: can be issued in part: payments/payments allows shop/other nothing; ask #payments-oncall"
    );
}
