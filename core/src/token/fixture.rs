//! Keys that are made for a test, and tokens as the API server and an issuer of Hallpass write them.

use std::sync::OnceLock;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, crypto, jwk::Jwk};
use rcgen::SigningKey as _;
use serde_json::{Value, json};

use super::{
    claims::Claims,
    signing::{Algorithm as Signs, SigningKey},
};
use crate::{
    name::{Audience, ClaimName, Namespace, ObjectName, PodName, ServiceAccount, TokenId, Uid},
    revocation::Epochs,
    scope::ScopeSet,
    secret::Secret,
};

pub(super) const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
pub(super) const AUDIENCE: &str = "hallpass.dev/hallpass-system";
/// When the tokens begin.
pub(super) const START: i64 = 1_790_000_000;
/// When they end.
pub(super) const END: i64 = START + 7200;

/// A private key with its name.
pub(super) struct Signer {
    pub(super) kid: String,
    pub(super) alg: &'static str,
    pair: rcgen::KeyPair,
}

impl Signer {
    pub(super) fn es256(kid: &str) -> Self {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        Self::new(kid, "ES256", pair)
    }

    pub(super) fn es384(kid: &str) -> Self {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
        Self::new(kid, "ES384", pair)
    }

    pub(super) fn eddsa(kid: &str) -> Self {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        Self::new(kid, "EdDSA", pair)
    }

    /// The same key at every call: making one takes long.
    pub(super) fn rs256(kid: &str) -> Self {
        static DER: OnceLock<Vec<u8>> = OnceLock::new();
        let der = DER.get_or_init(|| {
            let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
            pair.serialize_der()
        });
        let pair = rcgen::KeyPair::try_from(der.as_slice()).unwrap();
        Self::new(kid, "RS256", pair)
    }

    fn new(kid: &str, alg: &'static str, pair: rcgen::KeyPair) -> Self {
        let kid = kid.to_owned();
        Self { kid, alg, pair }
    }

    /// The private key in PKCS#8.
    pub(super) fn pkcs8(&self) -> Secret<Vec<u8>> {
        Secret::new(self.pair.serialize_der())
    }

    /// The same key as an issuer of Hallpass holds it.
    pub(super) fn key(&self) -> SigningKey {
        let algorithm = Signs::parse(self.alg).unwrap();
        SigningKey::from_pkcs8(&self.pkcs8(), algorithm).unwrap()
    }

    /// Under the `kid` that an issuer of Hallpass gives it.
    pub(super) fn of_issuer(mut self) -> Self {
        self.kid = self.key().kid().to_owned();
        self
    }

    /// The public key as the API server publishes it.
    pub(super) fn jwk(&self) -> Value {
        let raw = self.pair.public_key_raw();
        if self.alg == "EdDSA" {
            let (kid, x) = (&self.kid, encode(raw));
            return json!({"kty": "OKP", "crv": "Ed25519", "x": x, "use": "sig", "alg": "EdDSA", "kid": kid});
        }
        let key = match self.alg {
            "RS256" => DecodingKey::from_rsa_der(raw),
            _ => DecodingKey::from_ec_der(raw),
        };
        let mut jwk = serde_json::to_value(Jwk::from_decoding_key(&key, None).unwrap()).unwrap();
        jwk["use"] = "sig".into();
        jwk["kid"] = self.kid.as_str().into();
        jwk["alg"] = self.alg.into();
        jwk
    }

    /// The public key in the encodings that a confused verifier might take for a symmetric one.
    pub(super) fn public_encodings(&self) -> Vec<Vec<u8>> {
        vec![
            self.pair.public_key_raw().to_vec(),
            self.pair.public_key_pem().into_bytes(),
            rcgen::PublicKeyData::subject_public_key_info(&self.pair),
            self.jwk().to_string().into_bytes(),
        ]
    }

    /// The token with that header and those claims, whatever they are.
    pub(super) fn sign(&self, header: impl AsRef<[u8]>, claims: impl AsRef<[u8]>) -> String {
        let message = format!("{}.{}", encode(header), encode(claims));
        let signature = self.signature(&message);
        format!("{message}.{signature}")
    }

