use std::sync::OnceLock;

use jiff::SignedDuration;
use serde_json::json;

use super::*;
use crate::token::fixture::{AUDIENCE, END, ISSUER, START, Signer, claims, encode, jwks};

mod claims;
mod form;
mod property;
mod signature;

/// A cluster with one key of each kind.
struct Cluster {
    keys: KeySet,
    es256: Signer,
    es384: Signer,
    rs256: Signer,
}

fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(Cluster::new)
}

impl Cluster {
    fn new() -> Self {
        let es256 = Signer::es256("es256-key");
        let es384 = Signer::es384("es384-key");
        let rs256 = Signer::rs256("rs256-key");
        Self {
            keys: KeySet::parse(&jwks(&[&es256, &es384, &rs256])).unwrap(),
            es256,
            es384,
            rs256,
        }
    }

    fn verify_at(&self, token: &str, now: Timestamp) -> Result<Verified<Claims>, Fault> {
        let expected = Expected {
            issuer: ISSUER,
            audience: AUDIENCE,
        };
        verify(&self.keys, &Secret::new(token.to_owned()), &expected, now)
    }

    /// The fault of the token a minute after its start; [`None`] where it is accepted.
    fn fault(&self, token: &str) -> Option<Fault> {
        self.verify_at(token, at(START + 60)).err()
    }

    /// The fault of a token with the usual claims and that header.
    fn header(&self, header: &str) -> Option<Fault> {
        self.fault(&self.es256.sign(header, claims().to_string()))
    }

    /// The fault of a token with that text as claims.
    fn claims(&self, claims: impl AsRef<[u8]>) -> Option<Fault> {
        self.fault(&self.es256.sign(self.es256.header().to_string(), claims))
    }

    /// The fault of a token with the usual claims but that one, which is left out where it is `None`.
    fn claim(&self, path: &str, value: Option<Value>) -> Option<Fault> {
        self.claims(changed(path, value).to_string())
    }
}

fn changed(path: &str, value: Option<Value>) -> Value {
    let mut claims = claims();
    let (parent, name) = path.rsplit_once('/').unwrap();
    let parent = claims.pointer_mut(parent).unwrap();
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

fn malformed(flaw: Flaw) -> Option<Fault> {
    Some(Fault::Malformed(flaw))
}

fn member(name: &'static str) -> Option<Fault> {
    malformed(Flaw::Member(name))
}

#[test]
fn accepts_what_the_api_server_writes_with_every_kind_of_key() {
    let cluster = cluster();
    for signer in [&cluster.es256, &cluster.es384, &cluster.rs256] {
        let token = signer.token(&claims());
        let verified = cluster.verify_at(&token, at(START)).unwrap();
        let expected = Claims {
            namespace: Namespace::parse("shop").unwrap(),
            service_account: ServiceAccount::parse("orders").unwrap(),
            service_account_uid: Uid::parse("account-uid-1").unwrap(),
            pod: PodName::parse("orders-0").unwrap(),
            pod_uid: Uid::parse("pod-uid-1").unwrap(),
        };
        assert_eq!(verified.claims(), &expected, "{}", signer.alg);
        assert_eq!(verified.into_claims(), expected);
    }
    let typed = r#"{"typ":"JWT","kid":"es256-key","alg":"ES256"}"#;
    assert_eq!(cluster.header(typed), None);
}

#[test]
fn every_fault_has_its_code() {
    assert_eq!(Fault::BadSignature.code(), Code::BadSignature);
    assert_eq!(Fault::Malformed(Flaw::Parts).code(), Code::MalformedBearer);
    assert_eq!(Fault::UnknownKey.code(), Code::UnknownKey);
    assert_eq!(Fault::WrongIssuer.code(), Code::UnknownKey);
    assert_eq!(Fault::WrongAudience.code(), Code::WrongAudience);
    assert_eq!(Fault::NotPodBound.code(), Code::WrongAudience);
    let cluster = cluster();
    let early = cluster.verify_at(&cluster.es256.token(&claims()), at(0));
    assert_eq!(early.map_err(|f| f.code()), Err(Code::ExpiredBearer));
}
