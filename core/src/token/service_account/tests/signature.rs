use jsonwebtoken::{Algorithm, EncodingKey, crypto};

use super::*;

#[test]
fn t01_refuses_none_and_every_other_spelling_of_an_algorithm() {
    let cluster = cluster();
    let mut refused = 0;
    for word in ["none", "es256"] {
        for mask in 0..1_u32 << word.len() {
            let cased: String = word
                .chars()
                .enumerate()
                .map(|(i, c)| {
                    if mask >> i & 1 == 1 {
                        c.to_ascii_uppercase()
                    } else {
                        c
                    }
                })
                .collect();
            if cased == "ES256" {
                continue;
            }
            let header = format!(r#"{{"alg":"{cased}","kid":"es256-key"}}"#);
            let signed = cluster.es256.sign(&header, claims().to_string());
            let bare = signed[..=signed.rfind('.').unwrap()].to_owned();
            for token in [signed, bare] {
                assert_eq!(cluster.fault(&token), malformed(Flaw::Algorithm), "{cased}");
                refused += 1;
            }
        }
    }
    assert!(refused >= 64, "{refused}");
    for alg in [
        "", "HS256", "PS256", "ES256K", "EdDSA", "RS512", "ES256 ", " ES256",
    ] {
        // Nor with a key that nobody here has: it must not look as if somebody else might have it.
        for kid in ["es256-key", "unheard-of"] {
            let header = json!({"alg": alg, "kid": kid}).to_string();
            assert_eq!(cluster.header(&header), malformed(Flaw::Algorithm), "{alg}");
        }
    }
    let header = r#"{"alg":"ES512","kid":"unheard-of"}"#;
    assert_eq!(cluster.header(header), Some(Fault::UnknownKey));
    let token = cluster.es256.token(&claims());
    let unsigned = &token[..=token.rfind('.').unwrap()];
    assert_eq!(cluster.fault(unsigned), Some(Fault::BadSignature));
    assert_eq!(cluster.fault(&token), None);
}

#[test]
fn t02_refuses_the_algorithm_of_another_key_and_a_public_key_as_a_secret() {
    let cluster = cluster();
    for (alg, kid) in [
        ("RS256", "es256-key"),
        ("ES384", "es256-key"),
        ("ES512", "es256-key"),
        ("ES256", "rs256-key"),
        ("ES256", "es384-key"),
    ] {
        let header = json!({"alg": alg, "kid": kid}).to_string();
        assert_eq!(
            cluster.header(&header),
            malformed(Flaw::Algorithm),
            "{alg} {kid}"
        );
    }
    for signer in [&cluster.es256, &cluster.rs256] {
        for public in signer.public_encodings() {
            let secret = EncodingKey::from_secret(&public);
            let forged = |alg: &str| {
                let header = json!({"alg": alg, "kid": signer.kid}).to_string();
                let message = format!("{}.{}", encode(header), encode(claims().to_string()));
                let hmac = crypto::sign(message.as_bytes(), &secret, Algorithm::HS256).unwrap();
                cluster.fault(&format!("{message}.{hmac}"))
            };
            assert_eq!(forged("HS256"), malformed(Flaw::Algorithm));
            assert_eq!(forged(signer.alg), Some(Fault::BadSignature));
        }
    }
}

#[test]
fn t07_refuses_signatures_that_no_key_makes() {
    const ORDER: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc,
        0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let cluster = cluster();
    let token = cluster.es256.token(&claims());
    let (message, signature) = token.rsplit_once('.').unwrap();
    let real = jose::bytes(signature).unwrap();
    let (r, s) = real.split_at(32);
    let (zero, top) = ([0; 32], [0xff; 32]);
    let mut one = zero;
    one[31] = 1;
    let der = [&[0x30, 0x44, 2, 32], r, &[2, 32], s].concat();
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
        der,
        vec![],
        vec![0; 64],
        vec![0; 96],
        vec![0; 256],
    ] {
        let token = format!("{message}.{}", encode(&forged));
        assert_eq!(
            cluster.fault(&token),
            Some(Fault::BadSignature),
            "{forged:?}"
        );
    }
    assert_eq!(cluster.fault(&token), None);
}

#[test]
fn t42_a_key_of_another_cluster_with_the_same_kid_signs_nothing_here() {
    let cluster = cluster();
    let foreign = Signer::es256("es256-key").token(&claims());
    assert_eq!(cluster.fault(&foreign), Some(Fault::BadSignature));
    let unknown = Signer::es256("other-key").token(&claims());
    assert_eq!(cluster.fault(&unknown), Some(Fault::UnknownKey));
}
