//! A key and the Secret that it is stored in.

use std::{collections::BTreeMap, sync::Arc};

use aws_lc_rs::{
    digest::{Context, SHA256},
    encoding::{AsDer, Pkcs8V1Der},
    error::Unspecified,
    rand,
    rsa::{self, KeySize},
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use hallpass_core::{
    name::IssuerId,
    secret::Secret,
    token::{
        opaque::SealingKey,
        signing::{Algorithm, KeyFault, SigningKey},
    },
};
use jiff::Timestamp;
use serde::{Deserialize, Deserializer};
use serde_json::json;

use super::rotation::KeyState;

/// A Secret as the API server has it: nothing about it has been looked at.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Object {
    pub(super) metadata: Meta,
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default, deserialize_with = "data")]
    data: BTreeMap<String, Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Meta {
    #[serde(default)]
    pub(super) name: Box<str>,
    #[serde(default)]
    pub(super) uid: Box<str>,
    #[serde(default)]
    pub(super) resource_version: Box<str>,
    #[serde(default)]
    creation_timestamp: Option<Timestamp>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// A value of a Secret; [`None`] if it is not base64.
#[derive(Debug)]
struct Value(Option<Secret<Vec<u8>>>);

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from).map(Secret::new)?;
        // What is wrong with it would quote it.
        Ok(Self(STANDARD.decode(text.expose()).ok().map(Secret::new)))
    }
}

fn data<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, Value>, D::Error> {
    Option::deserialize(from).map(Option::unwrap_or_default)
}

/// A key that was read.
#[derive(Debug, Clone)]
pub(super) struct StoredKey {
    pub(super) version: Version,
    pub(super) state: KeyState,
    pub(super) material: Arc<Material>,
}

/// Which state of which Secret was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) name: Box<str>,
    pub(super) uid: Box<str>,
    pub(super) resource_version: Box<str>,
}

/// What a key works with. It costs a millisecond and more to read, and never changes.
#[derive(Debug)]
pub(super) struct Material {
    pub(super) signing: SigningKey,
    pub(super) sealing: SealingKey,
    digest: [u8; 32],
}

