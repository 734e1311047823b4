//! The rules of a `TokenIssuer`.

use kube::core::{Reason, Rule};

/// What is wrong with the URL is said in the order of the four rules, each silent where one before
/// it speaks.
pub(crate) fn https_url() -> Rule {
    Rule::new(HTTPS)
        .message("must be an https URL such as https://id.example: verifiers fetch the keys there")
}

pub(crate) fn bare_url() -> Rule {
    Rule::new(format!("!({HTTPS}) || !{MORE}"))
        .message("must have no user name, no query and no fragment")
}

pub(crate) fn no_final_slash() -> Rule {
    Rule::new(format!("!({HTTPS}) || {MORE} || !{SLASH}")).message(
        "must not end with a slash: verifiers compare it character by character with what they were told",
    )
}

pub(crate) fn plain_url() -> Rule {
    Rule::new(format!(
        "!({HTTPS}) || {MORE} || {SLASH} || (self.matches('{PLAIN}') && {PORT})"
    ))
    .message(
        "must be a lower-case host name, a port if need be, and a path of letters, digits, '-', '.', '_' and '~' without empty parts, such as https://id.example/prod",
    )
}

pub(crate) fn immutable_url() -> Rule {
    Rule::new("self == oldSelf")
        .reason(Reason::FieldValueForbidden)
        .message(
            "cannot be changed, since it is the iss of every token and whoever checks tokens trusts it: write a second TokenIssuer with the new URL, have the audiences refer to that one, then delete this one",
        )
}

pub(crate) fn rotation_syntax() -> Rule {
    Rule::new(format!("self.matches('{ROTATION}')"))
        .message("must be one number with one unit, d, h, m or s, such as 30d or 12h")
}

/// CEL knows no days, so the seconds are reckoned here. The syntax comes first: it makes the number one.
pub(crate) fn rotation_bounds() -> Rule {
    let seconds = "int(self.substring(0, self.size() - 1)) * {'s': 1, 'm': 60, 'h': 3600, 'd': 86400}[self.substring(self.size() - 1)]";
    Rule::new(format!(
        "!self.matches('{ROTATION}') || ({seconds} >= 3600 && {seconds} <= 31536000)"
    ))
    .message("must be at least 1h and at most 365d")
}

pub(crate) fn trust_domain() -> Rule {
    Rule::new("self.matches('^[a-z0-9._-]+$')").message(
        "must be the name of a SPIFFE trust domain, without spiffe:// in front: lower-case letters, digits, '.', '-' and '_', such as prod.example",
    )
}

pub(crate) fn some_pattern() -> Rule {
    Rule::new("self.size() > 0")
        .reason(Reason::FieldValueRequired)
        .message(
            "write the audiences that these namespaces may state, such as https://*.acme.example",
        )
}

/// `**` would look as if it stood for several labels.
pub(crate) fn stars() -> Rule {
    Rule::new("!self.contains('**') && self.split('*').size() <= 5").message(
        "must have at most 4 stars and no two side by side: each stands for one or more of a-z, 0-9 and '-', never for a '.' or '/'",
    )
}

const HTTPS: &str =
    "isURL(self) && url(self).getScheme() == 'https' && url(self).getHostname() != ''";
const MORE: &str = "self.matches('[?#@]')";
const SLASH: &str = "self.endsWith('/')";
const PLAIN: &str = "^https://[a-z0-9]([a-z0-9-]*[a-z0-9])?([.][a-z0-9]([a-z0-9-]*[a-z0-9])?)*(:[1-9][0-9]{0,4})?(/[.]{0,2}[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*$";
/// The digits are counted by the pattern, so that they are a number here.
const PORT: &str = "(url(self).getPort() == '' || int(url(self).getPort()) <= 65535)";
const ROTATION: &str = "^[0-9]{1,8}(d|h|m|s)$";
