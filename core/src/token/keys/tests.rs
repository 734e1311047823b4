use serde_json::{Value, json};

use super::*;
use crate::token::fixture::{Signer, encode, jwks};

mod vectors;

fn parse(keys: &[Value]) -> Result<KeySet, KeySetFault> {
    KeySet::parse(json!({ "keys": keys }).to_string().as_bytes())
}

/// How many keys of the document count, and how many do not.
fn counts(keys: &[Value]) -> (usize, usize) {
    let set = parse(keys).unwrap();
    (set.len(), set.skipped())
}

/// The key with one member changed.
fn with(jwk: &Value, member: &str, value: Value) -> Value {
    let mut jwk = jwk.clone();
    jwk[member] = value;
    jwk
}

fn without(jwk: &Value, member: &str) -> Value {
    let mut jwk = jwk.clone();
    jwk.as_object_mut().unwrap().remove(member);
    jwk
}

#[test]
fn takes_the_algorithm_from_the_key_itself() {
    let (rsa, p256, p384) = (Signer::rs256("r"), Signer::es256("p"), Signer::es384("q"));
    let set = KeySet::parse(&jwks(&[&rsa, &p256, &p384])).unwrap();
    assert_eq!((set.len(), set.skipped(), set.is_empty()), (3, 0, false));
    let algorithm = |kid| set.find(kid).map(Key::algorithm);
    assert_eq!(algorithm("r"), Some("RS256"));
    assert_eq!(algorithm("p"), Some("ES256"));
    assert_eq!(algorithm("q"), Some("ES384"));
    assert_eq!(algorithm("R"), None);
    let unnamed = parse(&[without(&without(&p256.jwk(), "alg"), "use")]).unwrap();
    assert_eq!(unnamed.find("p").map(Key::algorithm), Some("ES256"));
}

#[test]
fn t15_passes_over_and_counts_what_cannot_verify() {
    let p256 = Signer::es256("p").jwk();
    let other = [
        json!({"kty": "oct", "kid": "s", "alg": "HS256", "k": encode([7; 32])}),
        json!({"kty": "OKP", "kid": "o", "crv": "Ed25519", "x": encode([7; 32])}),
        json!({"kty": "EC", "kid": "e", "crv": "P-521", "x": encode([7; 66]), "y": encode([7; 66])}),
        with(&p256, "crv", "P-384".into()),
        with(&p256, "crv", "secp256k1".into()),
        with(&p256, "crv", Value::Null),
        with(&p256, "alg", "HS256".into()),
        with(&p256, "alg", "ES384".into()),
        with(&p256, "use", "enc".into()),
        with(&p256, "use", Value::Null),
        with(&p256, "kty", "ec".into()),
        with(&p256, "kid", "".into()),
        with(&p256, "kid", 7.into()),
        with(&p256, "kid", "k".repeat(1025).into()),
        with(&p256, "x", encode([7; 31]).into()),
        with(&p256, "y", encode([7; 33]).into()),
        with(&p256, "y", "not base64url".into()),
        with(&p256, "d", encode([7; 32]).into()),
        without(&p256, "kid"),
        without(&p256, "x"),
        json!({}),
    ];
    for jwk in other {
        assert_eq!(counts(std::slice::from_ref(&jwk)), (0, 1), "{jwk}");
    }
    let longest = with(&p256, "kid", "k".repeat(1024).into());
    assert_eq!(counts(&[longest]), (1, 0));
    assert!(parse(&[json!({})]).unwrap().is_empty());
    assert_eq!(counts(&[p256, json!({})]), (1, 1));
}

#[test]
fn t15_passes_over_weak_and_odd_rsa_keys() {
    let rsa = Signer::rs256("r").jwk();
    let modulus = |bytes: usize, first: u8, last: u8| {
        let mut n = vec![0xff; bytes];
        n[0] = first;
        n[bytes - 1] = last;
        with(&rsa, "n", encode(n).into())
    };
    assert_eq!(counts(&[modulus(256, 0x80, 1)]), (1, 0));
    assert_eq!(counts(&[modulus(1024, 0xff, 1)]), (1, 0));
    for weak in [
        modulus(128, 0xff, 1),
        modulus(256, 0x7f, 1),
        modulus(257, 0, 1),
        modulus(256, 0x80, 2),
        modulus(1025, 1, 1),
        with(&rsa, "n", "".into()),
        with(&rsa, "e", encode([1]).into()),
        with(&rsa, "e", encode([0]).into()),
        with(&rsa, "e", encode([1, 0, 0]).into()),
        with(&rsa, "e", encode([1, 0, 0, 0, 1]).into()),
        with(&rsa, "e", "".into()),
    ] {
        assert_eq!(counts(&[weak]), (0, 1));
    }
}

#[test]
fn t15_refuses_two_keys_with_one_kid() {
    let key = Signer::es256("k").jwk();
    let twin = Signer::es256("k").jwk();
    let unusable = json!({"kid": "k", "kty": "oct"});
    for pair in [
        [key.clone(), twin],
        [key.clone(), unusable],
        [key.clone(), key],
    ] {
        assert_eq!(parse(&pair).err(), Some(KeySetFault::DuplicateKid));
    }
}

