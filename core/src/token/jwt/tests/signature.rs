use jsonwebtoken::{Algorithm, EncodingKey, crypto};

use super::*;

/// The order of P-256 (SEC 2 §2.4.2).
const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6,
    0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

/// The order of the group of Ed25519 (RFC 8032 §5.1), little-endian.
const EDWARDS_ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// Every way of writing that word in upper and lower case.
fn casings(word: &str) -> impl Iterator<Item = String> {
    let cased = |mask: u32| {
        let upper = move |(i, c): (usize, char)| match mask >> i & 1 {
            1 => c.to_ascii_uppercase(),
            _ => c.to_ascii_lowercase(),
        };
        word.chars().enumerate().map(upper).collect()
    };
    (0..1 << word.len()).map(cased)
}

#[test]
fn t01_refuses_none_and_every_other_spelling_of_an_algorithm() {
    let issuer = issuer();
    let mut refused = 0;
    for alg in ["none", "es256", "eddsa", "rs256"]
        .into_iter()
        .flat_map(casings)
    {
        for signer in issuer.signers().iter().filter(|signer| signer.alg != alg) {
            let header = json!({"alg": alg, "kid": signer.kid, "typ": "at+jwt"});
            let signed = signer.sign(header.to_string(), access_json().to_string());
            let bare = signed[..=signed.rfind('.').unwrap()].to_owned();
            for token in [signed, bare] {
                assert_eq!(issuer.fault(&token), malformed(Flaw::Algorithm), "{alg}");
                refused += 1;
            }
        }
    }
    assert!(refused >= 64, "{refused}");
    for alg in [
        "", "HS256", "PS256", "ES256K", "ES384", "ES512", "RS512", "Ed25519", "ES256 ", " ES256",
    ] {
        // Nor with a key that nobody here has: it must not look as if somebody else might have it.
        for kid in [issuer.es256.kid.as_str(), "unheard-of"] {
            let header = json!({"alg": alg, "kid": kid, "typ": "at+jwt"}).to_string();
            assert_eq!(issuer.header(&header), malformed(Flaw::Algorithm), "{alg}");
        }
    }
}

#[test]
fn t01_refuses_a_token_without_a_signature() {
    let issuer = issuer();
    for signer in issuer.signers() {
        let token = sign(&signer.key(), &access()).unwrap();
        let bare = &token.expose()[..=token.expose().rfind('.').unwrap()];
        assert_eq!(issuer.fault(bare), Some(Fault::BadSignature));
    }
}

#[test]
fn t02_refuses_the_algorithm_of_another_key_and_a_public_key_as_a_secret() {
    let issuer = issuer();
    for signer in issuer.signers() {
        for other in issuer.signers().iter().filter(|it| it.alg != signer.alg) {
            let header = json!({"alg": other.alg, "kid": signer.kid, "typ": "at+jwt"}).to_string();
            let token = other.sign(&header, access_json().to_string());
            assert_eq!(issuer.fault(&token), malformed(Flaw::Algorithm), "{header}");
        }
        for public in signer.public_encodings() {
            let secret = EncodingKey::from_secret(&public);
            let forged = |alg: &str| {
                let header = json!({"alg": alg, "kid": signer.kid, "typ": "at+jwt"});
                let claims = access_json().to_string();
                let message = format!("{}.{}", encode(header.to_string()), encode(claims));
                let hmac = crypto::sign(message.as_bytes(), &secret, Algorithm::HS256).unwrap();
                issuer.fault(&format!("{message}.{hmac}"))
            };
            assert_eq!(forged("HS256"), malformed(Flaw::Algorithm));
            assert_eq!(forged(signer.alg), Some(Fault::BadSignature));
        }
    }
}

