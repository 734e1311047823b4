use proptest::prelude::*;

use super::*;

#[test]
fn refuses_a_token_of_which_one_bit_was_changed() {
    let cluster = cluster();
    for signer in [&cluster.es256, &cluster.rs256] {
        let token = signer.token(&claims());
        assert_eq!(cluster.fault(&token), None);
        for byte in 0..token.len() {
            for bit in 0..8 {
                let mut flipped = token.clone().into_bytes();
                flipped[byte] ^= 1 << bit;
                // What is not UTF-8 cannot reach the verifier at all.
                let Ok(flipped) = String::from_utf8(flipped) else {
                    continue;
                };
                let fault = cluster.fault(&flipped);
                assert!(
                    matches!(
                        fault,
                        Some(Fault::Malformed(_) | Fault::UnknownKey | Fault::BadSignature)
                    ),
                    "byte {byte} bit {bit}: {fault:?}"
                );
            }
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_text_is_malformed(text in any::<String>()) {
        let cluster = cluster();
        prop_assert!(matches!(cluster.fault(&text), Some(Fault::Malformed(_))));
    }

    #[test]
    fn arbitrary_bytes_in_a_part_never_verify(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        part in 0_usize..3,
    ) {
        let cluster = cluster();
        let token = cluster.es256.token(&claims());
        let encoded = encode(bytes);
        let mut parts: Vec<&str> = token.split('.').collect();
        parts[part] = &encoded;
        prop_assert!(matches!(
            cluster.fault(&parts.join(".")),
            Some(Fault::Malformed(_) | Fault::BadSignature)
        ));
    }

    #[test]
    fn t05_no_kid_but_the_key_s_own_finds_it(kid in any::<String>()) {
        prop_assume!(kid != "es256-key");
        let cluster = cluster();
        let header = json!({"alg": "ES256", "kid": kid}).to_string();
        let fault = cluster.header(&header);
        prop_assert!(matches!(
            fault,
            Some(Fault::UnknownKey | Fault::Malformed(Flaw::Algorithm))
        ));
    }

    #[test]
    fn arbitrary_signed_claims_never_panic_and_never_verify(
        claims in "\\{(\"(iss|aud|exp|sub|kubernetes.io)\":(1|\"a\"|\\[\\]|null|\\{\\}),?){0,5}\\}"
    ) {
        let cluster = cluster();
        prop_assert!(matches!(
            cluster.claims(claims),
            Some(Fault::Malformed(_) | Fault::WrongIssuer | Fault::WrongAudience)
        ));
    }

    #[test]
    fn a_token_lives_from_its_start_to_its_end(second in START - 100..END + 100) {
        let cluster = cluster();
        let token = cluster.es256.token(&claims());
        let alive = (START - 5..END + 5).contains(&second);
        prop_assert_eq!(cluster.verify_at(&token, at(second)).is_ok(), alive);
    }

    #[test]
    fn t13_arbitrary_bytes_are_no_key_set_with_keys(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(!KeySet::parse(&bytes).is_ok_and(|set| !set.is_empty()));
    }
}
