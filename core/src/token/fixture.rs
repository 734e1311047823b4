//! Keys that are made for a test, and tokens as the API server writes them.

use std::sync::OnceLock;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, crypto, jwk::Jwk};
use rcgen::SigningKey as _;
use serde_json::{Value, json};

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

    /// The public key as the API server publishes it.
    pub(super) fn jwk(&self) -> Value {
        let raw = self.pair.public_key_raw();
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
            "RS256" => return encode(self.pair.sign(message.as_bytes()).unwrap()),
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

pub(super) fn jwks(signers: &[&Signer]) -> Vec<u8> {
    let keys: Vec<Value> = signers.iter().map(|s| s.jwk()).collect();
    json!({ "keys": keys }).to_string().into_bytes()
}

pub(super) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