/// Why a Secret is no key. No text repeats anything of it but the names of its parts.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(super) enum Fault {
    #[error("its type is not {TYPE}")]
    Type,
    #[error("its label {LABEL} is no id of an issuer")]
    Label,
    #[error("its name is not the id of its issuer, a hyphen and a number")]
    Name,
    #[error("it has no time in its annotation {0}")]
    Time(&'static str),
    #[error("it has no {0}")]
    Incomplete(&'static str),
    #[error("its {ALGORITHM} is none that is known")]
    Algorithm,
    #[error("its {SIGNING} cannot be used")]
    Signing(#[source] KeyFault),
    #[error("its {SEALING} has not 32 bytes")]
    Sealing,
    #[error("the crypto library failed")]
    Crypto(#[source] Unspecified),
    #[error("it holds the key of another Secret once more")]
    Twice,
}

impl Object {
    /// The label, whether it fits or not.
    pub(super) fn issuer(&self) -> Option<IssuerId> {
        self.metadata
            .labels
            .get(LABEL)
            .and_then(|id| IssuerId::parse(id).ok())
    }

    /// The number in the name of a key of that issuer.
    pub(super) fn number(&self, issuer: &IssuerId) -> Option<u32> {
        let rest = self.metadata.name.strip_prefix(issuer.as_str())?;
        let number: u32 = rest.strip_prefix('-')?.parse().ok()?;
        // Digits have other spellings: 07, +7.
        (number > 0 && *self.metadata.name == *name(issuer, number)).then_some(number)
    }

    /// Checks everything. What `known` was made of is not read again.
    pub(super) fn read(&self, known: Option<&Arc<Material>>) -> Result<StoredKey, Fault> {
        if self.kind != TYPE {
            return Err(Fault::Type);
        }
        let issuer = self.issuer().ok_or(Fault::Label)?;
        let number = self.number(&issuer).ok_or(Fault::Name)?;
        let published = self.time(PUBLISHED)?.ok_or(Fault::Time(PUBLISHED))?;
        let activated = self.time(ACTIVATED)?;
        let algorithm = std::str::from_utf8(self.value(ALGORITHM)?.expose()).ok();
        let algorithm = algorithm
            .and_then(Algorithm::parse)
            .ok_or(Fault::Algorithm)?;
        // Whoever made it may have been stopped between the look at the clock and the request, and a
        // Secret that comes back from a backup was away meanwhile: nobody knew it before it was there.
        let created = self.metadata.creation_timestamp;
        let published = created.map_or(published, |created| published.max(created));
        let Meta {
            name,
            uid,
            resource_version,
            ..
        } = &self.metadata;
        Ok(StoredKey {
            version: Version {
                name: name.clone(),
                uid: uid.clone(),
                resource_version: resource_version.clone(),
            },
            state: KeyState {
                number,
                published,
                activated,
                algorithm,
                revoked: false,
            },
            material: self.material(algorithm, known)?,
        })
    }

    fn material(
        &self,
        algorithm: Algorithm,
        known: Option<&Arc<Material>>,
    ) -> Result<Arc<Material>, Fault> {
        let (signing, sealing) = (self.value(SIGNING)?, self.value(SEALING)?);
        let digest = digest([
            algorithm.as_str().as_bytes(),
            sealing.expose(),
            signing.expose(),
        ]);
        if let Some(known) = known.filter(|known| known.digest == digest) {
            return Ok(Arc::clone(known));
        }
        let mut bytes = [0; 32];
        if sealing.expose().len() != bytes.len() {
            return Err(Fault::Sealing);
        }
        bytes.copy_from_slice(sealing.expose());
        let bytes = Secret::new(bytes);
        let signing = SigningKey::from_pkcs8(signing, algorithm).map_err(Fault::Signing)?;
        let sealing = SealingKey::new(signing.kid(), &bytes);
        let sealing = sealing.map_err(Fault::Crypto)?;
        Ok(Arc::new(Material {
            signing,
            sealing,
            digest,
        }))
    }

    fn value(&self, key: &'static str) -> Result<&Secret<Vec<u8>>, Fault> {
        let value = self.data.get(key).and_then(|value| value.0.as_ref());
        value.ok_or(Fault::Incomplete(key))
    }

    fn time(&self, key: &'static str) -> Result<Option<Timestamp>, Fault> {
        let text = self.metadata.annotations.get(key);
        // What is wrong with it is of use to nobody: a person can look at the annotation.
        let time = |text: &String| text.parse().ok().ok_or(Fault::Time(key));
        text.map(time).transpose()
    }
}

fn digest(parts: [&[u8]; 3]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&part.len().to_be_bytes());
        context.update(part);
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    digest
}

/// The name of a key's Secret.
pub(super) fn name(issuer: &IssuerId, number: u32) -> Box<str> {
    format!("{issuer}-{number}").into()
}

/// A key that nobody has yet.
#[derive(Debug)]
pub(super) struct NewKey {
    algorithm: Algorithm,
    signing: Secret<Vec<u8>>,
    sealing: Secret<Vec<u8>>,
    kid: Box<str>,
}

/// Why no key was made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MakeError {
    #[error("the crypto library made none")]
    Generate(#[source] Unspecified),
    #[error("it could not be read again")]
    Read(#[source] KeyFault),
}

impl NewKey {
    /// Makes a key, with the randomness of the crypto library. RSA takes a second.
    pub(super) fn make(algorithm: Algorithm) -> Result<Self, MakeError> {
        let signing = pkcs8(algorithm).map_err(MakeError::Generate)?;
        let mut sealing = vec![0; 32];
        rand::fill(&mut sealing).map_err(MakeError::Generate)?;
        let kid = SigningKey::from_pkcs8(&signing, algorithm).map_err(MakeError::Read)?;
        let (kid, sealing) = (kid.kid().into(), Secret::new(sealing));
        Ok(Self {
            algorithm,
            signing,
            sealing,
            kid,
        })
    }

    pub(super) const fn kid(&self) -> &str {
        &self.kid
    }

    /// The Secret to store, as JSON.
    pub(super) fn manifest(
        &self,
        issuer: &IssuerId,
        number: u32,
        now: Timestamp,
        activated: bool,
    ) -> Secret<Vec<u8>> {
        let mut annotations = json!({ PUBLISHED: now.to_string() });
        if activated {
            annotations[ACTIVATED] = json!(now.to_string());
        }
        let head = json!({
            "name": name(issuer, number), "labels": { LABEL: issuer.as_str() },
            "annotations": annotations,
        });
        let (signing, sealing) = (encode(&self.signing), encode(&self.sealing));
        let algorithm = STANDARD.encode(self.algorithm.as_str());
        // By hand, since a JSON value would leave copies behind. Base64 needs no escapes.
        Secret::new(
            format!(
                r#"{{"apiVersion":"v1","kind":"Secret","type":"{TYPE}","metadata":{head},"data":{{"{ALGORITHM}":"{algorithm}","{SEALING}":"{}","{SIGNING}":"{}"}}}}"#,
                sealing.expose(), signing.expose(),
            )
            .into_bytes(),
        )
    }
}

fn encode(bytes: &Secret<Vec<u8>>) -> Secret<String> {
    Secret::new(STANDARD.encode(bytes.expose()))
}

/// The crypto library wipes its own copy.
fn pkcs8(algorithm: Algorithm) -> Result<Secret<Vec<u8>>, Unspecified> {
    let bytes = match algorithm {
        Algorithm::Es256 => {
            let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?;
            pair.to_pkcs8v1()?.as_ref().to_vec()
        }
        Algorithm::EdDsa => Ed25519KeyPair::generate()?.to_pkcs8v1()?.as_ref().to_vec(),
        Algorithm::Rs256 => {
            let pair = rsa::KeyPair::generate(KeySize::Rsa2048)?;
            AsDer::<Pkcs8V1Der<'_>>::as_der(&pair)?.as_ref().to_vec()
        }
    };
    Ok(Secret::new(bytes))
}

/// The type of the Secrets.
pub(super) const TYPE: &str = "hallpass.dev/signing-key";
/// The label with the id of the issuer.
pub(super) const LABEL: &str = "hallpass.dev/issuer-id";
/// The annotation with the time since which the key can be read.
pub(super) const PUBLISHED: &str = "hallpass.dev/published";
/// The annotation with the time at which the key began to sign.
pub(super) const ACTIVATED: &str = "hallpass.dev/activated";
const SIGNING: &str = "signing";
const SEALING: &str = "sealing";
const ALGORITHM: &str = "algorithm";

#[cfg(test)]
mod tests;
