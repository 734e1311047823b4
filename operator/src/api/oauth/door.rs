//! Which issuer a request is for, and what of it.

use std::sync::Arc;

use hallpass_core::{consent::AudienceSet, issuer::Issuer};
use http::{Method, header::HOST, request::Parts};

use crate::telemetry::label::Route;

/// What an issuer has, below its URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api) enum Endpoint {
    /// RFC 6749 §3.2.
    Token,
    /// RFC 7662 §2.
    Introspect,
    /// RFC 7009 §2.
    Revoke,
    /// RFC 7517 §5.
    Jwks,
    /// RFC 8414 §3, and the place where OpenID Connect has it.
    Metadata,
}

impl Endpoint {
    /// What a path may mean, each time with the path of the issuer.
    pub(in crate::api) fn of(path: &str) -> impl Iterator<Item = (Self, &str)> {
        let below =
            |(suffix, endpoint): &(&str, Self)| Some((*endpoint, path.strip_suffix(suffix)?));
        // RFC 8414 §3.1 puts it between the host and the path.
        let between = path.strip_prefix(INSERTED);
        let between = between.filter(|rest| rest.is_empty() || rest.starts_with('/'));
        let between = between.map(|rest| (Self::Metadata, rest));
        APPENDED.iter().filter_map(below).chain(between)
    }

    /// What counts its requests.
    pub(in crate::api) const fn route(self) -> Route {
        match self {
            Self::Token => Route::Token,
            Self::Introspect => Route::Introspect,
            Self::Revoke => Route::Revoke,
            Self::Jwks => Route::Jwks,
            Self::Metadata => Route::Metadata,
        }
    }

    /// The methods that it takes, as `Allow` has them.
    pub(super) const fn allow(self) -> &'static str {
        match self {
            Self::Token | Self::Introspect | Self::Revoke => "POST",
            Self::Jwks | Self::Metadata => "GET,HEAD",
        }
    }

    pub(super) fn takes(self, method: &Method) -> bool {
        self.allow()
            .split(',')
            .any(|taken| taken == method.as_str())
    }
}

/// Of the issuers that count, the one that the request is for. Its path decides, and only where several
/// have that path its host: whoever comes through a forwarded port or by an address is served too.
pub(super) fn find(audiences: &AudienceSet, request: &Parts) -> Option<(Endpoint, Arc<Issuer>)> {
    Endpoint::of(request.uri.path()).find_map(|(endpoint, path)| {
        let here: Vec<_> = audiences
            .issuers()
            .filter(|issuer| issuer.url.path() == path)
            .collect();
        let issuer = choose(&here, authority(request).as_deref())?;
        Some((endpoint, Arc::clone(issuer)))
    })
}

fn choose<'a>(here: &[&'a Arc<Issuer>], authority: Option<&str>) -> Option<&'a Arc<Issuer>> {
    if let [only] = here {
        return Some(only);
    }
    let authority = authority?;
    // Two URLs may differ by a written port of 443 alone: the same spelling goes first.
    let written = |issuer: &&&Arc<Issuer>| issuer.url.authority() == authority;
    let meant = |issuer: &&&Arc<Issuer>| with_port(issuer.url.authority()) == with_port(authority);
    let mut issuers = here.iter();
    let found = issuers.find(written).or_else(|| here.iter().find(meant));
    found.copied()
}

/// The host that is asked, in lower case: of the target where it has one (RFC 9112 §3.2.2), else of the
/// one `Host`.
fn authority(request: &Parts) -> Option<String> {
    let target = request.uri.authority().map(|authority| authority.as_str());
    let mut hosts = request.headers.get_all(HOST).iter();
    let host = hosts.next().filter(|_| hosts.next().is_none());
    let authority = target.or_else(|| host?.to_str().ok())?;
    Some(authority.to_ascii_lowercase())
}

fn with_port(authority: &str) -> (&str, &str) {
    authority.split_once(':').unwrap_or((authority, "443"))
}

const APPENDED: [(&str, Endpoint); 5] = [
    ("/oauth2/token", Endpoint::Token),
    ("/oauth2/introspect", Endpoint::Introspect),
    ("/oauth2/revoke", Endpoint::Revoke),
    ("/jwks", Endpoint::Jwks),
    ("/.well-known/openid-configuration", Endpoint::Metadata),
];

const INSERTED: &str = "/.well-known/oauth-authorization-server";
