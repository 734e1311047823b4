//! What a request to the token endpoint asks for, read before anybody looks at who asks.

use hallpass_core::{denial::Code, name::Scope, scope::ScopeSet, secret::Secret};

use super::{
    error::{Challenge, ErrorCode},
    form::Form,
};
use crate::{api::problem::Refused, issue::refusal::Refusal};

/// A request whose form is right.
#[derive(Debug)]
pub(super) struct Wish<'a> {
    /// In which of the two ways it is asked.
    pub(super) grant: GrantType,
    /// The identity token, which is yet to be checked.
    pub(super) identity: &'a Secret<String>,
    /// Who the client says that it is.
    pub(super) client: Option<&'a str>,
    /// The one audience.
    pub(super) audience: &'a str,
    /// The scopes; all that there are where none are named.
    pub(super) scopes: Option<ScopeSet>,
}

/// The two ways to ask. Both bring the identity token of the pod, and both get the same token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GrantType {
    /// The identity token is exchanged (RFC 8693).
    Exchange,
    /// The identity token authenticates the client (RFC 6749 §4.4 with RFC 7523 §2.2). Its `iss` is the
    /// cluster and its `aud` Hallpass, as those who run both agreed on (RFC 7523 §3).
    ClientCredentials(Challenge),
}

impl GrantType {
    /// The word for an identity token that is not accepted.
    ///
    /// For an exchange RFC 8693 §2.2.2 asks for `invalid_request` here. This departs from it, as others
    /// do: `invalid_grant` tells a client to come with another identity token, `invalid_request` that the
    /// same request can never do.
    pub(super) const fn rejection(self) -> ErrorCode {
        match self {
            Self::Exchange => ErrorCode::InvalidGrant,
            Self::ClientCredentials(challenge) => ErrorCode::InvalidClient(challenge),
        }
    }
}

impl<'a> Wish<'a> {
    /// Reads a form.
    ///
    /// # Errors
    /// The first thing that the endpoint does not take.
    pub(super) fn read(form: &'a Form, challenge: Challenge) -> Result<Self, Refused> {
        let text = |name| form.one(name).map(|value| value.expose().as_str());
        let grant = text("grant_type").ok_or_else(|| invalid("there is no grant_type"))?;
        let (grant, identity) = match grant {
            EXCHANGE => (GrantType::Exchange, subject_token(form)?),
            "client_credentials" => (
                GrantType::ClientCredentials(challenge),
                assertion(form, ErrorCode::InvalidClient(challenge))?,
            ),
            _ => {
                let detail = format!("the grant types are client_credentials and {EXCHANGE}");
                let refusal = Refusal::new(Code::UnsupportedGrantType, detail);
                return Err(Refused::oauth(refusal, ErrorCode::UnsupportedGrantType));
            }
        };
        Ok(Self {
            grant,
            identity,
            client: text("client_id"),
            audience: audience(form)?,
            scopes: text("scope").map(scopes).transpose()?,
        })
    }
}

/// RFC 8693 §2.1. An identity token is a JWT of the cluster. It is no access token, which would be one
/// of this very issuer (RFC 8693 §3): those are not exchanged, whatever type they are said to be.
fn subject_token(form: &Form) -> Result<&Secret<String>, Refused> {
    let text = |name| form.one(name).map(|value| value.expose().as_str());
    let token = form.one("subject_token");
    let token = token.ok_or_else(|| invalid("there is no subject_token"))?;
    if text("subject_token_type") != Some(JWT) {
        return Err(invalid(format!("the subject_token_type must be {JWT}")));
    }
    if text("requested_token_type").is_some_and(|wanted| wanted != ACCESS_TOKEN) {
        return Err(invalid(format!(
            "the requested_token_type can only be {ACCESS_TOKEN}"
        )));
    }
    for unused in ["actor_token", "actor_token_type", "client_assertion"] {
        // To pass over one would be to take for granted what it says.
        if form.one(unused).is_some() {
            return Err(invalid(format!("an exchange takes no {unused}")));
        }
    }
    Ok(token)
}

/// RFC 7521 §4.2.
pub(super) fn assertion(form: &Form, error: ErrorCode) -> Result<&Secret<String>, Refused> {
    let refuse = |code, detail: String| Refused::oauth(Refusal::new(code, detail), error);
    let kind = form.one("client_assertion_type");
    match kind.map(|kind| kind.expose().as_str()) {
        Some(ASSERTION) | None => {}
        Some(_) => {
            let detail = format!("the client_assertion_type must be {ASSERTION}");
            return Err(refuse(Code::MalformedRequest, detail));
        }
    }
    let token = form.one("client_assertion").filter(|_| kind.is_some());
    token.ok_or_else(|| {
        let detail = format!(
            "send the identity token as client_assertion, with the client_assertion_type {ASSERTION}"
        );
        refuse(Code::NoBearer, detail)
    })
}

/// RFC 8693 §2.1 and RFC 8707 §2 let both parameters be repeated; a token of Hallpass has one audience.
fn audience(form: &Form) -> Result<&str, Refused> {
    let mut values = form.all("audience").iter().chain(form.all("resource"));
    let detail = match (values.next(), values.next()) {
        (Some(one), None) => return Ok(one.expose()),
        (None, _) => "say with audience or resource which API the token is for",
        (Some(_), Some(_)) => "a token has one audience: ask for each by itself",
    };
    let refusal = Refusal::new(Code::MalformedRequest, detail);
    Err(Refused::oauth(refusal, ErrorCode::InvalidTarget))
}

/// RFC 6749 §3.3.
fn scopes(text: &str) -> Result<ScopeSet, Refused> {
    let refuse = |detail: String| {
        let refusal = Refusal::new(Code::MalformedRequest, detail);
        Refused::oauth(refusal, ErrorCode::InvalidScope)
    };
    let parse = |scope: &str| {
        Scope::parse(scope).map_err(|error| refuse(format!("the scope \"{scope}\" {error}")))
    };
    let scopes: Vec<Scope> = text.split(' ').map(parse).collect::<Result<_, _>>()?;
    ScopeSet::new(scopes).ok_or_else(|| refuse("there is no scope".to_owned()))
}

fn invalid(detail: impl Into<String>) -> Refused {
    let refusal = Refusal::new(Code::MalformedRequest, detail);
    Refused::oauth(refusal, ErrorCode::InvalidRequest)
}

/// The grant type of a token exchange (RFC 8693 §2.1).
pub(super) const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// What it gives (RFC 8693 §3).
pub(super) const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
const ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
