use std::collections::BTreeMap;

use serde_json::Value;

use super::*;
use crate::keys::{
    Keys,
    fixture::{at, secret_of},
    secret::{Object, StoredKey},
};
use hallpass_core::{name::IssuerId, token::signing::Algorithm};

fn key(algorithm: Algorithm, number: u32, activated: Option<i64>) -> StoredKey {
    let object: Object =
        serde_json::from_value(secret_of(algorithm, number, 0, activated)).unwrap();
    object.read(None).unwrap()
}

fn keys() -> Vec<StoredKey> {
    vec![
        key(Algorithm::Rs256, 1, Some(0)),
        key(Algorithm::Es256, 2, Some(100)),
        key(Algorithm::EdDsa, 3, None),
    ]
}

fn ring(keys: &[StoredKey]) -> Option<KeyRing> {
    KeyRing::new(keys.iter().map(|key| (&key.state, &key.material)))
}

fn kid(key: &StoredKey) -> &str {
    key.material.signing.kid()
}

#[test]
fn the_newest_key_that_began_signs() {
    let keys = keys();
    let ring = ring(&keys).unwrap();
    let active = |time| ring.active(at(time)).signing().kid();
    for (time, number) in [(-50, 0), (0, 0), (99, 0), (100, 1), (1_000_000, 1)] {
        assert_eq!(active(time), kid(&keys[number]), "{time}");
    }
    assert_eq!(
        ring.active(at(100)).sealing().id(),
        KeyId::of(kid(&keys[1]))
    );
}

#[test]
fn there_is_no_ring_without_a_key_that_signs() {
    assert!(ring(&[]).is_none());
    assert!(ring(&keys()[2..]).is_none());
}

#[test]
fn the_key_set_has_every_key_and_nothing_private() {
    let keys = keys();
    let ring = ring(&keys).unwrap();
    let document: Value = serde_json::from_slice(&ring.jwks().body).unwrap();
    let told: Vec<_> = document["keys"].as_array().unwrap().iter().collect();
    assert_eq!(told.len(), 3);
    for ((jwk, key), alg) in told.into_iter().zip(&keys).zip(["RS256", "ES256", "EdDSA"]) {
        assert_eq!(jwk["kid"], kid(key));
        assert_eq!((&jwk["alg"], &jwk["use"]), (&alg.into(), &"sig".into()));
        let members: BTreeMap<String, Value> = serde_json::from_value(jwk.clone()).unwrap();
        for private in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
            assert!(!members.contains_key(private), "{private}");
        }
    }
    assert_eq!((ring.verifying().len(), ring.verifying().skipped()), (3, 0));
}

#[test]
fn the_same_keys_make_the_same_document() {
    let mut keys = keys();
    let one = ring(&keys).unwrap();
    keys.reverse();
    keys[0].state.activated = Some(at(7));
    let other = ring(&keys).unwrap();
    assert_eq!(one.jwks(), other.jwks());
    let fewer = ring(&keys[1..]).unwrap();
    assert_ne!(one.jwks().etag, fewer.jwks().etag);
    assert!(one.jwks().etag.starts_with('"') && one.jwks().etag.ends_with('"'));
}

#[test]
fn every_key_opens_what_it_sealed() {
    let keys = keys();
    let ring = ring(&keys).unwrap();
    for key in &keys {
        let id = key.material.sealing.id();
        assert_eq!(ring.sealing(id).map(SealingKey::id), Some(id));
    }
    assert!(ring.sealing(KeyId::of("somebody else's")).is_none());
}

#[test]
fn f22_a_panic_of_who_holds_the_keys_leaves_them_whole_and_to_be_replaced() {
    let url = "https://issuer.example";
    let (keys, id) = (Keys::of(&[url]), IssuerId::of(url));
    let before = keys.ring(&id).unwrap();
    let holder = keys.clone();
    let held = std::thread::spawn(move || {
        let _held = (holder.0.issuers.load(), holder.ring(&IssuerId::of(url)));
        panic!("planted");
    });
    held.join().unwrap_err();
    assert!(Arc::ptr_eq(&keys.ring(&id).unwrap(), &before));
    keys.forget_all();
    assert!(keys.ring(&id).is_none());
}
