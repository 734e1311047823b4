use aws_lc_rs::error::Unspecified;

use super::*;
use crate::{
    name::{ClaimName, Namespace, ObjectName, PodName, ServiceAccount, TokenId, Uid},
    revocation::Epochs,
    scope::ScopeSet,
    token::fixture::{HALLPASS, START, access, encode},
};

mod property;

const NONCE: [u8; 24] = *b"a nonce of 24 bytes, yes";
const END: i64 = START + 900;

fn key(kid: &str) -> SealingKey {
    SealingKey::new(kid, &Secret::new([7; 32])).unwrap()
}

fn url(text: &str) -> IssuerUrl {
    IssuerUrl::parse(text).unwrap()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn sealed() -> String {
    let token = seal(&key("kid"), &access(), NONCE).unwrap();
    token.expose().clone()
}

fn parsed(token: &str) -> Result<Sealed, Fault> {
    parse(&Secret::new(token.to_owned()))
}

fn flaw(token: &str) -> Option<Fault> {
    parsed(token).err()
}

const fn malformed(flaw: Flaw) -> Option<Fault> {
    Some(Fault::Malformed(flaw))
}

/// What became of the token where it is meant to be opened.
fn open_at(token: &str, now: Timestamp) -> Result<Verified<Claims>, Fault> {
    parsed(token)?.open(&key("kid"), &url(HALLPASS), &access().audience, now)
}

fn fault(token: &str) -> Option<Fault> {
    open_at(token, at(START + 60)).err()
}

/// A token with that payload and the checksum that goes with it.
fn dressed(payload: impl AsRef<[u8]>) -> String {
    let text = format!("hpo_{}_{}", IssuerId::of(HALLPASS), encode(payload));
    let checksum = checksum::of(&text);
    text + &checksum
}

fn payload(token: &str) -> Vec<u8> {
    jose::bytes(&token[13..token.len() - 6]).unwrap()
}

/// A token of that content, sealed as it should be.
fn of_content(content: &[u8]) -> String {
    let (key, claims) = (key("kid"), access());
    let header = header(key.id, AudienceTag::of(&claims.audience));
    let mut sealed = content.to_vec();
    let associated = associated(HALLPASS, &claims.audience, &header);
    let made = key.key.seal(&NONCE, &associated, &mut sealed);
    made.unwrap();
    dressed([&header[..], &NONCE, &sealed].concat())
}

#[test]
fn opens_what_it_sealed_for_whom_it_was_sealed() {
    let token = sealed();
    let outside = parsed(&token).unwrap();
    assert_eq!(outside.issuer_id(), &IssuerId::of(HALLPASS));
    assert_eq!(outside.key_id(), KeyId::of("kid"));
    assert_eq!(outside.key_id(), key("kid").id());
    assert_eq!(outside.audience_tag(), AudienceTag::of(&access().audience));
    let verified = open_at(&token, at(START)).unwrap();
    assert_eq!(verified.into_claims(), access());
    assert_eq!(format!("{outside:?}").matches("hpo").count(), 0);
    assert!(format!("{outside:?}").starts_with("Sealed { issuer: IssuerId("));
}

/// Whoever writes a scanner or a second opener can hold on to this.
#[test]
fn looks_as_it_is_documented() {
    let token = sealed();
    let (issuer, rest) = token.strip_prefix("hpo_").unwrap().split_once('_').unwrap();
    assert_eq!(issuer, IssuerId::of(HALLPASS).as_str());
    let alphabet = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    assert!(rest.len() >= 84 && rest.bytes().all(alphabet));
    let payload = payload(&token);
    assert_eq!(payload[0], 1);
    // printf %s kid | sha256sum; printf %s https://payments.example | sha256sum
    assert_eq!(
        payload[1..9],
        [0x5c, 0x77, 0xd7, 0xfd, 0x8f, 0x51, 0xed, 0x0c]
    );
    assert_eq!(
        payload[9..17],
        [0x97, 0x0c, 0x8b, 0x45, 0x14, 0x9c, 0x47, 0x8d]
    );
    assert_eq!(payload[17..41], NONCE);
    let content = content::encode(&access()).unwrap();
    assert_eq!(payload.len(), 41 + content.len() + 16);
    assert!(!payload.windows(6).any(|bytes| bytes == b"orders"));
}

/// The longest token that is to be expected in earnest: ten scopes that have nothing in common, a pod
/// of a deployment with a long name, a SPIFFE subject.
#[test]
fn a_token_with_ten_scopes_has_at_most_450_characters() {
    let scopes = "accounts:balance catalog:writing customer:reads invoices:create ledgers:balance \
                  payments:refunds payouts:approve reports:exports shipping:labels vouchers:redeem";
    let account = "system:serviceaccount:payments-prod:payments-api-worker";
    let pod = "payments-api-worker-6f7c9d8b5d-x2k4q-0001";
    let claims = Claims {
        subject: account.into(),
        client_id: account.into(),
        scopes: ScopeSet::parse(scopes).unwrap(),
        namespace: Namespace::parse("payments-prod").unwrap(),
        service_account: ServiceAccount::parse("payments-api-worker").unwrap(),
        pod: PodName::parse(&pod[..40]).unwrap(),
        pod_uid: Uid::parse("0f2f4b9c-7c1c-4c5e-9f43-1a1c7a6f0b11").unwrap(),
        policy: ObjectName::parse("payments-api-worker").unwrap(),
        known: Epochs {
            namespaced: 1_234_567_890,
            cluster: 1_234_512_345,
        },
        extra: [].into(),
        ..access()
    };
    assert_eq!(claims.scopes.len(), 10);
    let length = |claims: &Claims| {
        let token = seal(&key("kid"), claims, NONCE).unwrap();
        assert_eq!(open_at(token.expose(), at(START)).unwrap().claims(), claims);
        token.expose().len()
    };
    let spiffe = Claims {
        subject: "spiffe://prod.example/ns/payments-prod/sa/payments-api-worker".into(),
        ..claims.clone()
    };
    let one = Claims {
        scopes: ScopeSet::parse("payments:refunds").unwrap(),
        ..claims.clone()
    };
    let lengths = [length(&claims), length(&spiffe), length(&one)];
    println!("ten scopes, the same under SPIFFE, one scope: {lengths:?}");
    assert!(lengths.iter().all(|&length| length <= 450), "{lengths:?}");
}

#[test]
fn t11_opens_under_no_other_issuer_audience_or_key() {
    let token = parsed(&sealed()).unwrap();
    let audience = access().audience;
    let open = |key: &SealingKey, issuer: &str, audience: &Audience| {
        token.open(key, &url(issuer), audience, at(START)).err()
    };
    assert_eq!(open(&key("kid"), HALLPASS, &audience), None);
    assert_eq!(
        open(&key("other"), HALLPASS, &audience),
        Some(Fault::UnknownKey)
    );
    let namesake = SealingKey::new("kid", &Secret::new([8; 32])).unwrap();
    assert_eq!(
        open(&namesake, HALLPASS, &audience),
        Some(Fault::BadSignature)
    );
    for issuer in [
        "https://tokens.example",
        "https://tokens.example/e",
        "https://tokens.example/eu/west",
    ] {
        assert_eq!(
            open(&key("kid"), issuer, &audience),
            Some(Fault::WrongIssuer)
        );
    }
    let other = Audience::parse("https://payments.example/").unwrap();
    assert_eq!(
        open(&key("kid"), HALLPASS, &other),
        Some(Fault::WrongAudience)
    );
}

/// The tags in clear are only hints: what decides is the seal over the whole words.
#[test]
fn t11_the_seal_covers_issuer_and_audience_whole() {
    let audience = access().audience;
    let usual = associated(HALLPASS, &audience, &[1; HEADER]);
    let expected = [
        HALLPASS.as_bytes(),
        b"\0https://payments.example\0",
        &[1; HEADER],
    ]
    .concat();
    assert_eq!(usual, expected);
    let token = sealed();
    let outside = parsed(&token).unwrap();
    let opens = |issuer, audience: &Audience| {
        let associated = associated(issuer, audience, &outside.header);
        let opened = key("kid")
            .key
            .open(&NONCE, &associated, outside.content.expose());
        opened.map(drop)
    };
    assert_eq!(opens(HALLPASS, &audience), Ok(()));
    assert_eq!(
        opens("https://tokens.example/e", &audience),
        Err(Unspecified)
    );
    let other = Audience::parse("https://payments.exampl").unwrap();
    assert_eq!(opens(HALLPASS, &other), Err(Unspecified));
}

#[test]
fn t12_refuses_every_second_spelling() {
    let token = sealed();
    let (text, checksum) = token.split_at(token.len() - 6);
    let redressed = |text: String| {
        let checksum = checksum::of(&text);
        flaw(&(text + &checksum))
    };
    for lax in ["=", "==", " ", "\n", "+", "/", "."] {
        assert_eq!(
            redressed(format!("{text}{lax}")),
            malformed(Flaw::Base64),
            "{lax:?}"
        );
    }
    // The last symbol of a payload of 3n + 1 or 3n + 2 bytes has bits that belong to no byte.
    let cut = dressed(&payload(&token)[..payload(&token).len() / 3 * 3 - 1]);
    let (text, last) = cut[..cut.len() - 6].split_at(cut.len() - 7);
    assert_ne!(last, "_");
    let twins = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        .iter()
        .filter(|&&other| redressed(format!("{text}{}", char::from(other))).is_none());
    assert_eq!(twins.count(), 16);
    for other in [
        format!("Hpo{}", &token[3..]),
        format!(" {token}"),
        format!("{token}\n"),
        format!("hpo_{}", &token[13..]),
        token[4..].to_owned(),
        token.to_uppercase(),
        checksum.to_owned(),
    ] {
        assert!(matches!(flaw(&other), Some(Fault::Malformed(_))), "{other}");
    }
}

#[test]
fn t13_refuses_what_is_too_long_too_short_or_of_another_version() {
    assert_eq!(flaw(&"a".repeat(1 << 20)), malformed(Flaw::TooLong));
    assert_eq!(flaw(&"a".repeat(8193)), malformed(Flaw::TooLong));
    assert_eq!(flaw(&"a".repeat(8192)), malformed(Flaw::Form));
    assert_eq!(
        flaw(&format!("hpo_{}", "a".repeat(9000))),
        malformed(Flaw::TooLong)
    );
    for (text, expected) in [
        ("", Flaw::Form),
        ("hpo_", Flaw::Form),
        ("hpo_abcdefgh", Flaw::Form),
        ("hpo_abcdefgh_", Flaw::Form),
        ("hpo_abcdefgh_12345", Flaw::Form),
        ("hpo_abcdefgh_123456", Flaw::Checksum),
        ("hpo_abcdefg1_123456", Flaw::Form),
        ("hpo_abcdefg_1234567", Flaw::Form),
        ("hpo_abcdefgh_\u{e9}\u{e9}\u{e9}", Flaw::Checksum),
        ("hpo_abcdefgh_\u{2713}1234", Flaw::Form),
        ("eyJhbGciOiJFUzI1NiJ9.e30.AAAA", Flaw::Form),
    ] {
        assert_eq!(flaw(text), malformed(expected), "{text}");
    }
    let payload = payload(&sealed());
    for length in [0, 1, 16, 17, 40, 41, 41 + 16] {
        assert_eq!(
            flaw(&dressed(&payload[..length])),
            malformed(Flaw::Form),
            "{length}"
        );
    }
    // The least that is looked at: one byte and a tag.
    assert_eq!(fault(&dressed(&payload[..58])), Some(Fault::BadSignature));
    for version in [0, 2, 255] {
        let mut other = payload.clone();
        other[0] = version;
        assert_eq!(flaw(&dressed(other)), malformed(Flaw::Version));
    }
}

#[test]
fn refuses_content_that_is_never_written_though_it_is_sealed() {
    let content = content::encode(&access()).unwrap();
    assert_eq!(fault(&of_content(&content)), None);
    assert_eq!(fault(&of_content(b"\x07")), malformed(Flaw::Content));
    // No life, and one of more than an hour: bytes 5 and 6.
    for life in [0_u16, 3601, u16::MAX] {
        let mut other = content.clone();
        other[5..7].copy_from_slice(&life.to_be_bytes());
        assert_eq!(
            fault(&of_content(&other)),
            malformed(Flaw::Lifetime),
            "{life}"
        );
    }
}

#[test]
fn t41_gives_five_seconds_and_not_one_more() {
    let token = sealed();
    let fault = |now| open_at(&token, now).err();
    let nanosecond = jiff::SignedDuration::from_nanos(1);
    assert_eq!(fault(at(END)), None);
    assert_eq!(fault(at(END + 5) - nanosecond), None);
    assert_eq!(fault(at(END + 5)), Some(Fault::Expired));
    assert_eq!(fault(Timestamp::MAX), Some(Fault::Expired));
}

#[test]
fn seals_nothing_that_it_would_not_accept() {
    let fault = |claims| seal(&key("kid"), &claims, NONCE).err();
    let claims = Claims {
        expires: at(START + 3601),
        ..access()
    };
    assert_eq!(fault(claims), Some(MintFault::Claims(Flaw::Lifetime)));
    let claims = Claims {
        subject: "orders".into(),
        ..access()
    };
    assert_eq!(fault(claims), Some(MintFault::Claims(Flaw::Subject)));
    let long = |length| {
        let claim = (ClaimName::parse("long").unwrap(), "x".repeat(length).into());
        fault(Claims {
            extra: [claim].into(),
            ..access()
        })
    };
    assert_eq!(long(5500), None);
    assert_eq!(long(6500), Some(MintFault::Claims(Flaw::TooLong)));
    assert_eq!(long(70_000), Some(MintFault::Claims(Flaw::TooLong)));
}

#[test]
fn prints_nothing_of_a_key() {
    let printed = format!("{:?}", key("kid"));
    assert_eq!(printed, "SealingKey { kid: \"kid\", .. }");
}
