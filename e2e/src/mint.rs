//! An issuer in this process: it publishes what an issuer of Hallpass does, over HTTPS by an authority
//! of its own, and signs whatever a test wants signed.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use anyhow::{Result, bail};
use axum::{Router, extract::State, routing::get};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use http::{HeaderName, header::CACHE_CONTROL};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, crypto, jwk::Jwk};
use rcgen::{KeyPair, PKCS_ED25519, PKCS_RSA_SHA256, SigningKey};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::https::{Https, Serving};

/// A key of an issuer.
#[derive(Debug)]
pub struct Key {
    /// The name under which it is published.
    pub kid: String,
    algorithm: Algorithm,
    pair: KeyPair,
    public: Value,
}

impl Key {
    /// A new one, for ES256.
    ///
    /// # Errors
    /// There is no randomness.
    pub fn generate() -> Result<Self> {
        Self::generate_for(Algorithm::ES256)
    }

    /// A new one, for ES256, EdDSA or RS256.
    ///
    /// # Errors
    /// It is another algorithm, or there is no randomness.
    pub fn generate_for(algorithm: Algorithm) -> Result<Self> {
        let (pair, public) = match algorithm {
            Algorithm::ES256 => {
                let pair = KeyPair::generate()?;
                // an uncompressed point: 4, and two numbers of 32 bytes
                let point = pair.public_key_raw();
                let number = |range| BASE64_URL_SAFE_NO_PAD.encode(&point[range]);
                let public = json!({
                    "kty": "EC", "crv": "P-256", "x": number(1..33), "y": number(33..65),
                });
                (pair, public)
            }
            Algorithm::EdDSA => {
                let pair = KeyPair::generate_for(&PKCS_ED25519)?;
                let x = BASE64_URL_SAFE_NO_PAD.encode(pair.public_key_raw());
                (pair, json!({"kty": "OKP", "crv": "Ed25519", "x": x}))
            }
            Algorithm::RS256 => {
                let pair = KeyPair::generate_for(&PKCS_RSA_SHA256)?;
                let public = DecodingKey::from_rsa_der(pair.public_key_raw());
                let public = Jwk::from_decoding_key(&public, Some(algorithm))?;
                (pair, serde_json::to_value(public)?)
            }
            other => bail!("an issuer does not sign with {other:?}"),
        };
        Ok(Self {
            kid: format!("{:016x}", rand::random::<u64>()),
            algorithm,
            pair,
            public,
        })
    }

    /// Another key under the name of this one.
    ///
    /// # Errors
    /// See [`Key::generate`].
    pub fn impostor(&self) -> Result<Self> {
        let mut other = Self::generate_for(self.algorithm)?;
        other.kid.clone_from(&self.kid);
        Ok(other)
    }

    /// What its tokens name in `alg`.
    #[must_use]
    pub fn algorithm(&self) -> String {
        format!("{:?}", self.algorithm)
    }

    /// The public half, as it stands in a key set.
    #[must_use]
    pub fn jwk(&self) -> Value {
        let mut jwk = self.public.clone();
        jwk["kid"] = json!(self.kid);
        jwk["alg"] = json!(self.algorithm());
        jwk["use"] = json!("sig");
        jwk
    }

    /// The public half in PEM.
    #[must_use]
    pub fn public_pem(&self) -> String {
        self.pair.public_key_pem()
    }

    /// The header of an access token (RFC 9068, section 2.1) by this key.
    #[must_use]
    pub fn header(&self) -> Value {
        json!({"alg": self.algorithm(), "typ": "at+jwt", "kid": self.kid})
    }

    /// A token that says that, signed with the algorithm of this key whatever its header says.
    ///
    /// # Errors
    /// It could not be signed.
    pub fn sign(&self, header: &Value, claims: &Value) -> Result<String> {
        let message = unsigned(header, claims);
        let signature = if self.algorithm == Algorithm::ES256 {
            // a certificate's signature is ASN.1, a token's is two numbers
            let key = EncodingKey::from_ec_der(self.pair.serialized_der());
            crypto::sign(message.as_bytes(), &key, self.algorithm)?
        } else {
            BASE64_URL_SAFE_NO_PAD.encode(SigningKey::sign(&self.pair, message.as_bytes())?)
        };
        Ok(format!("{message}.{signature}"))
    }
}

