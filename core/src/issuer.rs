//! The valid form of a `TokenIssuer`: where the tokens of audiences come from.

use std::{collections::BTreeMap, fmt, time::Duration};

use jiff::Timestamp;

use crate::{
    decide::Subject,
    fault::{FaultKind, Faults},
    name::{IssuerId, Namespace, ObjectName, TrustDomain, Uid},
    policy::Seniority,
    token::signing::Algorithm,
};

/// An issuer as it was written: nothing about it has been looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RawIssuer {
    /// `metadata.name`
    pub name: String,
    /// `metadata.uid`
    pub uid: String,
    /// `metadata.creationTimestamp`
    pub created: Timestamp,
    /// `spec.hallpass.issuerURL`
    pub url: String,
    /// `spec.hallpass.algorithm`; without it, ES256
    pub algorithm: Option<String>,
    /// `spec.hallpass.rotateEvery`; without it, 30 days
    pub rotate_every: Option<String>,
    /// `spec.hallpass.spiffeTrustDomain`
    pub spiffe_trust_domain: Option<String>,
    /// `spec.audiences`
    pub audiences: Vec<RawAudiencePattern>,
    /// The annotation `hallpass.dev/rotate`
    pub rotate: Option<String>,
    /// The annotation `hallpass.dev/rotate-now`
    pub rotate_now: Option<String>,
}

/// One of `spec.audiences`, as it was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RawAudiencePattern {
    /// `pattern`
    pub pattern: String,
    /// `namespaces.matchLabels`
    pub match_labels: BTreeMap<String, String>,
}

/// An issuer that holds together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    /// The name of the resource.
    pub name: ObjectName,
    /// Its age decides between two that claim one URL.
    pub seniority: Seniority,
    /// The `iss` of its tokens.
    pub url: IssuerUrl,
    /// What its keys sign with.
    pub algorithm: Algorithm,
    /// How long a key signs before the next one does.
    pub rotate_every: Duration,
    /// What the `sub` of its tokens looks like.
    pub subject_form: SubjectForm,
    /// Which namespaces may state audiences beyond their own services.
    pub audiences: Vec<AudiencePattern>,
    /// The rotations that a person asked for.
    pub asked: AskedRotations,
}

/// The rotations that a person asked for with annotations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AskedRotations {
    /// The key that began to sign before then is to be followed by the next one, in good order.
    pub ordinary: Option<Timestamp>,
    /// No key that began to sign before then is to be believed any more.
    pub emergency: Option<Timestamp>,
    /// The annotations that are no time (RFC 3339): they ask for nothing, and a report says so.
    pub unreadable: Vec<&'static str>,
}

impl AskedRotations {
    fn parse(raw: &RawIssuer) -> Self {
        let mut unreadable = Vec::new();
        let mut time = |name, text: &Option<String>| {
            let text = text.as_ref()?;
            // What is wrong with it changes nothing about what to write.
            let time = text.parse().ok();
            if time.is_none() {
                unreadable.push(name);
            }
            time
        };
        let ordinary = time("hallpass.dev/rotate", &raw.rotate);
        let emergency = time("hallpass.dev/rotate-now", &raw.rotate_now);
        Self {
            ordinary,
            emergency,
            unreadable,
        }
    }
}

/// The URL of an issuer: what its tokens carry as `iss`, byte for byte (RFC 8414 §2, RFC 9068 §4).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IssuerUrl {
    url: Box<str>,
    /// Where the host ends.
    path: usize,
    id: IssuerId,
}

impl IssuerUrl {
    /// Checks `text` and keeps it as it is.
    ///
    /// # Errors
    /// Not https, or with a user, a query, a fragment or a final slash, or longer than 256 characters.
    pub fn parse(text: &str) -> Result<Self, FaultKind> {
        let rest = text.strip_prefix(SCHEME).ok_or(FaultKind::IssuerUrl)?;
        let end = rest.find('/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let (host, port) = authority.split_once(':').unwrap_or((authority, "443"));
        let label = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let host = host
            .split('.')
            .all(|l| !l.is_empty() && l.bytes().all(label));
        let port = port.parse::<u16>().is_ok_and(|n| n > 0) && !port.starts_with(['0', '+']);
        let segment = |s: &str| {
            let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
            !s.is_empty() && s != "." && s != ".." && s.bytes().all(plain)
        };
        let path_fits = path.is_empty() || path[1..].split('/').all(segment);
        if text.len() > 256 || !host || !port || !path_fits {
            return Err(FaultKind::IssuerUrl);
        }
        Ok(Self {
            url: text.into(),
            path: SCHEME.len() + end,
            id: IssuerId::of(text),
        })
    }

    /// The URL as it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.url
    }

