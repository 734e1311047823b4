//! What the Secret holds, checked: the CAs, their keys, and a serving certificate that one of them signed.
//!
//! | entry | what it is |
//! | --- | --- |
//! | `ca.crt` | the CA that signs, and after it those that signed before and are still trusted |
//! | `ca.key` | the key of the first of them |
//! | `tls.crt`, `tls.key` | the serving certificate and its key; after it the cross-certificate of the CA that signed it, if another came before |
//! | `next.crt`, `next.key` | the CA that follows, if there is one yet |
//! | `next.shown` | since when that one has been published, if it is |
//!
//! Who knows the first four alone, as earlier versions do, reads a Secret that is whole without the others,
//! and may write it without them: the next CA then starts anew, having signed nothing.

use std::{collections::BTreeMap, sync::Arc};

use hallpass_core::secret::Secret;
use jiff::Timestamp;
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, InvalidDnsNameError, pem};
use tracing::warn;

use self::check::{accepted, certificates, fitting, is_there, moment, text, validity, within};
use super::{
    certificate::{self, MakeError, Pair},
    rotation::{Life, Lives, Scene, Step, Upcoming},
};
use crate::telemetry::log::Chain;

mod check;

/// The data of the Secret, as it was read.
pub(super) type Data = BTreeMap<String, Secret<Vec<u8>>>;

/// CAs and a serving certificate that whoever trusts these CAs accepts. Only [`Material::parse`] makes one.
#[derive(Debug)]
pub(super) struct Material {
    content: Content,
    serving: Arc<CertifiedKey>,
    serving_life: Life,
}

/// What is to be stored.
#[derive(Debug, Clone)]
pub(super) struct Content {
    current: Signer,
    former: Vec<Root>,
    next: Option<Next>,
    leaf: Pair,
}

#[derive(Debug, Clone)]
struct Signer {
    pair: Pair,
    life: Life,
    /// Signed by the CA before it, for those who know that one alone.
    cross: Option<String>,
}

/// A CA that is trusted and signs nothing.
#[derive(Debug, Clone)]
struct Root {
    certificate: String,
    life: Life,
}

#[derive(Debug, Clone)]
struct Next {
    signer: Signer,
    shown: Option<Timestamp>,
}

