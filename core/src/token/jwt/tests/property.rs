use proptest::prelude::*;

use super::*;

#[test]
fn refuses_a_token_of_which_one_bit_was_changed() {
    let issuer = issuer();
    for signer in issuer.signers() {
        let token = sign(&signer.key(), &access()).unwrap();
        assert_eq!(issuer.fault(token.expose()), None);
        for byte in 0..token.expose().len() {
            for bit in 0..8 {
                let mut flipped = token.expose().clone().into_bytes();
                flipped[byte] ^= 1 << bit;
                // What is not UTF-8 cannot reach the verifier at all.
                let Ok(flipped) = String::from_utf8(flipped) else {
                    continue;
                };
                let fault = issuer.fault(&flipped);
                assert!(
                    matches!(
                        fault,
                        Some(Fault::Malformed(_) | Fault::UnknownKey | Fault::BadSignature)
                    ),
                    "{} byte {byte} bit {bit}: {fault:?}",
                    signer.alg
                );
            }
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_text_is_malformed(text in any::<String>()) {
        prop_assert!(matches!(issuer().fault(&text), Some(Fault::Malformed(_))));
    }

    #[test]
    fn t05_no_kid_but_the_key_s_own_finds_it(kid in any::<String>()) {
        let issuer = issuer();
        prop_assume!(issuer.signers().iter().all(|signer| signer.kid != kid));
        let fault = issuer.header(&issuer.with("kid", kid.into()).to_string());
        prop_assert_eq!(fault, Some(Fault::UnknownKey));
    }

    #[test]
    fn what_is_signed_is_accepted_and_reads_the_same(
        name in "[a-z][a-z0-9]{0,9}",
        pod in "[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?",
        uid in "[!-~]{1,128}",
        id in "[!-~]{1,64}",
        client in "[!-~]{1,512}",
        scopes in "[a-z:./]{1,20}( [a-zA-Z~]{1,20}){0,10}",
        extra in prop::collection::btree_map("x[!-~]{0,20}", any::<String>(), 0..5),
        life in 1_i64..=3600,
    ) {
        let issuer = issuer();
        let extra = extra.into_iter().filter_map(|(name, value)| {
            Some((ClaimName::parse(&name).ok()?, value.into()))
        });
        let claims = Claims {
            subject: format!("system:serviceaccount:{name}:{name}").into(),
            expires: at(START + life),
            id: TokenId::parse(&id).unwrap(),
            client_id: client.into(),
            scopes: ScopeSet::parse(&scopes).unwrap(),
            namespace: Namespace::parse(&name).unwrap(),
            service_account: ServiceAccount::parse(&name).unwrap(),
            service_account_uid: Uid::parse(&uid).unwrap(),
            pod: PodName::parse(&pod).unwrap(),
            extra: extra.collect(),
            ..access()
        };
        let token = sign(&issuer.eddsa.key(), &claims).unwrap();
        let verified = issuer.verify_at(token.expose(), at(START));
        prop_assert_eq!(verified.map(Verified::into_claims), Ok(claims));
    }

    #[test]
    fn arbitrary_signed_claims_never_panic_and_never_verify(
        claims in "\\{(\"(iss|aud|exp|sub|kubernetes.io)\":(1|\"a\"|\\[\\]|null|\\{\\}),?){0,5}\\}"
    ) {
        prop_assert!(matches!(
            issuer().claims(claims),
            Some(Fault::Malformed(_) | Fault::WrongIssuer | Fault::WrongAudience)
        ));
    }

    #[test]
    fn a_token_lives_to_its_end(second in END - 50..END + 50) {
        let issuer = issuer();
        let token = sign(&issuer.es256.key(), &access()).unwrap();
        let alive = second < END + 5;
        prop_assert_eq!(issuer.verify_at(token.expose(), at(second)).is_ok(), alive);
    }
}
