use serde_json::Value as Json;

use super::*;
use crate::keys::fixture::{at, id, secret, secret_of, value};

fn object(secret: &Json) -> Object {
    serde_json::from_value(secret.clone()).unwrap()
}

fn fault(secret: &Json) -> Fault {
    object(secret).read(None).unwrap_err()
}

fn with(pointer: &str, value: Json) -> Json {
    let mut secret = secret(2, 7, Some(9));
    *secret.pointer_mut(pointer).unwrap() = value;
    secret
}

#[test]
fn what_is_made_of_every_algorithm_can_be_read() {
    for algorithm in Algorithm::ALL {
        let key = object(&secret_of(algorithm, 2, 7, Some(9)))
            .read(None)
            .unwrap();
        let expected = KeyState {
            number: 2,
            published: at(7),
            activated: Some(at(9)),
            algorithm,
            revoked: false,
        };
        assert_eq!(key.state, expected);
        assert_eq!(key.material.signing.algorithm(), algorithm);
        assert_eq!(
            key.material.sealing.id(),
            hallpass_core::token::opaque::KeyId::of(key.material.signing.kid())
        );
        assert_eq!(&*key.version.name, "abcdefgh-2");
        assert_eq!(&*key.version.uid, "uid-of-2");
        assert_eq!(&*key.version.resource_version, "1");
    }
}

#[test]
fn no_two_keys_are_alike() {
    let (one, other) = (secret(1, 0, None), secret(1, 0, None));
    assert_ne!(one["data"]["signing"], other["data"]["signing"]);
    assert_ne!(one["data"]["sealing"], other["data"]["sealing"]);
}

#[test]
fn a_key_that_signs_from_the_start_says_so() {
    let key = NewKey::make(Algorithm::EdDsa).unwrap();
    let manifest: Json =
        serde_json::from_slice(key.manifest(&id(), 1, at(5), true).expose()).unwrap();
    let read = object(&manifest).read(None).unwrap();
    assert_eq!(
        (read.state.published, read.state.activated),
        (at(5), Some(at(5)))
    );
    assert_eq!(read.material.signing.kid(), key.kid());
    assert_eq!(manifest["type"], "hallpass.dev/signing-key");
    assert_eq!(
        manifest["metadata"]["labels"]["hallpass.dev/issuer-id"],
        "abcdefgh"
    );
}

#[test]
fn whatever_is_wrong_with_a_secret_is_said_without_its_content() {
    let cases = [
        ("/type", json!("Opaque"), Fault::Type),
        (
            "/metadata/labels/hallpass.dev~1issuer-id",
            json!("ABC"),
            Fault::Label,
        ),
        ("/metadata/name", json!("abcdefgh"), Fault::Name),
        ("/metadata/name", json!("abcdefgh-02"), Fault::Name),
        ("/metadata/name", json!("abcdefgh-+2"), Fault::Name),
        ("/metadata/name", json!("abcdefgh-0"), Fault::Name),
        ("/metadata/name", json!("abcdefgh-4294967296"), Fault::Name),
        ("/metadata/name", json!("stuvwxyz-2"), Fault::Name),
        ("/metadata/annotations", json!({}), Fault::Time(PUBLISHED)),
        (
            "/metadata/annotations/hallpass.dev~1published",
            json!("now"),
            Fault::Time(PUBLISHED),
        ),
        (
            "/metadata/annotations/hallpass.dev~1activated",
            json!(""),
            Fault::Time(ACTIVATED),
        ),
        (
            "/data/algorithm",
            json!(STANDARD.encode("es256")),
            Fault::Algorithm,
        ),
        (
            "/data/algorithm",
            json!(STANDARD.encode("HS256")),
            Fault::Algorithm,
        ),
        (
            "/data/sealing",
            json!(STANDARD.encode([7; 31])),
            Fault::Sealing,
        ),
        ("/data/sealing", json!("?"), Fault::Incomplete(SEALING)),
        ("/data/signing", json!("?"), Fault::Incomplete(SIGNING)),
        ("/data", json!(null), Fault::Incomplete(ALGORITHM)),
    ];
    for (pointer, value, expected) in cases {
        assert_eq!(
            fault(&with(pointer, value.clone())),
            expected,
            "{pointer}: {value}"
        );
    }
    let mut other = secret(2, 7, None);
    other["data"]["algorithm"] = json!(STANDARD.encode("EdDSA"));
    let fault = fault(&other);
    assert!(
        matches!(fault, Fault::Signing(KeyFault::Rejected { .. })),
        "{fault:?}"
    );
}

#[test]
fn a_key_was_published_when_it_was_stored_at_the_earliest() {
    let mut restored = secret(2, 7, None);
    restored["metadata"]["creationTimestamp"] = json!(at(500).to_string());
    assert_eq!(
        object(&restored).read(None).unwrap().state.published,
        at(500)
    );
    restored["metadata"]["creationTimestamp"] = json!(at(6).to_string());
    assert_eq!(object(&restored).read(None).unwrap().state.published, at(7));
}

#[test]
fn what_has_not_changed_is_not_read_again() {
    let mut stored = secret(2, 7, None);
    let first = object(&stored).read(None).unwrap().material;
    stored["metadata"]["annotations"]["hallpass.dev/activated"] = json!(at(9).to_string());
    let activated = object(&stored).read(Some(&first)).unwrap();
    assert!(Arc::ptr_eq(&first, &activated.material));
    assert_eq!(activated.state.activated, Some(at(9)));
    stored["data"]["sealing"] = json!(STANDARD.encode([7; 32]));
    let changed = object(&stored).read(Some(&first)).unwrap();
    assert!(!Arc::ptr_eq(&first, &changed.material));
}

#[test]
fn t37_nothing_of_a_key_is_in_what_is_printed() {
    let stored = secret(2, 7, Some(9));
    let object = object(&stored);
    let key = object.read(None).unwrap();
    let made = NewKey::make(Algorithm::Es256).unwrap();
    let manifest = made.manifest(&id(), 1, at(0), true);
    let printed = format!("{object:?} {key:?} {made:?} {manifest:?}");
    for part in ["signing", "sealing"] {
        let text = stored["data"][part].as_str().unwrap();
        assert!(!printed.contains(text), "{printed}");
        let numbers = format!("{:?}", value(&stored, part));
        assert!(!printed.contains(&numbers[1..40]), "{printed}");
    }
}
