use super::*;

#[test]
fn a_label_is_what_kubernetes_says_it_is() {
    let long = "a".repeat(64);
    for (text, expected) in [
        ("vault", Ok(())),
        ("0-a-9", Ok(())),
        (&long[..63], Ok(())),
        ("", Err(NameError::Empty)),
        (&long, Err(NameError::TooLong(63))),
        ("-a", Err(NameError::Label)),
        ("a-", Err(NameError::Label)),
        ("A", Err(NameError::Label)),
        ("a.b", Err(NameError::Label)),
        ("a/b", Err(NameError::Label)),
        ("..", Err(NameError::Label)),
        ("ä", Err(NameError::Label)),
    ] {
        assert_eq!(TokenName::parse(text).map(|_| ()), expected, "{text:?}");
    }
}

#[test]
fn a_service_account_may_have_dots_but_no_empty_part() {
    for (text, expected) in [
        ("orders", Ok(())),
        ("orders.v2", Ok(())),
        ("a..b", Err(NameError::Subdomain)),
        (".a", Err(NameError::Subdomain)),
        ("a-.b", Err(NameError::Subdomain)),
        ("a%2eb", Err(NameError::Subdomain)),
    ] {
        assert_eq!(
            ServiceAccount::parse(text).map(|_| ()),
            expected,
            "{text:?}"
        );
    }
}

#[test]
fn an_audience_of_hallpass_is_reserved_and_a_longer_word_is_not() {
    for (text, expected) in [
        ("https://vault.example", Ok(())),
        ("hallpass.dev", Err(NameError::Reserved)),
        ("hallpass.dev/hallpass-system", Err(NameError::Reserved)),
        ("hallpass.dev/", Err(NameError::Reserved)),
        ("hallpass.device", Ok(())),
        ("https://hallpass.dev/", Ok(())),
        ("", Err(NameError::Empty)),
        ("a b", Err(NameError::NotPrintable)),
        ("a\nb", Err(NameError::NotPrintable)),
    ] {
        assert_eq!(Audience::parse(text).map(|_| ()), expected, "{text:?}");
    }
}

#[test]
fn a_name_read_from_json_is_checked_too() {
    let error = serde_json::from_str::<TokenName>("\"a/b\"").unwrap_err();
    assert!(
        error.to_string().starts_with(&NameError::Label.to_string()),
        "{error}"
    );
    assert_eq!(
        serde_json::from_str::<TokenName>("\"vault\"")
            .unwrap()
            .as_str(),
        "vault"
    );
}

#[test]
fn a_scope_is_a_scope_token_and_never_a_pattern() {
    let long = "s".repeat(129);
    for (text, expected) in [
        ("payments:refunds", Ok(())),
        ("https://api.example/Mail.Read", Ok(())),
        ("!#[]~'", Ok(())),
        (&long[..128], Ok(())),
        ("", Err(NameError::Empty)),
        (&long, Err(NameError::TooLong(128))),
        ("a b", Err(NameError::NotPrintable)),
        ("a\"b", Err(NameError::Scope)),
        ("a\\b", Err(NameError::Scope)),
        ("*", Err(NameError::Scope)),
        ("payments:*", Err(NameError::Scope)),
        ("a\u{7f}", Err(NameError::NotPrintable)),
        ("a\0", Err(NameError::NotPrintable)),
        ("ä", Err(NameError::NotPrintable)),
    ] {
        assert_eq!(Scope::parse(text).map(|_| ()), expected, "{text:?}");
    }
}

#[test]
fn a_trust_domain_is_one_of_spiffe() {
    let long = "t".repeat(256);
    for (text, expected) in [
        ("example.org", Ok(())),
        ("prod_1.example-2.org", Ok(())),
        (&long[..255], Ok(())),
        ("", Err(NameError::Empty)),
        (&long, Err(NameError::TooLong(255))),
        ("Example.org", Err(NameError::TrustDomain)),
        ("example.org/ns", Err(NameError::TrustDomain)),
        ("example.org:443", Err(NameError::TrustDomain)),
    ] {
        assert_eq!(TrustDomain::parse(text).map(|_| ()), expected, "{text:?}");
    }
}

#[test]
fn a_claim_with_a_meaning_of_its_own_is_reserved() {
    for name in RESERVED_CLAIMS {
        assert_eq!(ClaimName::parse(name), Err(NameError::ReservedClaim));
        assert!(ClaimName::parse(&format!("{name}_2")).is_ok(), "{name}");
    }
    for (text, expected) in [
        ("hp", Err(NameError::ReservedClaim)),
        ("hp_chain", Err(NameError::ReservedClaim)),
        ("hallpass.dev", Err(NameError::ReservedClaim)),
        ("https://hallpass.dev/x", Err(NameError::ReservedClaim)),
        ("ahp", Ok(())),
        ("team", Ok(())),
        ("https://example.com/tenant", Ok(())),
        ("Sub", Err(NameError::ReservedClaim)),
        ("HP", Err(NameError::ReservedClaim)),
        ("", Err(NameError::Empty)),
        ("a b", Err(NameError::NotPrintable)),
    ] {
        assert_eq!(ClaimName::parse(text).map(|_| ()), expected, "{text:?}");
    }
    let long = "c".repeat(129);
    assert!(ClaimName::parse(&long[..128]).is_ok());
    assert_eq!(ClaimName::parse(&long), Err(NameError::TooLong(128)));
}

#[test]
fn a_token_id_is_short_and_made_of_random_bytes() {
    let long = "j".repeat(65);
    assert!(TokenId::parse(&long[..64]).is_ok());
    assert_eq!(TokenId::parse(&long), Err(NameError::TooLong(64)));
    assert_eq!(TokenId::parse(""), Err(NameError::Empty));
    for (byte, expected) in [
        (0x00, "00000000-0000-4000-8000-000000000000"),
        (0xff, "ffffffff-ffff-4fff-bfff-ffffffffffff"),
    ] {
        assert_eq!(TokenId::from_random([byte; 16]).as_str(), expected);
    }
}

#[test]
fn an_issuer_id_follows_from_the_url() {
    // printf %s https://issuer.example | sha256sum, and the first 5 bytes through base32
    for (url, id) in [
        ("https://issuer.example", "762vvt77"),
        ("https://hallpass.example/eu", "es7feium"),
    ] {
        assert_eq!(IssuerId::of(url).as_str(), id, "{url}");
        assert_eq!(IssuerId::parse(id).map(|id| id.to_string()), Ok(id.into()));
    }
    for text in [
        "",
        "abcdefg",
        "abcdefghi",
        "abcdefg1",
        "ABCDEFGH",
        "abcdef-h",
    ] {
        assert_eq!(IssuerId::parse(text), Err(NameError::IssuerId), "{text:?}");
    }
}
