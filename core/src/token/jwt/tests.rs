use std::sync::OnceLock;

use serde_json::json;

use super::*;
use crate::token::fixture::{HALLPASS, START, Signer, access, access_json, encode, jwks};

mod claims;
mod form;
mod property;
mod signature;

/// An issuer with one key of each kind.
struct Issuer {
    keys: KeySet,
    es256: Signer,
    eddsa: Signer,
    rs256: Signer,
}

const AUDIENCE: &str = "https://payments.example";
const END: i64 = START + 900;

fn issuer() -> &'static Issuer {
    static ISSUER: OnceLock<Issuer> = OnceLock::new();
    ISSUER.get_or_init(|| {
        let es256 = Signer::es256("").of_issuer();
        let eddsa = Signer::eddsa("").of_issuer();
        let rs256 = Signer::rs256("").of_issuer();
        Issuer {
            keys: KeySet::parse_issuer(&jwks(&[&es256, &eddsa, &rs256])).unwrap(),
            es256,
            eddsa,
            rs256,
        }
    })
}

impl Issuer {
    const fn signers(&self) -> [&Signer; 3] {
        [&self.es256, &self.eddsa, &self.rs256]
    }

    fn verify_at(&self, token: &str, now: Timestamp) -> Result<Verified<Claims>, Fault> {
        let expected = Expected {
            issuer: HALLPASS,
            audience: AUDIENCE,
        };
        verify(&self.keys, &Secret::new(token.to_owned()), &expected, now)
    }

    /// The fault of the token a minute after its start; [`None`] where it is accepted.
    fn fault(&self, token: &str) -> Option<Fault> {
        self.verify_at(token, at(START + 60)).err()
    }

    /// The header that `sign` writes with the first key, and one member more or another one.
    fn with(&self, member: &str, value: Value) -> Value {
        let mut header = json!({"alg": "ES256", "kid": self.es256.kid, "typ": "at+jwt"});
        header[member] = value;
        header
    }

    /// The fault of a token with the usual claims and that header.
    fn header(&self, header: &str) -> Option<Fault> {
        self.fault(&self.es256.sign(header, access_json().to_string()))
    }

    /// The fault of a token with that text as claims.
    fn claims(&self, claims: impl AsRef<[u8]>) -> Option<Fault> {
        let header = self.with("typ", "at+jwt".into());
        self.fault(&self.es256.sign(header.to_string(), claims))
    }

    /// The fault of a token with the usual claims but that one, which is left out where it is `None`.
    fn claim(&self, path: &str, value: Option<Value>) -> Option<Fault> {
        self.claims(changed(path, value).to_string())
    }
}