/// Why the data of the Secret is of no use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("it has no {0}")]
    Incomplete(&'static str),
    #[error("its {key} is not text")]
    NotText {
        key: &'static str,
        #[source]
        source: std::str::Utf8Error,
    },
    #[error("its {key} is not PEM")]
    NotPem {
        key: &'static str,
        #[source]
        source: pem::Error,
    },
    #[error("the certificate in its {key} cannot be read")]
    NotACertificate {
        key: &'static str,
        #[source]
        source: x509_parser::nom::Err<x509_parser::error::X509Error>,
    },
    #[error("its {key} has no certificate with a usable time")]
    NoTime { key: &'static str },
    #[error("its {key} is no time")]
    NotATime {
        key: &'static str,
        #[source]
        source: jiff::Error,
    },
    #[error("its {key} does not fit its certificate")]
    WrongKey {
        key: &'static str,
        #[source]
        source: rustls::Error,
    },
    #[error("its {key} cannot be trusted")]
    Untrusted {
        key: &'static str,
        #[source]
        source: rustls::Error,
    },
    #[error("the verifier of its ca.crt cannot be made")]
    NoVerifier(#[source] rustls::client::VerifierBuilderError),
    #[error("{name} is no name of a server")]
    NotAName {
        name: String,
        #[source]
        source: InvalidDnsNameError,
    },
    #[error("its tls.crt is not accepted by those who trust its ca.crt")]
    NotAccepted(#[source] rustls::Error),
}

impl Material {
    /// Reads and checks the data. `None`: there is nothing in it yet.
    ///
    /// What is only past its time is not a fault: it is replaced.
    pub(super) fn parse(
        data: &Data,
        dns: &[String],
        now: Timestamp,
    ) -> Result<Option<Self>, Fault> {
        if KEYS.iter().all(|key| !is_there(data, key)) {
            return Ok(None);
        }
        let roots = certificates(CA_CRT, text(data, CA_CRT)?)?;
        let chain = certificates(TLS_CRT, text(data, TLS_CRT)?)?;
        let mut current = signer(data, CA_KEY, CA_CRT, &roots)?;
        current.cross = chain.get(1).map(|cross| check::pem(cross));
        let serving_life = validity(TLS_CRT, chain.first())?;
        let leaf = chain.first().map(|leaf| check::pem(leaf));
        let leaf = leaf.unwrap_or_default();
        let serving = fitting(TLS_KEY, chain, text(data, TLS_KEY)?)?;
        let former = roots.iter().skip(1).map(former);
        let content = Content {
            current,
            former: former.collect::<Result<_, _>>()?,
            next: next(data)?,
            leaf: Pair {
                certificate: leaf,
                key: Secret::new(text(data, TLS_KEY)?.to_owned()),
            },
        };
        accepted(roots, &serving, dns, within(serving_life, now))?;
        Ok(Some(Self {
            content,
            serving: Arc::new(serving),
            serving_life,
        }))
    }

    /// What is shown at each handshake.
    pub(super) const fn serving(&self) -> &Arc<CertifiedKey> {
        &self.serving
    }

    /// When that ends.
    pub(super) const fn serving_until(&self) -> Timestamp {
        self.serving_life.until
    }

    /// The life of the CA that signs.
    pub(super) const fn authority_life(&self) -> Life {
        self.content.current.life
    }

    /// All CAs that are to be trusted, in PEM, the oldest first: the same text whichever of them signs.
    pub(super) fn bundle(&self) -> String {
        let Content {
            current,
            former,
            next,
            ..
        } = &self.content;
        let signers = next.iter().map(|next| &next.signer).chain([current]);
        let signers = signers.map(|signer| (signer.life.from, &*signer.pair.certificate));
        let former = former
            .iter()
            .map(|root| (root.life.from, &*root.certificate));
        let mut all: Vec<_> = signers.chain(former).collect();
        all.sort_unstable();
        all.dedup();
        all.into_iter()
            .map(|(_, certificate)| certificate)
            .collect()
    }

    /// What the next step depends on.
    pub(super) fn scene(&self) -> Scene {
        let Content {
            current,
            former,
            next,
            ..
        } = &self.content;
        Scene {
            current: current.life,
            former: former.iter().map(|root| root.life).collect(),
            next: next.as_ref().map(|next| Upcoming {
                life: next.signer.life,
                shown: next.shown,
            }),
            serving: self.serving_life,
        }
    }

    /// What is to be stored for that step.
    pub(super) fn after(
        &self,
        step: Step,
        dns: &[String],
        lives: Lives,
        now: Timestamp,
    ) -> Result<Content, MakeError> {
        let mut content = self.content.clone();
        content.former.retain(|root| !root.life.is_over(now));
        match step {
            Step::Replace => {
                let former = content.former;
                let mut first = Content::first(dns, lives, now)?;
                match content.current.vouch(&first.current) {
                    Ok(cross) => first.current.cross = Some(cross),
                    Err(error) => {
                        warn!(error = %Chain(&error), "the CA that ended vouches for no other: pods that a webhook told of it have to be started anew");
                    }
                }
                return Ok(Content { former, ..first });
            }
            Step::Prepare => {
                let signer = Signer::new(lives, now)?;
                content.next = Some(Next {
                    signer,
                    shown: None,
                });
            }
            Step::Show | Step::Hide => {
                let shown = (step == Step::Show).then_some(now);
                content.next.iter_mut().for_each(|next| next.shown = shown);
            }
            Step::Activate => content.activate(dns, lives, now)?,
            Step::Renew => content.leaf = content.current.serving(dns, lives, now)?,
            Step::Forget => {}
        }
        Ok(content)
    }
}

impl Content {
    /// A CA and its first serving certificate.
    pub(super) fn first(dns: &[String], lives: Lives, now: Timestamp) -> Result<Self, MakeError> {
        let current = Signer::new(lives, now)?;
        Ok(Self {
            leaf: current.serving(dns, lives, now)?,
            current,
            former: Vec::new(),
            next: None,
        })
    }

    fn activate(&mut self, dns: &[String], lives: Lives, now: Timestamp) -> Result<(), MakeError> {
        let Some(next) = self.next.take() else {
            return Ok(());
        };
        self.leaf = next.signer.serving(dns, lives, now)?;
        let cross = Some(self.current.vouch(&next.signer)?);
        let signer = Signer {
            cross,
            ..next.signer
        };
        let before = std::mem::replace(&mut self.current, signer);
        // Its key goes: nothing is signed with it any more.
        if !before.life.is_over(now) {
            self.former.push(Root {
                certificate: before.pair.certificate,
                life: before.life,
            });
        }
        Ok(())
    }

    /// The data that holds it.
    pub(super) fn data(&self) -> Data {
        let Self {
            current,
            former,
            next,
            leaf,
        } = self;
        let former = former.iter().map(|root| &*root.certificate);
        let roots: String = [&*current.pair.certificate]
            .into_iter()
            .chain(former)
            .collect();
        let cross = current.cross.as_deref().unwrap_or_default();
        let mut entries = vec![
            (CA_CRT, roots),
            (CA_KEY, current.pair.key.expose().clone()),
            (TLS_CRT, [&*leaf.certificate, cross].concat()),
            (TLS_KEY, leaf.key.expose().clone()),
        ];
        if let Some(Next { signer, shown }) = next {
            entries.push((NEXT_CRT, signer.pair.certificate.clone()));
            entries.push((NEXT_KEY, signer.pair.key.expose().clone()));
            entries.extend(shown.map(|at| (NEXT_SHOWN, at.to_string())));
        }
        let bytes = |text: String| Secret::new(text.into_bytes());
        let entries = entries
            .into_iter()
            .map(|(key, text)| (key.into(), bytes(text)));
        entries.collect()
    }
}

impl Signer {
    fn new(lives: Lives, now: Timestamp) -> Result<Self, MakeError> {
        Ok(Self {
            pair: certificate::authority(lives.authority, now)?,
            life: certificate::authority_life(lives.authority, now),
            cross: None,
        })
    }

    /// The cross-certificate of `next`, for those who know this one alone.
    fn vouch(&self, next: &Self) -> Result<String, MakeError> {
        certificate::cross(&self.pair, &next.pair, next.life)
    }

    fn serving(&self, dns: &[String], lives: Lives, now: Timestamp) -> Result<Pair, MakeError> {
        certificate::serving(&self.pair, self.life, dns, lives.serving, now)
    }
}

/// The CA of those entries; `roots` is what the second one holds.
fn signer(
    data: &Data,
    key: &'static str,
    certificate: &'static str,
    roots: &[CertificateDer<'static>],
) -> Result<Signer, Fault> {
    let life = validity(certificate, roots.first())?;
    let private = text(data, key)?;
    fitting(key, roots.to_vec(), private)?;
    Ok(Signer {
        pair: Pair {
            certificate: roots
                .first()
                .map(|root| check::pem(root))
                .unwrap_or_default(),
            key: Secret::new(private.to_owned()),
        },
        life,
        cross: None,
    })
}

fn former(root: &CertificateDer<'static>) -> Result<Root, Fault> {
    Ok(Root {
        certificate: check::pem(root),
        life: validity(CA_CRT, Some(root))?,
    })
}

fn next(data: &Data) -> Result<Option<Next>, Fault> {
    if [NEXT_CRT, NEXT_KEY].iter().all(|key| !is_there(data, key)) {
        return Ok(None);
    }
    let roots = certificates(NEXT_CRT, text(data, NEXT_CRT)?)?;
    let signer = signer(data, NEXT_KEY, NEXT_CRT, &roots)?;
    check::trusted(NEXT_CRT, roots)?;
    let shown = is_there(data, NEXT_SHOWN).then(|| moment(data, NEXT_SHOWN));
    Ok(Some(Next {
        signer,
        shown: shown.transpose()?,
    }))
}

const CA_CRT: &str = "ca.crt";
const CA_KEY: &str = "ca.key";
const TLS_CRT: &str = "tls.crt";
const TLS_KEY: &str = "tls.key";
const NEXT_CRT: &str = "next.crt";
const NEXT_KEY: &str = "next.key";
const NEXT_SHOWN: &str = "next.shown";
const KEYS: [&str; 4] = [CA_CRT, CA_KEY, TLS_CRT, TLS_KEY];

#[cfg(test)]
pub(super) mod tests;