#[test]
fn refuses_a_document_that_is_no_key_set() {
    let key = Signer::es256("k").jwk();
    let many = |n: usize| -> Vec<Value> {
        let named = |i: usize| with(&key, "kid", format!("k{i}").into());
        (0..n).map(named).collect()
    };
    assert_eq!(counts(&many(64)), (64, 0));
    assert_eq!(parse(&many(65)).err(), Some(KeySetFault::TooMany));
    let parse = |text: &str| KeySet::parse(text.as_bytes()).err();
    let none = r#"{"keys":[]}"#;
    assert_eq!(parse(none), None);
    let padded = |length: usize| none.to_owned() + &" ".repeat(length - none.len());
    assert_eq!(parse(&padded(LONGEST_DOCUMENT)), None);
    let long = parse(&padded(LONGEST_DOCUMENT + 1));
    assert_eq!(long, Some(KeySetFault::TooLong));
    for text in [
        "",
        "[]",
        "{}",
        r#"{"keys":{}}"#,
        r#"{"keys":[[]]}"#,
        r#"{"keys":[null]}"#,
        r#"{"keys":[],"keys":[]}"#,
        r#"{"keys":[{"kid":"a","kid":"b"}]}"#,
    ] {
        assert_eq!(parse(text), Some(KeySetFault::Unreadable), "{text}");
    }
}

#[test]
fn an_issuer_of_hallpass_has_keys_of_its_three_algorithms() {
    let (rsa, p256, p384) = (Signer::rs256("r"), Signer::es256("p"), Signer::es384("q"));
    let edwards = Signer::eddsa("e");
    let document = jwks(&[&rsa, &p256, &p384, &edwards]);
    let algorithm = |set: &KeySet, kid| set.find(kid).map(Key::algorithm);
    let set = KeySet::parse_issuer(&document).unwrap();
    assert_eq!((set.len(), set.skipped()), (3, 1));
    assert_eq!(algorithm(&set, "r"), Some("RS256"));
    assert_eq!(algorithm(&set, "p"), Some("ES256"));
    assert_eq!(algorithm(&set, "e"), Some("EdDSA"));
    assert_eq!(algorithm(&set, "q"), None);
    // The API server never signs with Ed25519.
    let set = KeySet::parse(&document).unwrap();
    assert_eq!((set.len(), set.skipped()), (3, 1));
    assert_eq!(algorithm(&set, "e"), None);
}

#[test]
fn t15_passes_over_odd_edwards_keys() {
    let counts = |jwk: Value| {
        let set = KeySet::parse_issuer(json!({"keys": [jwk]}).to_string().as_bytes()).unwrap();
        (set.len(), set.skipped())
    };
    let jwk = Signer::eddsa("e").jwk();
    assert_eq!(counts(jwk.clone()), (1, 0));
    assert_eq!(counts(without(&without(&jwk, "alg"), "use")), (1, 0));
    for odd in [
        with(&jwk, "crv", "Ed448".into()),
        with(&jwk, "crv", "X25519".into()),
        with(&jwk, "crv", "ed25519".into()),
        with(&jwk, "crv", Value::Null),
        with(&jwk, "kty", "EC".into()),
        with(&jwk, "alg", "Ed25519".into()),
        with(&jwk, "alg", "ES256".into()),
        with(&jwk, "use", "enc".into()),
        with(&jwk, "x", encode([7; 31]).into()),
        with(&jwk, "x", encode([7; 33]).into()),
        with(&jwk, "d", encode([7; 32]).into()),
        without(&jwk, "x"),
        without(&jwk, "crv"),
        without(&jwk, "kid"),
    ] {
        assert_eq!(counts(odd.clone()), (0, 1), "{odd}");
    }
}

#[test]
fn t15_passes_over_keys_that_are_for_something_else() {
    let p256 = Signer::es256("p").jwk();
    for ops in [json!(["verify"]), json!(["sign", "verify"])] {
        assert_eq!(counts(&[with(&p256, "key_ops", ops)]), (1, 0));
    }
    for ops in [
        json!([]),
        json!(["encrypt"]),
        json!(["Verify"]),
        json!("verify"),
        json!(null),
    ] {
        assert_eq!(counts(&[with(&p256, "key_ops", ops)]), (0, 1));
    }
}

#[test]
fn t15_passes_over_keys_of_the_chips_that_could_not_make_primes() {
    // 65537^128, big-endian: a power of 65537 modulo every prime, of 2049 bits.
    let mut power = vec![1_u8];
    for _ in 0..128 {
        let mut carry = 0;
        let shifted = [&power[..], &[0, 0]].concat();
        let padded = [&[0, 0], &power[..]].concat();
        let digits = shifted.iter().zip(&padded).rev().map(|(&a, &b)| {
            let sum = u16::from(a) + u16::from(b) + carry;
            carry = sum >> 8;
            sum as u8
        });
        let mut digits: Vec<u8> = digits.collect();
        digits.reverse();
        power = digits;
    }
    let first = power.iter().position(|&byte| byte != 0).unwrap();
    let power = &power[first..];
    assert_eq!(power.len(), 257);
    let mut next = power.to_vec();
    next[256] ^= 2;
    let rsa = Signer::rs256("r").jwk();
    assert_eq!(counts(&[with(&rsa, "n", encode(power).into())]), (0, 1));
    assert_eq!(counts(&[with(&rsa, "n", encode(next).into())]), (1, 0));
    assert_eq!(counts(&[rsa]), (1, 0));
}