    fn signature(&self, message: &str) -> String {
        let algorithm = match self.alg {
            "RS256" | "EdDSA" => return encode(self.pair.sign(message.as_bytes()).unwrap()),
            "ES256" => Algorithm::ES256,
            _ => Algorithm::ES384,
        };
        let key = EncodingKey::from_ec_der(self.pair.serialized_der());
        crypto::sign(message.as_bytes(), &key, algorithm).unwrap()
    }

    pub(super) fn header(&self) -> Value {
        json!({"alg": self.alg, "kid": self.kid})
    }

    /// A token with the claims of a pod.
    pub(super) fn token(&self, claims: &Value) -> String {
        self.sign(self.header().to_string(), claims.to_string())
    }
}

/// The claims of pod `orders-0` under service account `orders` of namespace `shop`.
pub(super) fn claims() -> Value {
    json!({
        "aud": [AUDIENCE],
        "exp": END,
        "iat": START,
        "iss": ISSUER,
        "jti": "0f2f4b9c-7c1c-4c5e-9f43-1a1c7a6f0b11",
        "kubernetes.io": {
            "namespace": "shop",
            "node": {"name": "node-a", "uid": "6d6f6e0e-9a0e-4b53-8b3a-6a2c4c1b9d00"},
            "pod": {"name": "orders-0", "uid": "pod-uid-1"},
            "serviceaccount": {"name": "orders", "uid": "account-uid-1"},
        },
        "nbf": START,
        "sub": "system:serviceaccount:shop:orders",
    })
}

/// The URL of an issuer of Hallpass.
pub(super) const HALLPASS: &str = "https://tokens.example/eu";

/// A token for the pod of [`claims`] that lives for 15 minutes.
pub(crate) fn access() -> Claims {
    let extra = [
        ("team", "payments"),
        ("https://example.com/tier", "\"gold\"\n"),
    ];
    let extra = extra.map(|(name, value)| (ClaimName::parse(name).unwrap(), value.into()));
    Claims {
        issuer: HALLPASS.into(),
        subject: "system:serviceaccount:shop:orders".into(),
        audience: Audience::parse("https://payments.example").unwrap(),
        expires: Timestamp::from_second(START + 900).unwrap(),
        issued: Timestamp::from_second(START).unwrap(),
        id: TokenId::from_random([0x2a; 16]),
        client_id: "system:serviceaccount:shop:orders".into(),
        scopes: ScopeSet::parse("payments:read payments:refunds").unwrap(),
        namespace: Namespace::parse("shop").unwrap(),
        service_account: ServiceAccount::parse("orders").unwrap(),
        service_account_uid: Uid::parse("6d6f6e0e-9a0e-4b53-8b3a-6a2c4c1b9d00").unwrap(),
        pod: PodName::parse("orders-0").unwrap(),
        pod_uid: Uid::parse("pod-uid-1").unwrap(),
        policy: ObjectName::parse("orders").unwrap(),
        known: Epochs {
            namespaced: 70_000,
            cluster: 3,
        },
        extra: extra.into(),
    }
}

/// The same claims as the token has them.
pub(super) fn access_json() -> Value {
    json!({
        "iss": HALLPASS,
        "sub": "system:serviceaccount:shop:orders",
        "aud": "https://payments.example",
        "exp": START + 900,
        "iat": START,
        "jti": "2a2a2a2a-2a2a-4a2a-aa2a-2a2a2a2a2a2a",
        "client_id": "system:serviceaccount:shop:orders",
        "scope": "payments:read payments:refunds",
        "kubernetes.io": {
            "namespace": "shop",
            "serviceaccount": {"name": "orders", "uid": "6d6f6e0e-9a0e-4b53-8b3a-6a2c4c1b9d00"},
            "pod": {"name": "orders-0", "uid": "pod-uid-1"},
        },
        "hpp": "orders",
        "hpe": [70_000, 3],
        "team": "payments",
        "https://example.com/tier": "\"gold\"\n",
    })
}

pub(super) fn jwks(signers: &[&Signer]) -> Vec<u8> {
    let keys: Vec<Value> = signers.iter().map(|s| s.jwk()).collect();
    json!({ "keys": keys }).to_string().into_bytes()
}

pub(super) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
