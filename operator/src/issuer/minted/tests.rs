use serde_json::{Value, json};

use super::*;
use crate::issuer::fixture::{PLANTED, START, claims, grant, jwt, now};

fn fitting() -> Value {
    claims(&json!({
        "metadata": {"uid": "uid-shop-orders"},
        "spec": {
            "audiences": ["https://vault.example"],
            "expirationSeconds": 3600,
            "boundObjectRef": {"name": "orders-0", "uid": "uid-shop-orders-0"},
        },
    }))
}

fn accepted(change: impl FnOnce(&mut Value), expiry: i64) -> Result<IssuedToken, Mismatch> {
    let mut claims = fitting();
    change(&mut claims);
    let expiry = Timestamp::from_second(expiry).unwrap();
    accept(&grant(), Secret::new(jwt(&claims)), expiry, now())
}

#[test]
fn accepts_the_token_that_fits_its_grant() {
    let issued = accepted(|_| (), START + 3600).unwrap();
    assert_eq!(issued.id(), "b5c4d1c0-token-id");
    assert_eq!(issued.issued_at.as_second(), START);
    assert_eq!(issued.expires_at().as_second(), START + 3600);
    assert!(!format!("{issued:?}").contains(PLANTED), "{issued:?}");
}

#[test]
fn accepts_a_shorter_life_and_tells_the_earlier_end() {
    let issued = accepted(|c| c["exp"] = (START + 900).into(), START + 1200).unwrap();
    assert_eq!(issued.expires_at().as_second(), START + 900);
}

#[test]
fn accepts_an_api_server_that_is_a_little_ahead() {
    assert!(accepted(|c| c["exp"] = (START + 3605).into(), START + 3605).is_ok());
}

#[test]
fn refuses_what_is_for_somebody_else() {
    let refused = |change: fn(&mut Value)| accepted(change, START + 3600).unwrap_err();
    assert_eq!(
        refused(|c| c["kubernetes.io"]["serviceaccount"]["uid"] = "uid-other".into()),
        Mismatch::ServiceAccount
    );
    assert_eq!(
        refused(|c| c["kubernetes.io"]["pod"]["uid"] = "uid-other".into()),
        Mismatch::Pod
    );
    assert_eq!(
        refused(|c| c["kubernetes.io"]["pod"] = Value::Null),
        Mismatch::Pod
    );
    assert_eq!(
        refused(|c| c["aud"] = json!(["https://kubernetes.default.svc"])),
        Mismatch::Audience
    );
    assert_eq!(
        refused(|c| c["aud"] = json!(["https://vault.example", "b"])),
        Mismatch::Audience
    );
    assert_eq!(refused(|c| c["aud"] = json!([])), Mismatch::Audience);
}

#[test]
fn refuses_what_lives_longer_or_is_over() {
    let refused = |exp: i64, expiry: i64| accepted(|c| c["exp"] = exp.into(), expiry).unwrap_err();
    assert_eq!(
        refused(START + 365 * 86_400, START + 3607),
        Mismatch::Lifetime
    );
    assert_eq!(refused(START + 3600, START + 3606), Mismatch::Lifetime);
    assert_eq!(refused(START + 3606, START + 3600), Mismatch::Lifetime);
    assert_eq!(refused(START, START + 3600), Mismatch::Lifetime);
    assert_eq!(refused(START + 3600, START - 1), Mismatch::Lifetime);
    let late = accepted(|c| c["iat"] = (START + 3600).into(), START + 3600).unwrap_err();
    assert_eq!(late, Mismatch::Lifetime);
}

#[test]
fn refuses_what_cannot_be_read() {
    let expiry = Timestamp::from_second(START + 3600).unwrap();
    for token in ["", "a.b", "a.b.c", "a.e30.c", "a.e30.c.d", "hpo_opaque"] {
        let refused = accept(&grant(), Secret::new(token.to_owned()), expiry, now()).unwrap_err();
        assert_eq!(refused, Mismatch::Unreadable, "{token}");
    }
}
