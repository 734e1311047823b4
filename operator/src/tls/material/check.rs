//! Reads the entries of the Secret, one by one, and asks of them what a sidecar will ask.

use std::{sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use hallpass_core::secret::Secret;
use jiff::Timestamp;
use rustls::{
    RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
    crypto::aws_lc_rs,
    sign::CertifiedKey,
};
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer, ServerName, UnixTime,
    pem::{self, PemObject},
};
use x509_parser::parse_x509_certificate;

use super::{CA_CRT, Data, Fault, TLS_CRT};
use crate::tls::rotation::Life;

/// Whether that entry says anything.
pub(super) fn is_there(data: &Data, key: &str) -> bool {
    data.get(key)
        .is_some_and(|value| !value.expose().is_empty())
}

/// What that entry says.
pub(super) fn text<'a>(data: &'a Data, key: &'static str) -> Result<&'a str, Fault> {
    let value = data
        .get(key)
        .map(Secret::expose)
        .filter(|v| !v.is_empty())
        .ok_or(Fault::Incomplete(key))?;
    std::str::from_utf8(value).map_err(|source| Fault::NotText { key, source })
}

/// The time that it says.
pub(super) fn moment(data: &Data, key: &'static str) -> Result<Timestamp, Fault> {
    let parsed = text(data, key)?.parse();
    parsed.map_err(|source| Fault::NotATime { key, source })
}

/// The certificates in it, of which there is at least one.
pub(super) fn certificates(
    key: &'static str,
    pem: &str,
) -> Result<Vec<CertificateDer<'static>>, Fault> {
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|source| Fault::NotPem { key, source })
}

/// One certificate in PEM, and nothing beside it.
pub(super) fn pem(certificate: &CertificateDer<'_>) -> String {
    let text = STANDARD.encode(certificate);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    for (position, character) in text.chars().enumerate() {
        if position > 0 && position % LINE == 0 {
            pem.push('\n');
        }
        pem.push(character);
    }
    pem.push_str("\n-----END CERTIFICATE-----\n");
    pem
}

/// When the first of them is valid.
pub(super) fn validity(
    key: &'static str,
    first: Option<&CertificateDer<'_>>,
) -> Result<Life, Fault> {
    let first = first.ok_or(Fault::NotPem {
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
        (Some(from), Some(until)) if from < until => Ok(Life { from, until }),
        _ => Err(Fault::NoTime { key }),
    }
}

/// Whoever looks at a certificate out of its time sees its time alone.
pub(super) fn within(life: Life, now: Timestamp) -> Timestamp {
    now.clamp(life.from, life.until - Duration::from_secs(1))
}

/// The chain with the key of its first certificate.
pub(super) fn fitting(
    key: &'static str,
    chain: Vec<CertificateDer<'static>>,
    pem: &str,
) -> Result<CertifiedKey, Fault> {
    let private = PrivateKeyDer::from_pem_slice(pem.as_bytes())
        .map_err(|source| Fault::NotPem { key, source })?;
    CertifiedKey::from_der(chain, private, &aws_lc_rs::default_provider())
        .map_err(|source| Fault::WrongKey { key, source })
}

/// Trust in those CAs.
pub(super) fn trusted(
    key: &'static str,
    roots: Vec<CertificateDer<'static>>,
) -> Result<RootCertStore, Fault> {
    let mut store = RootCertStore::empty();
    for root in roots {
        store
            .add(root)
            .map_err(|source| Fault::Untrusted { key, source })?;
    }
    Ok(store)
}

/// Asks what a sidecar will ask.
pub(super) fn accepted(
    roots: Vec<CertificateDer<'static>>,
    serving: &CertifiedKey,
    dns: &[String],
    now: Timestamp,
) -> Result<(), Fault> {
    let store = trusted(CA_CRT, roots)?;
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

/// How long a line of PEM is.
const LINE: usize = 64;