/// A token whose "signature" is made with a secret that everybody knows.
///
/// # Errors
/// It could not be signed.
pub fn sign_with_secret(header: &Value, claims: &Value, secret: &[u8]) -> Result<String> {
    let message = unsigned(header, claims);
    let key = EncodingKey::from_secret(secret);
    let signature = crypto::sign(message.as_bytes(), &key, Algorithm::HS256)?;
    Ok(format!("{message}.{signature}"))
}

/// The first two parts of a token.
#[must_use]
pub fn unsigned(header: &Value, claims: &Value) -> String {
    let encode = |part: &Value| BASE64_URL_SAFE_NO_PAD.encode(part.to_string());
    format!("{}.{}", encode(header), encode(claims))
}

/// An issuer with one key, which it publishes.
#[derive(Debug)]
pub struct Mint {
    /// Its URL, with a path.
    pub url: String,
    /// The authority of its certificate, in PEM.
    pub ca: PathBuf,
    /// Its key.
    pub key: Key,
    shown: Arc<Shown>,
    _server: Serving,
    _folder: TempDir,
}

impl Mint {
    /// Opens on loopback, with a key for ES256.
    ///
    /// # Errors
    /// There is no port, or no certificate.
    pub async fn open() -> Result<Self> {
        Self::open_with(Key::generate()?).await
    }

    /// Opens on loopback, with that key.
    ///
    /// # Errors
    /// There is no port, or no certificate.
    pub async fn open_with(key: Key) -> Result<Self> {
        let https = Https::open().await?;
        let folder = TempDir::new()?;
        let ca = folder.path().join("ca.crt");
        std::fs::write(&ca, &https.authority)?;
        // the path tells OpenID Connect's place for metadata from that of RFC 8414
        let url = format!("https://{}{PATH}", https.address);
        let shown = Arc::new(Shown {
            url: url.clone(),
            algorithm: key.algorithm(),
            keys: Mutex::new(vec![key.jwk()]),
            reads: AtomicUsize::new(0),
        });
        let server = https.serve(router(Arc::clone(&shown)));
        Ok(Self {
            url,
            ca,
            key,
            shown,
            _server: server,
            _folder: folder,
        })
    }

    /// Publishes these keys, and no others, from now on.
    pub fn publish(&self, keys: &[&Key]) {
        let keys = keys.iter().map(|key| key.jwk()).collect();
        *self
            .shown
            .keys
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = keys;
    }

    /// How often the key set was read.
    #[must_use]
    pub fn reads(&self) -> usize {
        self.shown.reads.load(Ordering::SeqCst)
    }

    /// What an access token for that audience says (RFC 9068, section 2.2), good from `now` on for
    /// five minutes.
    #[must_use]
    pub fn claims(&self, audience: &str, now: jiff::Timestamp) -> Value {
        let now = now.as_second();
        json!({
            "iss": self.url, "aud": audience, "iat": now, "exp": now + 300,
            "sub": "system:serviceaccount:shop:orders", "client_id": "system:serviceaccount:shop:orders",
            "jti": format!("{:032x}", rand::random::<u128>()), "scope": "read write",
        })
    }
}

#[derive(Debug)]
struct Shown {
    url: String,
    algorithm: String,
    keys: Mutex<Vec<Value>>,
    reads: AtomicUsize,
}

fn router(shown: Arc<Shown>) -> Router {
    let openid = format!("{PATH}/.well-known/openid-configuration");
    let oauth = format!("/.well-known/oauth-authorization-server{PATH}");
    Router::new()
        .route(&openid, get(metadata))
        .route(&oauth, get(metadata))
        .route(&format!("{PATH}/jwks"), get(jwks))
        .with_state(shown)
}

async fn metadata(State(shown): State<Arc<Shown>>) -> axum::Json<Value> {
    let url = &shown.url;
    axum::Json(json!({
        "issuer": url, "jwks_uri": format!("{url}/jwks"), "token_endpoint": format!("{url}/token"),
        "response_types_supported": ["id_token"], "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [shown.algorithm],
        "grant_types_supported": ["urn:ietf:params:oauth:grant-type:token-exchange"],
    }))
}

async fn jwks(
    State(shown): State<Arc<Shown>>,
) -> ([(HeaderName, &'static str); 1], axum::Json<Value>) {
    shown.reads.fetch_add(1, Ordering::SeqCst);
    let keys = shown
        .keys
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    (
        [(CACHE_CONTROL, "max-age=300")],
        axum::Json(json!({ "keys": keys })),
    )
}

const PATH: &str = "/issuers/mint";
