use proptest::prelude::*;

use super::*;

#[test]
fn refuses_a_token_of_which_one_character_was_changed() {
    let token = sealed();
    assert_eq!(fault(&token), None);
    for place in 0..token.len() {
        for other in b' '..=b'~' {
            let mut changed = token.clone().into_bytes();
            if changed[place] == other {
                continue;
            }
            changed[place] = other;
            let changed = String::from_utf8(changed).unwrap();
            let fault = flaw(&changed);
            assert!(
                matches!(fault, Some(Fault::Malformed(_))),
                "{place} {other}"
            );
        }
        let (before, after) = token.split_at(place);
        assert!(flaw(&format!("{before}{}", &after[1..])).is_some());
        assert!(flaw(&format!("{before}A{after}")).is_some());
        assert!(flaw(before).is_some());
    }
}

#[test]
fn refuses_a_payload_of_which_one_bit_was_changed_under_a_fresh_checksum() {
    let payload = payload(&sealed());
    assert_eq!(fault(&dressed(&payload)), None);
    for byte in 0..payload.len() {
        for bit in 0..8 {
            let mut flipped = payload.clone();
            flipped[byte] ^= 1 << bit;
            let expected = match byte {
                0 => Fault::Malformed(Flaw::Version),
                1..9 => Fault::UnknownKey,
                9..17 => Fault::WrongAudience,
                _ => Fault::BadSignature,
            };
            assert_eq!(fault(&dressed(flipped)), Some(expected), "{byte} {bit}");
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_text_is_malformed(text in any::<String>(), rest in "hpo_[a-z2-7]{8}_[A-Za-z0-9_-]{0,99}") {
        prop_assert!(matches!(flaw(&text), Some(Fault::Malformed(_))));
        prop_assert!(matches!(flaw(&rest), Some(Fault::Malformed(_))));
    }

    #[test]
    fn arbitrary_payloads_never_open(payload in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(fault(&dressed(payload)).is_some());
    }

    #[test]
    fn what_is_sealed_opens_and_reads_the_same(
        name in "[a-z][a-z0-9]{0,9}",
        pod in "[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?",
        uid in "[!-~]{1,128}",
        id in "[!-~]{1,64}",
        random in any::<[u8; 16]>(),
        client in "[!-~]{1,512}",
        scopes in "[a-z:./]{1,20}( [a-zA-Z~]{1,20}){0,10}",
        extra in prop::collection::btree_map("x[!-~]{0,20}", any::<String>(), 0..5),
        life in 1_i64..=3600,
        forms in any::<[bool; 4]>(),
        nonce in any::<[u8; 24]>(),
    ) {
        let extra = extra.into_iter().filter_map(|(name, value)| {
            Some((ClaimName::parse(&name).ok()?, value.into()))
        });
        let account = format!("system:serviceaccount:{name}:{name}");
        let spiffe = format!("spiffe://prod.example/ns/{name}/sa/{name}");
        let subject = if forms[0] { account.clone() } else { spiffe };
        let client = if forms[1] { client } else if forms[2] { account } else { subject.clone() };
        let id = TokenId::parse(&id).unwrap();
        let claims = Claims {
            subject: subject.into(),
            expires: at(START + life),
            id: if forms[3] { id } else { TokenId::from_random(random) },
            client_id: client.into(),
            scopes: ScopeSet::parse(&scopes).unwrap(),
            namespace: Namespace::parse(&name).unwrap(),
            service_account: ServiceAccount::parse(&name).unwrap(),
            service_account_uid: Uid::parse(&uid).unwrap(),
            pod: PodName::parse(&pod).unwrap(),
            extra: extra.collect(),
            ..access()
        };
        let token = seal(&key("kid"), &claims, nonce).unwrap();
        let verified = open_at(token.expose(), at(START));
        prop_assert_eq!(verified.map(Verified::into_claims), Ok(claims));
    }
}
