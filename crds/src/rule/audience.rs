//! The rules of a `TokenAudience`.

use hallpass_core::{
    audience::{MOST_ACCOUNTS_IN_ALL, MOST_LABELS_IN_ALL, MOST_SCOPES_IN_ALL},
    name::RESERVED_CLAIMS,
};
use kube::core::{Message, Reason, Rule};

use super::{SCOPE, SUBDOMAIN, lifetime_within, most_in_all, qualified};

pub(crate) fn immutable_audience() -> Rule {
    Rule::new("self == oldSelf")
        .reason(Reason::FieldValueForbidden)
        .message(
            "cannot be changed, since whoever checks tokens knows them by it: write a second TokenAudience with the new value, have the policies ask for that one, then delete this one",
        )
}

pub(crate) fn some_scope() -> Rule {
    Rule::new("self.size() > 0")
        .reason(Reason::FieldValueRequired)
        .message("name at least one scope that the API knows, such as payments:read")
}

pub(crate) fn scope_name() -> Rule {
    Rule::new(format!("self.matches({SCOPE})")).message(
        "must be a scope: printable ASCII characters without spaces, quotes, backslashes and stars, such as payments:read",
    )
}

/// An allowed scope that the audience does not have is a mistake of its author, whatever its syntax.
///
/// The names are listed once, as the only item of a list: looking through `self.scopes` for each
/// allowed scope would cost more than the API server grants.
pub(crate) fn allowed_scopes() -> Rule {
    let names = "[self.scopes.map(d, d.name)]";
    Rule::new(format!(
        "!has(self.allow) || {names}.all(names, self.allow.all(a, a.scopes.all(s, s in names)))"
    ))
    .field_path(".allow")
    .message(Message::Expression(format!(
        r#"'the scope "' + {names}.map(names, self.allow.map(a, a.scopes.exists(s, !(s in names)), a.scopes.map(s, !(s in names), s)[0])[0])[0] + '" is allowed but is none of spec.scopes: list it there, or allow one that is listed'"#
    )))
}

pub(crate) fn most_allowed_scopes() -> Rule {
    let of = "e.scopes.size()";
    most_in_all(of, MOST_SCOPES_IN_ALL, "scopes", SHARED)
}

pub(crate) fn most_accounts() -> Rule {
    let of = "e.from.serviceAccounts.size()";
    most_in_all(of, MOST_ACCOUNTS_IN_ALL, "service accounts", SHARED)
}

pub(crate) fn most_labels() -> Rule {
    let of = "e.from.namespaceSelector.matchLabels.size()";
    most_in_all(of, MOST_LABELS_IN_ALL, "labels", SHARED)
}

pub(crate) fn some_allowed_scope() -> Rule {
    Rule::new("self.size() > 0")
        .reason(Reason::FieldValueRequired)
        .message(
            "name at least one scope, one of spec.scopes; remove the whole entry to allow nothing",
        )
}

pub(crate) fn some_account() -> Rule {
    Rule::new("self.size() > 0")
        .reason(Reason::FieldValueRequired)
        .message("name at least one service account, or write [\"*\"] to mean all of the namespace")
}

pub(crate) fn all_accounts_alone() -> Rule {
    Rule::new("!('*' in self) || self.size() == 1")
        .message("\"*\" means every service account of the namespace: write it alone, or leave it out and name them")
}

/// Silent about a star, which the rule above is about.
pub(crate) fn account_names() -> Rule {
    let wrong = format!("n != '*' && !n.matches('{SUBDOMAIN}')");
    Rule::new(format!("!self.exists(n, {wrong})")).message(Message::Expression(format!(
        r#"'"' + self.filter(n, {wrong})[0] + '" is not the exact name of a service account: lower-case letters, digits, "-" and "."; the only wildcard is "*" alone'"#
    )))
}

pub(crate) fn some_verifier() -> Rule {
    Rule::new("self.size() > 0")
        .reason(Reason::FieldValueRequired)
        .message("name at least one service account, or leave guard out: then nobody may introspect the tokens")
}

pub(crate) fn verifier_names() -> Rule {
    let wrong = format!("!n.matches('{SUBDOMAIN}')");
    Rule::new(format!("!self.exists(n, {wrong})")).message(Message::Expression(format!(
        r#"'"' + self.filter(n, {wrong})[0] + '" is not the exact name of a service account: lower-case letters, digits, "-" and "."; there are no wildcards'"#
    )))
}

pub(crate) fn max_lifetime() -> Rule {
    Rule::new(lifetime_within("self", "30s")).message("must be at least 30s and at most 1h")
}

pub(crate) fn claim_name() -> Rule {
    Rule::new(r"self.matches(r'^[!#-\[\]-~]+$')").message(
        "must be the name of a claim: printable ASCII characters without spaces, quotes and backslashes, such as team",
    )
}

/// In lower case: many programs that read a token do not tell `Sub` from `sub`.
pub(crate) fn reserved_claim() -> Rule {
    let names: Vec<String> = RESERVED_CLAIMS.iter().map(|n| format!("'{n}'")).collect();
    let names = names.join(", ");
    Rule::new(format!(
        "!(self.lowerAscii() in [{names}]) && !self.lowerAscii().startsWith('hp') && !self.lowerAscii().contains('hallpass.dev')"
    ))
    .reason(Reason::FieldValueForbidden)
    .message(
        "is reserved: tokens say it themselves or verifiers give it a meaning of their own, and so is what begins with hp or contains hallpass.dev; choose another name, such as team",
    )
}

pub(crate) fn one_source() -> Rule {
    Rule::new(
        "[has(self.literal), has(self.namespaceLabel), has(self.serviceAccountAnnotation)].exists_one(there, there)",
    )
    .message("write exactly one of literal, namespaceLabel and serviceAccountAnnotation: where the value comes from")
}

pub(crate) fn source_key() -> Rule {
    Rule::new(qualified("self")).message(
        "must be a key: a name of at most 63 letters, digits, '-', '_' or '.', with an optional prefix such as example.com/",
    )
}

const SHARED: &str =
    "let consumers share an entry, by a label that their namespaces have in common";
