use serde_json::json;

use super::*;
use crate::token::{
    fixture::{Signer, encode},
    keys::KeySet,
};

/// The private key of RFC 7515 A.3 with nothing but its number in it (RFC 5915).
const P256: &[u8] =
    b"\x30\x41\x02\x01\x00\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\
    \x48\xce\x3d\x03\x01\x07\x04\x27\x30\x25\x02\x01\x01\x04\x20";
/// The beginning of every Ed25519 key (RFC 8410 §7).
const ED25519: &[u8] = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";

fn pkcs8(head: &[u8], number: &str) -> Secret<Vec<u8>> {
    Secret::new([head, &jose::bytes(number).unwrap()].concat())
}

#[test]
fn an_algorithm_has_one_spelling() {
    for algorithm in Algorithm::ALL {
        assert_eq!(Algorithm::parse(algorithm.as_str()), Some(algorithm));
    }
    let words = Algorithm::ALL.map(Algorithm::as_str);
    assert_eq!(words, ["ES256", "EdDSA", "RS256"]);
    for other in ["", "es256", "EDDSA", "Ed25519", "ES384", "HS256", "none"] {
        assert_eq!(Algorithm::parse(other), None, "{other}");
    }
}

#[test]
fn has_the_thumbprints_of_the_standards() {
    // RFC 7638 §3.1
    let rsa = PublicMembers::Rsa {
        n: "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_B\
            JECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FD\
            W2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vM\
            QFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
            .into(),
        e: "AQAB".into(),
    };
    assert_eq!(
        rsa.thumbprint(),
        "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
    );
    // RFC 8037 A.1 to A.3
    let der = pkcs8(ED25519, "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A");
    let key = SigningKey::from_pkcs8(&der, Algorithm::EdDsa).unwrap();
    let kid = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k";
    assert_eq!(key.kid(), kid);
    let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    assert_eq!(
        serde_json::to_value(key.public()).unwrap(),
        json!({"kty": "OKP", "crv": "Ed25519", "x": x, "kid": kid, "alg": "EdDSA", "use": "sig"})
    );
    // RFC 8037 A.4: the signature is the same at every call.
    let message = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
    let signature = key.sign(message.as_bytes()).unwrap();
    assert_eq!(
        encode(signature),
        "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
    );
}

#[test]
fn publishes_the_public_half_of_the_key_and_nothing_else() {
    let der = pkcs8(P256, "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI");
    let key = SigningKey::from_pkcs8(&der, Algorithm::Es256).unwrap();
    assert_eq!(
        serde_json::to_value(key.public()).unwrap(),
        json!({
            "kty": "EC",
            "crv": "P-256",
            "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
            "kid": key.kid(),
            "alg": "ES256",
            "use": "sig",
        })
    );
    for signer in [Signer::es256("k"), Signer::eddsa("k"), Signer::rs256("k")] {
        let signer = signer.of_issuer();
        let jwk = serde_json::to_value(signer.key().public()).unwrap();
        assert_eq!(jwk, signer.jwk(), "{}", signer.alg);
        assert_eq!(signer.key().algorithm().as_str(), signer.alg);
    }
}

#[test]
fn what_it_signs_is_verified_with_its_public_half() {
    for signer in [Signer::es256("k"), Signer::eddsa("k"), Signer::rs256("k")] {
        let key = signer.key();
        let keys = json!({"keys": [key.public()]}).to_string();
        let keys = KeySet::parse_issuer(keys.as_bytes()).unwrap();
        let verifier = keys.find(key.kid()).unwrap();
        assert_eq!(verifier.algorithm(), signer.alg);
        let signature = encode(key.sign(b"message").unwrap());
        assert_eq!(verifier.verify(b"message", &signature), Ok(true));
        assert_eq!(verifier.verify(b"massage", &signature), Ok(false));
    }
}

#[test]
fn t15_refuses_a_key_of_another_algorithm_and_no_key_at_all() {
    let signers = [Signer::es256("k"), Signer::eddsa("k"), Signer::rs256("k")];
    let rejected = |der: &Secret<Vec<u8>>, algorithm| {
        let fault = SigningKey::from_pkcs8(der, algorithm).err();
        matches!(fault, Some(KeyFault::Rejected { algorithm: named, .. }) if named == algorithm)
    };
    for signer in &signers {
        for algorithm in Algorithm::ALL {
            let fits = algorithm.as_str() == signer.alg;
            assert_eq!(
                !rejected(&signer.pkcs8(), algorithm),
                fits,
                "{}",
                signer.alg
            );
        }
        let der = signer.pkcs8();
        for length in [0, 1, 16, der.expose().len() - 1] {
            let cut = Secret::new(der.expose()[..length].to_vec());
            assert!(rejected(&cut, Algorithm::parse(signer.alg).unwrap()));
        }
    }
    assert!(rejected(&Signer::es384("k").pkcs8(), Algorithm::Es256));
}

#[test]
fn t15_refuses_a_key_that_no_verifier_takes() {
    let fault = |bytes: usize, e: &[u8]| {
        let (n, e) = (encode(vec![0xff; bytes]), encode(e));
        PublicJwk::new(PublicMembers::Rsa { n, e }, Algorithm::Rs256).err()
    };
    assert_eq!(fault(256, &[1, 0, 1]), None);
    assert_eq!(fault(1024, &[1, 0, 1]), None);
    assert_eq!(fault(255, &[1, 0, 1]), Some(KeyFault::Unverifiable));
    assert_eq!(fault(1025, &[1, 0, 1]), Some(KeyFault::Unverifiable));
    assert_eq!(fault(256, &[1, 0, 0, 0, 1]), Some(KeyFault::Unverifiable));
}

#[test]
fn prints_its_algorithm_and_its_kid_alone() {
    let signer = Signer::es256("k");
    let key = signer.key();
    assert_eq!(
        format!("{key:?}"),
        format!(
            "SigningKey {{ algorithm: Es256, kid: {:?}, .. }}",
            key.kid()
        )
    );
    let der = Secret::new(b"planted".to_vec());
    let fault = SigningKey::from_pkcs8(&der, Algorithm::Rs256).unwrap_err();
    assert!(!format!("{fault} {fault:?}").contains("planted"));
}
