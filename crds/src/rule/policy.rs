//! The rules of a `TokenPolicy`.

use hallpass_core::policy::{MOST_CONTAINERS_IN_ALL, MOST_LABELS_IN_ALL, MOST_SCOPES_IN_ALL};
use kube::core::{Message, Reason, Rule};

use super::{LABEL, SCOPE, lifetime_within, most_in_all};

pub(crate) fn some_subject() -> Rule {
    Rule::new("self.size() > 0")
        .reason(Reason::FieldValueRequired)
        .message("name at least one subject: a service account of this namespace whose pods get the tokens")
}

pub(crate) fn some_token() -> Rule {
    Rule::new("self.size() > 0")
        .reason(Reason::FieldValueRequired)
        .message("ask for at least one token; delete the policy to take all its tokens away")
}

pub(crate) fn most_labels() -> Rule {
    let of = "has(e.podSelector) ? e.podSelector.matchLabels.size() : 0";
    most_in_all(of, MOST_LABELS_IN_ALL, "labels", SECOND)
}

pub(crate) fn most_scopes() -> Rule {
    let of = "has(e.scopes) ? e.scopes.size() : 0";
    most_in_all(of, MOST_SCOPES_IN_ALL, "scopes", SECOND)
}

pub(crate) fn most_containers() -> Rule {
    let of = "has(e.containers) ? e.containers.size() : 0";
    most_in_all(of, MOST_CONTAINERS_IN_ALL, "containers", SECOND)
}

/// Only audiences that are written and not empty are compared: other rules speak about the rest.
/// One `audienceRef` may be asked for twice, since its scopes may differ.
///
/// `map`, since the API server reckons with an endless text where `filter` picks one of its items.
pub(crate) fn distinct_audiences() -> Rule {
    let same = "has(u.kubernetesAudience) && u.kubernetesAudience == t.kubernetesAudience";
    let twice = format!(
        "has(t.kubernetesAudience) && t.kubernetesAudience != '' && !self.exists_one(u, {same})"
    );
    Rule::new(format!("!self.exists(t, {twice})")).message(Message::Expression(format!(
        r#"'more than one token asks for the audience "' + self.map(t, {twice}, t.kubernetesAudience)[0] + '": ask for it once and list the containers that read it'"#
    )))
}

pub(crate) fn token_name() -> Rule {
    Rule::new(format!("self.matches('{LABEL}')")).message(
        "must be a DNS label, since it is a file name and a path: at most 63 lower-case letters, digits and '-', beginning and ending with a letter or digit",
    )
}

/// The other rules of a token are silent where this one speaks.
pub(crate) fn one_kind() -> Rule {
    Rule::new("has(self.kubernetesAudience) != has(self.audienceRef)").message(
        "write exactly one of audienceRef, for an API that has a TokenAudience in this cluster, and kubernetesAudience, for one that checks service-account tokens",
    )
}

pub(crate) fn scopes_with_audience_ref() -> Rule {
    Rule::new("!has(self.audienceRef) || has(self.kubernetesAudience) || has(self.scopes)")
        .reason(Reason::FieldValueRequired)
        .field_path(".scopes")
        .message("name the scopes that the application needs: some of those that the TokenAudience lists")
}

pub(crate) fn no_scopes_with_kubernetes_audience() -> Rule {
    Rule::new("!has(self.kubernetesAudience) || has(self.audienceRef) || !has(self.scopes)")
        .reason(Reason::FieldValueForbidden)
        .field_path(".scopes")
        .message("leave scopes out: a token for a kubernetesAudience carries none")
}

pub(crate) fn kubernetes_lifetime() -> Rule {
    let within = lifetime_within("self.lifetime", "10m");
    Rule::new(format!(
        "has(self.audienceRef) || !has(self.kubernetesAudience) || !has(self.lifetime) || {within}"
    ))
    .field_path(".lifetime")
    .message(Message::Expression(
        r#"'"' + self.lifetime + '": must be at least 10m and at most 1h: Kubernetes makes no token that lives shorter'"#.into(),
    ))
}

pub(crate) fn audience_lifetime() -> Rule {
    let within = lifetime_within("self.lifetime", "30s");
    Rule::new(format!(
        "has(self.kubernetesAudience) || !has(self.audienceRef) || !has(self.lifetime) || {within}"
    ))
    .field_path(".lifetime")
    .message(Message::Expression(
        r#"'"' + self.lifetime + '": must be at least 30s and at most 1h'"#.into(),
    ))
}

pub(crate) fn some_scope() -> Rule {
    Rule::new("self.size() > 0")
        .reason(Reason::FieldValueRequired)
        .message("name at least one scope: one of those that the TokenAudience lists")
}

pub(crate) fn scopes() -> Rule {
    Rule::new(format!("self.all(s, s.matches({SCOPE}))")).message(Message::Expression(format!(
        r#"'"' + self.filter(s, !s.matches({SCOPE}))[0] + '" is not a scope: printable ASCII characters without spaces, quotes, backslashes and stars, such as payments:read'"#
    )))
}

pub(crate) fn some_container() -> Rule {
    Rule::new("self.size() > 0")
        .reason(Reason::FieldValueRequired)
        .message("name at least one container, or leave containers out to mean all of them")
}

pub(crate) fn container_names() -> Rule {
    let is = format!("c.matches('{LABEL}')");
    Rule::new(format!("self.all(c, {is})")).message(Message::Expression(format!(
        r#"'"' + self.filter(c, !{is})[0] + '" is not the name of a container: at most 63 lower-case letters, digits and "-"'"#
    )))
}

const SECOND: &str = "write the rest into a second policy";
