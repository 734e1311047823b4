//! What the Secret holds, checked: a CA, its key, and a serving certificate that it signed.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use hallpass_core::secret::Secret;
use jiff::Timestamp;
use rustls::{
    RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
    crypto::aws_lc_rs,
    sign::CertifiedKey,
};
use rustls_pki_types::{
    CertificateDer, InvalidDnsNameError, PrivateKeyDer, ServerName, UnixTime,
    pem::{self, PemObject},
};
use x509_parser::parse_x509_certificate;

use super::certificate::Pair;

/// The data of the Secret, as it was read.
pub(super) type Data = BTreeMap<String, Secret<Vec<u8>>>;

/// A CA and a serving certificate that a sidecar trusting this CA accepts. Only [`Material::parse`]
/// makes one.
#[derive(Debug)]
pub(super) struct Material {
    pub(super) authority: Pair,
    pub(super) authority_until: Timestamp,
    pub(super) serving: Arc<CertifiedKey>,
    pub(super) serving_from: Timestamp,
    pub(super) serving_until: Timestamp,
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
    #[error("its {key} does not fit its certificate")]
    WrongKey {
        key: &'static str,
        #[source]
        source: rustls::Error,
    },
    #[error("the CA ended at {0}")]
    AuthorityEnded(Timestamp),
    #[error("its ca.crt cannot be trusted")]
    Untrusted(#[source] rustls::Error),
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
    /// A serving certificate whose time is over is not a fault: it is renewed.
    pub(super) fn parse(
        data: &Data,
        dns: &[String],
        now: Timestamp,
    ) -> Result<Option<Self>, Fault> {
        if KEYS
            .iter()
            .all(|key| data.get(*key).is_none_or(|value| value.expose().is_empty()))
        {
            return Ok(None);
        }
        let authority = Pair {
            certificate: text(data, CA_CRT)?.to_owned(),
            key: Secret::new(text(data, CA_KEY)?.to_owned()),
        };
        let roots = certificates(CA_CRT, &authority.certificate)?;
        let (_, authority_until) = validity(CA_CRT, &roots)?;
        if authority_until <= now {
            return Err(Fault::AuthorityEnded(authority_until));
        }
        fitting(CA_KEY, roots.clone(), authority.key.expose())?;
        let chain = certificates(TLS_CRT, text(data, TLS_CRT)?)?;
        let (serving_from, serving_until) = validity(TLS_CRT, &chain)?;
        let serving = fitting(TLS_KEY, chain, text(data, TLS_KEY)?)?;
        // Whoever looks at a certificate out of its time sees its time alone.
        let within = now.clamp(serving_from, serving_until - Duration::from_secs(1));
        accepted(roots, &serving, dns, within)?;
        Ok(Some(Self {
            authority,
            authority_until,
            serving: Arc::new(serving),
            serving_from,
            serving_until,
        }))
    }
}

/// The data that holds `authority` and `serving`.
pub(super) fn data(authority: &Pair, serving: &Pair) -> Data {
    let bytes = |text: &str| Secret::new(text.as_bytes().to_vec());
    Data::from([
        (CA_CRT.into(), bytes(&authority.certificate)),
        (CA_KEY.into(), bytes(authority.key.expose())),
        (TLS_CRT.into(), bytes(&serving.certificate)),
        (TLS_KEY.into(), bytes(serving.key.expose())),
    ])
}

fn text<'a>(data: &'a Data, key: &'static str) -> Result<&'a str, Fault> {
    let value = data
        .get(key)
        .map(Secret::expose)
        .filter(|v| !v.is_empty())
        .ok_or(Fault::Incomplete(key))?;
    std::str::from_utf8(value).map_err(|source| Fault::NotText { key, source })
}

fn certificates(key: &'static str, pem: &str) -> Result<Vec<CertificateDer<'static>>, Fault> {
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|source| Fault::NotPem { key, source })
}

fn validity(
    key: &'static str,
    chain: &[CertificateDer<'_>],
) -> Result<(Timestamp, Timestamp), Fault> {
    let first = chain.first().ok_or(Fault::NotPem {
        key,
        source: pem::Error::NoItemsFound,
    })?;
    let (_, parsed) =
        parse_x509_certificate(first).map_err(|source| Fault::NotACertificate { key, source })?;
    let time = |at: x509_parser::time::ASN1Time| Timestamp::from_second(at.timestamp()).ok();
    let (from, until) = (
        time(parsed.validity().not_before),
        time(parsed.validity().not_after),
    );
    match (from, until) {
        (Some(from), Some(until)) if from < until => Ok((from, until)),
        _ => Err(Fault::NoTime { key }),
    }
}

fn fitting(
    key: &'static str,
    chain: Vec<CertificateDer<'static>>,
    pem: &str,
) -> Result<CertifiedKey, Fault> {
    let private = PrivateKeyDer::from_pem_slice(pem.as_bytes())
        .map_err(|source| Fault::NotPem { key, source })?;
    CertifiedKey::from_der(chain, private, &aws_lc_rs::default_provider())
        .map_err(|source| Fault::WrongKey { key, source })
}

/// Asks what a sidecar will ask.
fn accepted(
    roots: Vec<CertificateDer<'static>>,
    serving: &CertifiedKey,
    dns: &[String],
    now: Timestamp,
) -> Result<(), Fault> {
    let mut store = RootCertStore::empty();
    for root in roots {
        store.add(root).map_err(Fault::Untrusted)?;
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider)
        .build()
        .map_err(Fault::NoVerifier)?;
    let now = UnixTime::since_unix_epoch(now.as_duration().unsigned_abs());
    let [leaf, intermediates @ ..] = &serving.cert[..] else {
        return Err(Fault::Incomplete(TLS_CRT));
    };
    for name in dns {
        let server = ServerName::try_from(name.as_str()).map_err(|source| Fault::NotAName {
            name: name.clone(),
            source,
        })?;
        verifier
            .verify_server_cert(leaf, intermediates, &server, &[], now)
            .map_err(Fault::NotAccepted)?;
    }
    Ok(())
}

const CA_CRT: &str = "ca.crt";
const CA_KEY: &str = "ca.key";
const TLS_CRT: &str = "tls.crt";
const TLS_KEY: &str = "tls.key";
const KEYS: [&str; 4] = [CA_CRT, CA_KEY, TLS_CRT, TLS_KEY];

#[cfg(test)]
pub(super) mod tests {
    use super::{super::certificate, *};

    pub(in crate::tls) const DNS: &str = "hallpass.hallpass-system.svc";

    pub(in crate::tls) fn now() -> Timestamp {
        "2026-07-01T00:00:00Z".parse().unwrap()
    }

    pub(in crate::tls) fn made(now: Timestamp) -> Data {
        let ca = certificate::authority(now).unwrap();
        let serving = certificate::serving(
            &ca,
            now + Duration::from_secs(315_360_000),
            &[DNS.into()],
            now,
        )
        .unwrap();
        data(&ca, &serving)
    }

    fn parse(data: &Data, now: Timestamp) -> Result<Option<Material>, Fault> {
        Material::parse(data, &[DNS.into()], now)
    }

    fn with(mut data: Data, key: &str, value: &[u8]) -> Data {
        data.insert(key.into(), Secret::new(value.to_vec()));
        data
    }

    #[test]
    fn what_was_made_is_accepted() {
        let material = parse(&made(now()), now()).unwrap().unwrap();
        assert_eq!(
            material.serving_until,
            now() + Duration::from_secs(90 * 24 * 3600)
        );
    }

    #[test]
    fn a_secret_without_data_is_empty_and_not_broken() {
        assert!(parse(&Data::new(), now()).unwrap().is_none());
        assert!(
            parse(&with(Data::new(), "other", b"x"), now())
                .unwrap()
                .is_none()
        );
        assert!(
            parse(&with(Data::new(), TLS_KEY, b""), now())
                .unwrap()
                .is_none()
        );
    }

    #[test]
    fn a_serving_certificate_past_its_time_can_still_be_read() {
        let later = now() + Duration::from_secs(200 * 24 * 3600);
        assert!(parse(&made(now()), later).unwrap().is_some());
    }

    #[test]
    fn every_part_is_needed() {
        for key in KEYS {
            let mut data = made(now());
            data.remove(key);
            let fault = parse(&data, now()).unwrap_err();
            assert!(
                matches!(fault, Fault::Incomplete(k) if k == key),
                "{key}: {fault:?}"
            );
        }
    }

    #[test]
    fn garbage_is_told_by_its_key() {
        for key in KEYS {
            let fault = parse(&with(made(now()), key, b"\xff"), now()).unwrap_err();
            assert!(
                matches!(fault, Fault::NotText { key: k, .. } if k == key),
                "{key}: {fault:?}"
            );
            let fault = parse(&with(made(now()), key, b"garbage"), now()).unwrap_err();
            assert!(
                matches!(fault, Fault::NotPem { key: k, .. } if k == key),
                "{key}: {fault:?}"
            );
        }
    }

    #[test]
    fn parts_of_two_secrets_do_not_fit() {
        let (one, other) = (made(now()), made(now()));
        let take = |key: &str| other.get(key).unwrap().expose().clone();
        let fault = parse(&with(one.clone(), TLS_KEY, &take(TLS_KEY)), now()).unwrap_err();
        assert!(
            matches!(fault, Fault::WrongKey { key: TLS_KEY, .. }),
            "{fault:?}"
        );
        let fault = parse(&with(one.clone(), CA_KEY, &take(CA_KEY)), now()).unwrap_err();
        assert!(
            matches!(fault, Fault::WrongKey { key: CA_KEY, .. }),
            "{fault:?}"
        );
        let both = with(with(one, CA_KEY, &take(CA_KEY)), CA_CRT, &take(CA_CRT));
        let fault = parse(&both, now()).unwrap_err();
        assert!(matches!(fault, Fault::NotAccepted(_)), "{fault:?}");
    }

    #[test]
    fn a_certificate_for_another_name_is_not_accepted() {
        let fault = Material::parse(&made(now()), &["other.svc".into()], now()).unwrap_err();
        assert!(matches!(fault, Fault::NotAccepted(_)), "{fault:?}");
    }

    #[test]
    fn nothing_of_a_key_is_in_what_is_printed() {
        let data = made(now());
        let material = parse(&data, now()).unwrap().unwrap();
        let key = std::str::from_utf8(data[CA_KEY].expose())
            .unwrap()
            .lines()
            .nth(1)
            .unwrap()
            .to_owned();
        assert!(!format!("{data:?} {material:?}").contains(&key));
    }
}