    /// The host, with the port where one is written.
    #[must_use]
    pub fn authority(&self) -> &str {
        self.url.get(SCHEME.len()..self.path).unwrap_or_default()
    }

    /// What follows the host: nothing, or a path that begins with a slash and ends without one.
    #[must_use]
    pub fn path(&self) -> &str {
        self.url.get(self.path..).unwrap_or_default()
    }

    /// The id of the issuer: it names the issuer's keys and begins its opaque tokens.
    #[must_use]
    pub fn id(&self) -> IssuerId {
        self.id.clone()
    }
}

impl fmt::Display for IssuerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

/// What the `sub` of a token looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubjectForm {
    /// `system:serviceaccount:NAMESPACE:NAME`, as Kubernetes writes it.
    ServiceAccount,
    /// `spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/NAME` (SPIFFE-ID §2).
    Spiffe(TrustDomain),
}

/// Audiences that namespaces with certain labels may state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudiencePattern {
    /// What the audience looks like.
    pub pattern: Pattern,
    /// Every one of these labels is on the namespace with that value. Never empty.
    pub match_labels: BTreeMap<String, String>,
}

/// Which audiences are meant: a `*` stands for one or more of `a-z`, `0-9` and `-`, which is one label
/// of a host or a part of one; every other character stands for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(Box<str>);

impl Pattern {
    /// Checks `text` and keeps it.
    ///
    /// # Errors
    /// Empty, longer than 512 characters, not printable, or with more than 4 `*`.
    pub fn parse(text: &str) -> Result<Self, FaultKind> {
        let printable = text.bytes().all(|b| b.is_ascii_graphic());
        let stars = text.bytes().filter(|b| *b == b'*').count();
        if (1..=512).contains(&text.len()) && printable && stars <= MOST_STARS {
            Ok(Self(text.into()))
        } else {
            Err(FaultKind::Pattern)
        }
    }

    /// Whether that audience is meant.
    #[must_use]
    pub fn matches(&self, audience: &str) -> bool {
        matches(self.0.as_bytes(), audience.as_bytes())
    }
}

/// Keeps for each character of the pattern every place of the text that can be reached: the work is the
/// product of both lengths, whatever they say.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let label = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let mut reached = vec![false; text.len() + 1];
    reached[0] = true;
    for symbol in pattern {
        let mut next = vec![false; text.len() + 1];
        for (i, byte) in text.iter().enumerate() {
            next[i + 1] = match symbol {
                b'*' => label(*byte) && (reached[i] || next[i]),
                symbol => reached[i] && symbol == byte,
            };
        }
        reached = next;
    }
    reached.last() == Some(&true)
}

impl Issuer {
    /// Checks an issuer and applies the defaults: ES256, 30 days, subjects as Kubernetes writes them.
    ///
    /// # Errors
    /// All its faults.
    pub fn parse(raw: &RawIssuer) -> Result<Self, Faults> {
        let mut faults = Faults::default();
        let name = faults.note("metadata.name", ObjectName::parse(&raw.name));
        let uid = faults.note("metadata.uid", Uid::parse(&raw.uid));
        let url = faults.note("spec.hallpass.issuerURL", IssuerUrl::parse(&raw.url));
        let algorithm = raw
            .algorithm
            .as_deref()
            .map_or(Some(Algorithm::Es256), Algorithm::parse);
        if algorithm.is_none() {
            let known = FaultKind::OneOf("ES256, EdDSA, RS256");
            faults.add("spec.hallpass.algorithm", known);
        }
        let every = raw
            .rotate_every
            .as_deref()
            .map_or(Ok(DEFAULT_ROTATION), parse_rotation);
        let rotate_every = faults.note("spec.hallpass.rotateEvery", every);
        let subject_form = raw.spiffe_trust_domain.as_deref();
        let subject_form = subject_form.map_or(Ok(SubjectForm::ServiceAccount), |domain| {
            TrustDomain::parse(domain).map(SubjectForm::Spiffe)
        });
        let subject_form = faults.note("spec.hallpass.spiffeTrustDomain", subject_form);
        let audiences = parse_patterns(&raw.audiences, &mut faults);
        let whole = || {
            Some(Self {
                name: name?,
                seniority: Seniority {
                    created: raw.created,
                    uid: uid?,
                },
                url: url?,
                algorithm: algorithm?,
                rotate_every: rotate_every?,
                subject_form: subject_form?,
                audiences,
                asked: AskedRotations::parse(raw),
            })
        };
        whole().filter(|_| faults.is_empty()).ok_or(faults)
    }

