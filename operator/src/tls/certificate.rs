//! Makes certificates: a CA, and the serving certificate under it. Pure but for the random keys.

use std::{
    cmp::{max, min},
    time::Duration,
};

use hallpass_core::secret::Secret;
use jiff::Timestamp;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
    SerialNumber,
};

use super::rotation::{Life, Lives};

/// A certificate and its key, both in PEM.
#[derive(Debug, Clone)]
pub(super) struct Pair {
    pub(super) certificate: String,
    pub(super) key: Secret<String>,
}

/// Why no certificate could be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MakeError {
    #[error("make a key")]
    MakeKey(#[source] rcgen::Error),
    #[error("read the key of a CA")]
    ReadAuthorityKey(#[source] rcgen::Error),
    #[error("read the certificate of the CA")]
    ReadAuthority(#[source] rcgen::Error),
    #[error("sign the certificate")]
    Sign(#[source] rcgen::Error),
}

/// A new CA that signs serving certificates and nothing below them, and lives for `life`.
pub(super) fn authority(life: Duration, now: Timestamp) -> Result<Pair, MakeError> {
    let key = new_key()?;
    let params = authority_params(authority_life(life, now));
    let certificate = params.self_signed(key.expose()).map_err(MakeError::Sign)?;
    Ok(Pair {
        certificate: certificate.pem(),
        key: Secret::new(key.expose().serialize_pem()),
    })
}

/// The cross-certificate of `next`, signed by the CA before it ("new with old", RFC 4210 §4.4): by it, who
/// trusts that one alone accepts what `next` signs. It lives as long as `next`: a sidecar does not look whether what it
/// trusts has ended. Self-issued, it does not count in the length of a path (RFC 5280 §4.2.1.9); a verifier that counts
/// it all the same, as Go's does, has to know `next` itself.
pub(super) fn cross(before: &Pair, next: &Pair, life: Life) -> Result<String, MakeError> {
    let key = read_key(next)?;
    let mut params = authority_params(life);
    // the one made of the key by default is that of `next` itself, under the same name of an issuer
    params.serial_number = Some(SerialNumber::from_slice(&rand::random::<[u8; 16]>()));
    params.use_authority_key_identifier_extension = true;
    let certificate = with_issuer(before, |issuer| params.signed_by(key.expose(), issuer))?;
    Ok(certificate.pem())
}

fn authority_params(life: Life) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name("Hallpass serving CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    live(&mut params, life);
    params
}

/// From when until when a CA is valid that is made at `now` to live for `life`.
pub(super) fn authority_life(life: Duration, now: Timestamp) -> Life {
    Life {
        from: now - BACKDATED,
        until: now + life,
    }
}

/// A new serving certificate for `dns` with a key of its own, signed by `authority`. It lives for `life`,
/// but neither begins before `bounds`, the life of the CA, nor outlives them.
pub(super) fn serving(
    authority: &Pair,
    bounds: Life,
    dns: &[String],
    life: Duration,
    now: Timestamp,
) -> Result<Pair, MakeError> {
    let key = new_key()?;
    let mut params = CertificateParams::new(dns).map_err(MakeError::Sign)?;
    // A common name has at most 64 characters, our names may have more: only the SANs name the server.
    params.distinguished_name = common_name("Hallpass operator");
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let life = Life {
        from: max(now - BACKDATED, bounds.from),
        until: min(now + life, bounds.until),
    };
    live(&mut params, life);
    let certificate = with_issuer(authority, |issuer| params.signed_by(key.expose(), issuer))?;
    Ok(Pair {
        certificate: certificate.pem(),
        key: Secret::new(key.expose().serialize_pem()),
    })
}

/// Has that CA sign.
fn with_issuer(
    authority: &Pair,
    sign: impl FnOnce(&Issuer<'_, &KeyPair>) -> Result<Certificate, rcgen::Error>,
) -> Result<Certificate, MakeError> {
    let key = read_key(authority)?;
    let issuer = Issuer::from_ca_cert_pem(&authority.certificate, key.expose())
        .map_err(MakeError::ReadAuthority)?;
    sign(&issuer).map_err(MakeError::Sign)
}

fn read_key(authority: &Pair) -> Result<Secret<KeyPair>, MakeError> {
    KeyPair::from_pem(authority.key.expose())
        .map(Secret::new)
        .map_err(MakeError::ReadAuthorityKey)
}

fn new_key() -> Result<Secret<KeyPair>, MakeError> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)
        .map(Secret::new)
        .map_err(MakeError::MakeKey)
}

fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn live(params: &mut CertificateParams, life: Life) {
    let Life { from, until } = life;
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + from.as_duration().unsigned_abs();
    params.not_after = epoch + until.as_duration().unsigned_abs();
}

/// A sidecar's clock may be ten minutes behind ours.
const BACKDATED: Duration = Duration::from_secs(15 * 60);

/// How long CAs and serving certificates live.
pub(super) const LIVES: Lives = Lives {
    authority: Duration::from_secs(10 * 365 * 24 * 3600),
    serving: Duration::from_secs(90 * 24 * 3600),
};

#[cfg(test)]
mod tests {
    use x509_parser::{parse_x509_certificate, pem::parse_x509_pem};

    use super::*;

    fn now() -> Timestamp {
        "2026-07-01T00:00:00Z".parse().unwrap()
    }

    fn bounds() -> Life {
        authority_life(LIVES.authority, now())
    }

    #[test]
    fn a_ca_signs_servers_and_no_other_ca() {
        let made = authority(LIVES.authority, now()).unwrap();
        let (_, pem) = parse_x509_pem(made.certificate.as_bytes()).unwrap();
        let (_, ca) = parse_x509_certificate(&pem.contents).unwrap();
        let constraints = ca.basic_constraints().unwrap().unwrap();
        assert!(constraints.critical && constraints.value.ca);
        assert_eq!(constraints.value.path_len_constraint, Some(0));
        assert!(ca.key_usage().unwrap().unwrap().value.key_cert_sign());
        let life = ca.validity().not_after.timestamp() - now().as_second();
        assert_eq!(life, 3650 * 24 * 3600);
    }

    #[test]
    fn a_serving_certificate_serves_its_names_for_90_days() {
        let ca = authority(LIVES.authority, now()).unwrap();
        let dns = ["a.b.svc".to_owned(), "a.b.svc.cluster.local".to_owned()];
        let made = serving(&ca, bounds(), &dns, LIVES.serving, now()).unwrap();
        let (_, pem) = parse_x509_pem(made.certificate.as_bytes()).unwrap();
        let (_, leaf) = parse_x509_certificate(&pem.contents).unwrap();
        let names = leaf.subject_alternative_name().unwrap().unwrap();
        let names: Vec<_> = names
            .value
            .general_names
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            names,
            ["DNSName(a.b.svc)", "DNSName(a.b.svc.cluster.local)"]
        );
        let usage = leaf.extended_key_usage().unwrap().unwrap().value;
        assert!(usage.server_auth && !usage.client_auth && !usage.any);
        assert!(!leaf.is_ca());
        assert_eq!(
            leaf.validity().not_after.timestamp() - now().as_second(),
            90 * 24 * 3600
        );
    }

    #[test]
    fn f06_what_was_made_just_now_is_valid_by_a_clock_that_is_ten_minutes_behind() {
        let ca = authority(LIVES.authority, now()).unwrap();
        let dns = ["a.b.svc".to_owned()];
        let made = serving(&ca, bounds(), &dns, LIVES.serving, now()).unwrap();
        let behind = now().as_second() - 600;
        for pair in [ca, made] {
            let (_, pem) = parse_x509_pem(pair.certificate.as_bytes()).unwrap();
            let (_, parsed) = parse_x509_certificate(&pem.contents).unwrap();
            let from = parsed.validity().not_before.timestamp();
            assert!(from <= behind, "{from} is after {behind}");
        }
    }

    #[test]
    fn f12_a_serving_certificate_is_valid_within_the_life_of_its_ca_alone() {
        let ca = authority(LIVES.authority, now()).unwrap();
        let bounds = Life {
            from: now() - Duration::from_secs(1),
            until: now() + Duration::from_secs(3600),
        };
        let dns = ["a.b.svc".to_owned()];
        let made = serving(&ca, bounds, &dns, LIVES.serving, now()).unwrap();
        let (_, pem) = parse_x509_pem(made.certificate.as_bytes()).unwrap();
        let (_, leaf) = parse_x509_certificate(&pem.contents).unwrap();
        let validity = leaf.validity();
        assert_eq!(validity.not_before.timestamp(), bounds.from.as_second());
        assert_eq!(validity.not_after.timestamp(), bounds.until.as_second());
    }
}
