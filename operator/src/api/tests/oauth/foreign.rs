//! What is no token of that issuer, or none at all.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hallpass_core::name::IssuerId;
use serde_json::json;

use super::{
    fixture::{FIRST, LEDGER, PAYMENTS, SECOND, Shop, claims},
    introspect::is_inactive,
};

const PATH: &str = "/oauth2/introspect";
const SECOND_PATH: &str = "/second/oauth2/introspect";

fn jwt(header: &serde_json::Value, payload: &str) -> String {
    let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
    format!(
        "{}.{}.{}",
        encode(&header.to_string()),
        encode(payload),
        "A".repeat(86)
    )
}

#[tokio::test]
async fn t42_an_issuer_knows_no_token_of_another_one() {
    let shop = Shop::new().await;
    let first = claims(FIRST, PAYMENTS, 60);
    for token in [shop.signed(FIRST, &first), shop.sealed(FIRST, &first)] {
        is_inactive(
            &shop.introspect(SECOND_PATH, &shop.payments(), &token).await,
            &token,
        );
    }
    // Claims that name one issuer under the key of the other.
    for (signs, says) in [(FIRST, SECOND), (SECOND, FIRST)] {
        let mixed = claims(says, PAYMENTS, 60);
        for token in [shop.signed(signs, &mixed), shop.sealed(signs, &mixed)] {
            for path in [PATH, SECOND_PATH] {
                is_inactive(
                    &shop.introspect(path, &shop.payments(), &token).await,
                    signs,
                );
            }
        }
    }
    // The first issuer signs for an audience that is the second one's.
    let stray = claims(FIRST, LEDGER, 60);
    for token in [shop.signed(FIRST, &stray), shop.sealed(FIRST, &stray)] {
        for path in [PATH, SECOND_PATH] {
            is_inactive(
                &shop.introspect(path, &shop.ledger(), &token).await,
                "stray",
            );
        }
    }
}

#[tokio::test]
async fn a_token_that_was_changed_anywhere_is_none() {
    let shop = Shop::new().await;
    let valid = claims(FIRST, PAYMENTS, 60);
    for token in [shop.signed(FIRST, &valid), shop.sealed(FIRST, &valid)] {
        for place in (0..token.len()).step_by(7) {
            let mut changed = token.clone().into_bytes();
            changed[place] = if changed[place] == b'B' { b'C' } else { b'B' };
            let changed = String::from_utf8(changed).unwrap();
            is_inactive(
                &shop.introspect(PATH, &shop.payments(), &changed).await,
                &changed,
            );
        }
        for other in [
            format!("{token}A"),
            format!(" {token}"),
            token[1..].to_owned(),
            format!("{token}\n"),
        ] {
            is_inactive(
                &shop.introspect(PATH, &shop.payments(), &other).await,
                &other,
            );
        }
    }
}

#[tokio::test]
async fn t05_t06_a_kid_is_a_key_of_a_table_and_nobody_is_asked_about_it() {
    let shop = Shop::new().await;
    let said = json!({"iss": FIRST, "aud": PAYMENTS}).to_string();
    let before = shop.operator.server.calls().len();
    for kid in [
        "../../etc/passwd",
        "' OR 1=1 --",
        "$(id)",
        "\u{0}",
        "",
        "\u{e9}\r\n",
    ] {
        let token = jwt(&json!({"alg": "ES256", "kid": kid, "typ": "at+jwt"}), &said);
        is_inactive(&shop.introspect(PATH, &shop.payments(), &token).await, kid);
    }
    for kid in 0..1000 {
        let kid = kid.to_string();
        let token = jwt(&json!({"alg": "ES256", "kid": kid, "typ": "at+jwt"}), &said);
        is_inactive(&shop.introspect(PATH, &shop.payments(), &token).await, &kid);
    }
    let ring = shop.keys.ring(&IssuerId::of(FIRST)).unwrap();
    let kid = ring.active(jiff::Timestamp::UNIX_EPOCH).signing().kid();
    for (alg, typ) in [
        ("none", "at+jwt"),
        ("HS256", "at+jwt"),
        ("ES256", "JWT"),
        ("ES256", "dpop+jwt"),
    ] {
        let token = jwt(&json!({"alg": alg, "kid": kid, "typ": typ}), &said);
        is_inactive(&shop.introspect(PATH, &shop.payments(), &token).await, alg);
    }
    assert_eq!(shop.operator.server.calls().len(), before);
}

#[tokio::test]
async fn t10_an_identity_token_is_no_access_token() {
    let shop = Shop::new().await;
    for token in [shop.orders(), shop.payments()] {
        is_inactive(
            &shop.introspect(PATH, &shop.payments(), &token).await,
            "identity",
        );
    }
}

#[tokio::test]
async fn t13_what_is_too_long_or_too_deep_is_none() {
    let shop = Shop::new().await;
    let header = json!({"alg": "ES256", "kid": "a", "typ": "at+jwt"});
    let deep = format!(
        "{{\"iss\":\"{FIRST}\",\"aud\":{}{}}}",
        "[".repeat(2500),
        "]".repeat(2500)
    );
    let many = format!(
        "{{\"iss\":\"{FIRST}\",\"aud\":[{}\"a\"]}}",
        "\"a\",".repeat(1200)
    );
    let twice = format!("{{\"iss\":\"{FIRST}\",\"aud\":\"a\",\"aud\":\"{PAYMENTS}\"}}");
    for token in [
        "a".repeat(8 * 1024 + 1),
        format!("hpo_{}", "a".repeat(8 * 1024)),
        ".".repeat(8000),
        "hpo_".to_owned(),
        "hpo_aaaaaaaa_".to_owned(),
        "\u{1f600}".repeat(100),
        jwt(&header, &deep),
        jwt(&header, &many),
        jwt(&header, &twice),
        jwt(&header, "null"),
        jwt(&header, &"[".repeat(5000)),
    ] {
        let short: String = token.chars().take(60).collect();
        is_inactive(
            &shop.introspect(PATH, &shop.payments(), &token).await,
            &short,
        );
    }
}