fn changed(path: &str, value: Option<Value>) -> Value {
    let mut claims = access_json();
    // A name may have a slash itself, so the parent is one of two.
    let (parent, name) = match path.strip_prefix("/kubernetes.io/") {
        Some(inner) => match inner.rsplit_once('/') {
            Some((parent, name)) => (format!("/kubernetes.io/{parent}"), name),
            None => ("/kubernetes.io".to_owned(), inner),
        },
        None => (String::new(), &path[1..]),
    };
    let parent = claims.pointer_mut(&parent).unwrap();
    let parent = parent.as_object_mut().unwrap();
    match value {
        Some(value) => parent.insert(name.to_owned(), value),
        None => parent.remove(name),
    };
    claims
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

const fn malformed(flaw: Flaw) -> Option<Fault> {
    Some(Fault::Malformed(flaw))
}

const fn member(name: &'static str) -> Option<Fault> {
    malformed(Flaw::Member(name))
}

#[test]
fn accepts_what_it_signs_with_every_kind_of_key() {
    let issuer = issuer();
    for signer in issuer.signers() {
        let token = sign(&signer.key(), &access()).unwrap();
        let token = token.expose();
        let parts: Vec<&str> = token.split('.').collect();
        let read = |part| String::from_utf8(jose::bytes(part).unwrap()).unwrap();
        let (alg, kid) = (signer.alg, &signer.kid);
        assert_eq!(
            read(parts[0]),
            format!(r#"{{"alg":"{alg}","kid":"{kid}","typ":"at+jwt"}}"#)
        );
        let body: Value = serde_json::from_str(&read(parts[1])).unwrap();
        assert_eq!(body, access_json());
        let verified = issuer.verify_at(token, at(START)).unwrap();
        assert_eq!(verified.into_claims(), access(), "{alg}");
    }
}

#[test]
fn accepts_a_spiffe_subject_and_no_claims_of_the_owner() {
    let issuer = issuer();
    let claims = Claims {
        subject: "spiffe://prod.example/ns/shop/sa/orders".into(),
        client_id: "anybody".into(),
        extra: BTreeMap::new(),
        expires: at(START + 3600),
        ..access()
    };
    let token = sign(&issuer.eddsa.key(), &claims).unwrap();
    let verified = issuer.verify_at(token.expose(), at(START)).unwrap();
    assert_eq!(verified.claims(), &claims);
}

#[test]
fn cuts_times_off_to_whole_seconds() {
    let issuer = issuer();
    let part = jiff::SignedDuration::from_millis(999);
    let usual = access();
    let claims = Claims {
        expires: usual.expires + part,
        issued: usual.issued + part,
        ..access()
    };
    let token = sign(&issuer.es256.key(), &claims).unwrap();
    let verified = issuer.verify_at(token.expose(), at(START)).unwrap();
    assert_eq!(verified.into_claims(), usual);
}

type Change<'a> = &'a dyn Fn(&mut Claims);

#[test]
fn signs_nothing_that_it_would_not_accept() {
    let key = issuer().es256.key();
    let fault = |change: Change<'_>| {
        let mut claims = access();
        change(&mut claims);
        sign(&key, &claims).err()
    };
    let numbered = |n: usize| (ClaimName::parse(&format!("c{n}")).unwrap(), "x".into());
    let cases: [(Change<'_>, Flaw); 11] = [
        (&|c| c.issuer = "".into(), Flaw::Member("iss")),
        (&|c| c.issuer = "a\0b".into(), Flaw::Member("iss")),
        (&|c| c.client_id = "".into(), Flaw::Member("client_id")),
        (
            &|c| c.client_id = "c".repeat(513).into(),
            Flaw::Member("client_id"),
        ),
        (&|c| c.subject = "".into(), Flaw::Subject),
        (&|c| c.issued = at(-1), Flaw::Member("iat")),
        (&|c| c.expires = at(START), Flaw::Lifetime),
        (&|c| c.expires = at(START - 1), Flaw::Lifetime),
        (&|c| c.expires = at(START + 3601), Flaw::Lifetime),
        (&|c| c.expires = Timestamp::MAX, Flaw::Lifetime),
        (
            &|c| c.extra = (0..17).map(numbered).collect(),
            Flaw::UnknownClaim,
        ),
    ];
    for (change, flaw) in cases {
        assert_eq!(fault(change), Some(MintFault::Claims(flaw)), "{flaw}");
    }
    assert_eq!(fault(&|c| c.extra = (0..16).map(numbered).collect()), None);
    let long = |length| {
        let claim = || (ClaimName::parse("long").unwrap(), "x".repeat(length).into());
        fault(&|c| c.extra = [claim()].into())
    };
    assert_eq!(long(5000), None);
    assert_eq!(long(6000), Some(MintFault::Claims(Flaw::TooLong)));
}

#[test]
fn the_longest_token_that_it_signs_is_the_longest_that_it_reads() {
    let issuer = issuer();
    let key = issuer.es256.key();
    let long = |length| {
        let claim = (ClaimName::parse("long").unwrap(), "x".repeat(length).into());
        let claims = Claims {
            extra: [claim].into(),
            ..access()
        };
        sign(&key, &claims).ok()
    };
    let longest = (5000..6000).map_while(long).last().unwrap();
    assert_eq!(longest.expose().len(), LONGEST_TOKEN);
    assert!(issuer.verify_at(longest.expose(), at(START)).is_ok());
}
