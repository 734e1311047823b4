//! The rules that the API server evaluates on a resource, with the sentence it answers.
//!
//! One fault gets one sentence, so the rules of one field exclude each other, and what a rule says
//! better (a pattern, a minimum) is not said again by the schema. Only upper bounds stay in the
//! schema: they keep the estimated cost of the rules inside the API server's budget.
//! A rule on a list or map names the culprit by `messageExpression`; a rule on a value is answered
//! with the value itself.

use kube::core::{Message, Reason, Rule};

pub(crate) mod audience;
pub(crate) mod issuer;
pub(crate) mod policy;
pub(crate) mod revocation;

pub(crate) fn service_account_name() -> Rule {
    Rule::new(format!("self.matches('{SUBDOMAIN}')")).message(
        "must be the exact name of one service account: lower-case letters, digits, '-' and '.'; there are no wildcards",
    )
}

pub(crate) fn namespace_name() -> Rule {
    Rule::new(format!("self.matches('{LABEL}')")).message(
        "must be the exact name of one namespace: at most 63 lower-case letters, digits and '-', beginning and ending with a letter or digit",
    )
}

/// `kind` is that of the resource that is referred to.
pub(crate) fn resource_name(kind: &str) -> Rule {
    Rule::new(format!("self.matches('{SUBDOMAIN}')")).message(Message::Message(format!(
        "must be the exact name of one {kind}: lower-case letters, digits, '-' and '.'"
    )))
}

pub(crate) fn some_pod_label() -> Rule {
    Rule::new("self.size() > 0")
        .reason(Reason::FieldValueRequired)
        .message("name at least one label, or leave podSelector out to mean every pod of the service account")
}

pub(crate) fn some_namespace_label() -> Rule {
    Rule::new("self.size() > 0")
        .reason(Reason::FieldValueRequired)
        .message("name at least one label: kubernetes.io/metadata.name is on every namespace and holds its name")
}

pub(crate) fn label_keys() -> Rule {
    let is = qualified("k");
    Rule::new(format!("self.all(k, {is})")).message(Message::Expression(format!(
        r#"'"' + self.filter(k, !({is}))[0] + '" is not a label key: write a name of at most 63 letters, digits, "-", "_" or ".", with an optional prefix such as "example.com/"'"#
    )))
}

pub(crate) fn label_values() -> Rule {
    let is = format!("self[k].matches('{LABEL_VALUE}')");
    Rule::new(format!("self.all(k, {is})")).message(Message::Expression(format!(
        r#"'the value of label "' + self.filter(k, !{is})[0] + '" is not a label value: at most 63 letters, digits, "-", "_" or ".", beginning and ending with a letter or digit'"#
    )))
}

pub(crate) fn some_audience() -> Rule {
    Rule::new("self.size() > 0")
        .reason(Reason::FieldValueRequired)
        .message("write the audience that the API checks, such as https://vault.example")
}

pub(crate) fn printable() -> Rule {
    Rule::new("self.matches('^[!-~]*$')")
        .message("must consist of printable ASCII characters without spaces")
}

pub(crate) fn own_audience() -> Rule {
    Rule::new("self != 'hallpass.dev' && !self.startsWith('hallpass.dev/')")
        .reason(Reason::FieldValueForbidden)
        .message("hallpass.dev and all audiences below hallpass.dev/ are reserved: they prove to Hallpass who a pod is")
}

pub(crate) fn one_line() -> Rule {
    Rule::new(r"self.matches(r'^[^\pC\p{Zl}\p{Zp}]+$')")
        .message("must be one line of visible characters")
}

pub(crate) fn lifetime_syntax() -> Rule {
    Rule::new(format!("self.matches('{LIFETIME}')"))
        .message("must be a duration in h, m and s, such as 10m, 30m or 1h")
}

/// Bounds what the entries of a list have together, each `of`, an expression about `e`. Every replica keeps it.
fn most_in_all(of: &str, most: usize, what: &str, instead: &str) -> Rule {
    Rule::new(format!("self.map(e, {of}).sum() <= {most}")).message(Message::Message(format!(
        "must have at most {most} {what} in all: {instead}"
    )))
}

/// A CEL expression: whether `field` is no lifetime at all, or one from `least` to 1 h.
///
/// The syntax comes first: `duration()` of anything else is an error with a text of its own.
fn lifetime_within(field: &str, least: &str) -> String {
    format!(
        "!{field}.matches('{LIFETIME}') || (duration({field}) >= duration('{least}') && duration({field}) <= duration('1h'))"
    )
}

/// A CEL expression: whether that one is the key of a label or an annotation, what Kubernetes calls a qualified name.
fn qualified(key: &str) -> String {
    format!("({key}.matches('{QUALIFIED}') && {key}.indexOf('/') <= 253)")
}

// What CEL's library `format` says of names, which Kubernetes 1.31 does not have.

/// With at most 253 characters, which the schema says.
const SUBDOMAIN: &str = "^[a-z0-9]([a-z0-9-]*[a-z0-9])?([.][a-z0-9]([a-z0-9-]*[a-z0-9])?)*$";
const LABEL: &str = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$";
const LABEL_VALUE: &str = "^(([A-Za-z0-9][A-Za-z0-9_.-]{0,61})?[A-Za-z0-9])?$";
/// With at most 253 characters before the slash.
const QUALIFIED: &str = "^([a-z0-9]([a-z0-9-]*[a-z0-9])?([.][a-z0-9]([a-z0-9-]*[a-z0-9])?)*/)?([A-Za-z0-9][A-Za-z0-9_.-]{0,61})?[A-Za-z0-9]$";

const LIFETIME: &str = "^([0-9]{1,6}(h|m|s))+$";

/// A scope-token of RFC 6749 §3.3 without the star, which would look like a pattern. In a raw CEL text.
const SCOPE: &str = r"r'^[!#-)+-\[\]-~]+$'";