#[test]
fn t07_refuses_ecdsa_signatures_that_no_key_makes() {
    let issuer = issuer();
    let token = sign(&issuer.es256.key(), &access()).unwrap();
    let (message, signature) = token.expose().rsplit_once('.').unwrap();
    let real = jose::bytes(signature).unwrap();
    let (r, s) = real.split_at(32);
    let (zero, top) = ([0; 32], [0xff; 32]);
    let mut one = zero;
    one[31] = 1;
    for forged in [
        [zero, zero].concat(),
        [zero, one].concat(),
        [one, zero].concat(),
        [one, one].concat(),
        [ORDER, ORDER].concat(),
        [ORDER, one].concat(),
        [top, top].concat(),
        [r, &zero].concat(),
        [&zero, s].concat(),
        [r, &ORDER].concat(),
        [r, &top].concat(),
        [s, r].concat(),
        [&real[..], &[0]].concat(),
        [&[0], &real[..]].concat(),
        [&[0; 16], r, &[0; 16], s].concat(),
        real[..63].to_vec(),
        // DER
        [&[0x30, 0x44, 2, 32], r, &[2, 32], s].concat(),
        vec![],
        vec![0; 64],
        vec![0; 96],
        vec![0; 256],
    ] {
        let token = format!("{message}.{}", encode(&forged));
        assert_eq!(
            issuer.fault(&token),
            Some(Fault::BadSignature),
            "{forged:?}"
        );
    }
}

#[test]
fn t07_refuses_edwards_signatures_that_no_key_makes() {
    let issuer = issuer();
    let token = sign(&issuer.eddsa.key(), &access()).unwrap();
    let (message, signature) = token.expose().rsplit_once('.').unwrap();
    let real = jose::bytes(signature).unwrap();
    let (r, s) = real.split_at(32);
    // The same number once more around the group: fits the equation, and is not the one spelling.
    let mut carry = 0;
    let around: Vec<u8> = s
        .iter()
        .zip(EDWARDS_ORDER)
        .map(|(&a, b)| {
            carry += u16::from(a) + u16::from(b);
            let byte = carry as u8;
            carry >>= 8;
            byte
        })
        .collect();
    let mut identity = [0; 32];
    identity[0] = 1;
    for forged in [
        [r, &around].concat(),
        [s, r].concat(),
        [r, &[0; 32]].concat(),
        [&[0; 32], s].concat(),
        [identity, [0; 32]].concat(),
        [&real[..], &[0]].concat(),
        real[..63].to_vec(),
        vec![0; 64],
        vec![],
    ] {
        let token = format!("{message}.{}", encode(&forged));
        assert_eq!(
            issuer.fault(&token),
            Some(Fault::BadSignature),
            "{forged:?}"
        );
    }
    assert_eq!(issuer.fault(token.expose()), None);
}

#[test]
fn t05_a_kid_is_a_key_of_a_table_and_nothing_else() {
    let issuer = issuer();
    let own = issuer.es256.kid.as_str();
    let long = "k".repeat(4000);
    let (lower, spaced) = (own.to_lowercase(), format!("{own} "));
    for kid in [
        "",
        "../../../../dev/null",
        "' OR '1'='1",
        "\0",
        "$(reboot)",
        "a\r\nX: y",
        &own[1..],
        &lower,
        &spaced,
        &long,
    ] {
        let header = issuer.with("kid", kid.into()).to_string();
        assert_eq!(issuer.header(&header), Some(Fault::UnknownKey), "{kid:?}");
    }
}

#[test]
fn t42_a_key_counts_only_together_with_its_issuer() {
    let issuer = issuer();
    // Another issuer that calls its key the same.
    let foreign = Signer::es256(&issuer.es256.kid);
    let header = issuer.with("typ", "at+jwt".into()).to_string();
    let theirs = foreign.sign(&header, access_json().to_string());
    assert_eq!(issuer.fault(&theirs), Some(Fault::BadSignature));
    let keys = KeySet::parse_issuer(&jwks(&[&foreign])).unwrap();
    let verify = |token: &str, url| {
        let expected = Expected {
            issuer: url,
            audience: AUDIENCE,
        };
        let token = Secret::new(token.to_owned());
        verify(&keys, &token, &expected, at(START)).err()
    };
    let other = "https://tokens.example/us";
    // Its own key does not make it ours, nor does ours make it theirs.
    assert_eq!(verify(&theirs, other), Some(Fault::WrongIssuer));
    let ours = issuer.es256.sign(&header, access_json().to_string());
    assert_eq!(verify(&ours, other), Some(Fault::BadSignature));
    let claims = changed("/iss", Some(other.into())).to_string();
    let own = foreign.sign(&header, claims);
    assert_eq!(verify(&own, other), None);
    assert_eq!(issuer.fault(&own), Some(Fault::BadSignature));
}