    /// The `sub` of the subject's tokens.
    #[must_use]
    pub fn subject(&self, subject: &Subject) -> String {
        let Subject {
            namespace,
            service_account,
            ..
        } = subject;
        match &self.subject_form {
            SubjectForm::ServiceAccount => {
                format!("system:serviceaccount:{namespace}:{service_account}")
            }
            SubjectForm::Spiffe(domain) => {
                format!("spiffe://{domain}/ns/{namespace}/sa/{service_account}")
            }
        }
    }

    /// Whether a namespace with those labels may state that audience.
    #[must_use]
    pub fn permits(
        &self,
        audience: &str,
        namespace: &Namespace,
        labels: &BTreeMap<String, String>,
    ) -> bool {
        let listed = |p: &AudiencePattern| {
            !p.match_labels.is_empty()
                && p.match_labels.iter().all(|(k, v)| labels.get(k) == Some(v))
                && p.pattern.matches(audience)
        };
        is_own_service(audience, namespace) || self.audiences.iter().any(listed)
    }
}

/// Whether the audience is a service of that namespace: `SERVICE.NAMESPACE.svc`, alone or in front of
/// `.cluster.local`, bare or as an http or https URL with any port and path.
fn is_own_service(audience: &str, namespace: &Namespace) -> bool {
    let schemes = ["https://", "http://"];
    let rest = schemes
        .iter()
        .find_map(|scheme| audience.strip_prefix(scheme))
        .unwrap_or(audience);
    let end = rest.find([':', '/']).unwrap_or(rest.len());
    let (host, rest) = rest.split_at(end);
    let host = host.strip_suffix(".cluster.local").unwrap_or(host);
    let service = host
        .strip_suffix(".svc")
        .and_then(|h| h.strip_suffix(namespace.as_str()));
    let service = service.and_then(|h| h.strip_suffix('.'));
    let port = rest
        .strip_prefix(':')
        .map(|port| port.split('/').next().unwrap_or_default());
    let port = port.is_none_or(|port| port.parse::<u16>().is_ok());
    // A service's name is a label, and so is a namespace's.
    port && service.is_some_and(|service| Namespace::parse(service).is_ok())
}

/// Reads a period of rotation: a whole number with one of the units `d`, `h`, `m` and `s`.
///
/// # Errors
/// Anything else, and what is not between 1 h and 365 d.
pub fn parse_rotation(text: &str) -> Result<Duration, FaultKind> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86400,
        _ => return Err(FaultKind::Rotation),
    };
    // What is wrong with the digits (none, too many) changes nothing about what to write.
    let number: u64 = number.parse().ok().ok_or(FaultKind::Rotation)?;
    let seconds = number.saturating_mul(unit);
    if (3600..=365 * 86400).contains(&seconds) {
        Ok(Duration::from_secs(seconds))
    } else {
        Err(FaultKind::Rotation)
    }
}

fn parse_patterns(raw: &[RawAudiencePattern], faults: &mut Faults) -> Vec<AudiencePattern> {
    if raw.len() > 32 {
        faults.add("spec.audiences", FaultKind::Count { most: 32 });
    }
    let mut patterns = Vec::with_capacity(raw.len());
    for (i, raw) in raw.iter().enumerate() {
        let path = format!("spec.audiences[{i}]");
        let labels = format!("{path}.namespaces.matchLabels");
        faults.count(&labels, raw.match_labels.len(), 16);
        let pattern = faults.note(&format!("{path}.pattern"), Pattern::parse(&raw.pattern));
        patterns.extend(pattern.map(|pattern| AudiencePattern {
            pattern,
            match_labels: raw.match_labels.clone(),
        }));
    }
    patterns
}

const SCHEME: &str = "https://";
const MOST_STARS: usize = 4;
const DEFAULT_ROTATION: Duration = Duration::from_secs(30 * 86400);

#[cfg(test)]
mod tests;
