//! The rules that the API server evaluates on a policy, with the sentence it answers.
//!
//! One fault gets one sentence, so the rules of one field exclude each other, and what a rule says
//! better (a pattern, a minimum) is not said again by the schema. Only upper bounds stay in the
//! schema: they keep the estimated cost of the rules inside the API server's budget.
//! A rule on a list or map names the culprit by `messageExpression`; a rule on a value is answered
//! with the value itself.

use kube::core::{Message, Reason, Rule};

pub(crate) fn some_subject() -> Rule {
    Rule::new("self.size() > 0")
        .reason(Reason::FieldValueRequired)
        .message("name at least one subject: a service account of this namespace whose pods get the tokens")
}

pub(crate) fn service_account_name() -> Rule {
    Rule::new("!format.dns1123Subdomain().validate(self).hasValue()").message(
        "must be the exact name of one service account: lower-case letters, digits, '-' and '.'; there are no wildcards",
    )
}

pub(crate) fn some_label() -> Rule {
    Rule::new("self.size() > 0")
        .reason(Reason::FieldValueRequired)
        .message("name at least one label, or leave podSelector out to mean every pod of the service account")
}

pub(crate) fn label_keys() -> Rule {
    Rule::new("self.all(k, !format.qualifiedName().validate(k).hasValue())").message(
        Message::Expression(
            r#"'"' + self.filter(k, format.qualifiedName().validate(k).hasValue())[0] + '" is not a label key: write a name of at most 63 letters, digits, "-", "_" or ".", with an optional prefix such as "example.com/"'"#
                .into(),
        ),
    )
}

pub(crate) fn label_values() -> Rule {
    Rule::new("self.all(k, !format.labelValue().validate(self[k]).hasValue())").message(
        Message::Expression(
            r#"'the value of label "' + self.filter(k, format.labelValue().validate(self[k]).hasValue())[0] + '" is not a label value: at most 63 letters, digits, "-", "_" or ".", beginning and ending with a letter or digit'"#
                .into(),
        ),
    )
}

pub(crate) fn some_token() -> Rule {
    Rule::new("self.size() > 0")
        .reason(Reason::FieldValueRequired)
        .message("ask for at least one token; delete the policy to take all its tokens away")
}

/// Only non-empty audiences are compared: the rule of the field speaks about the others.
///
/// `map`, since the API server reckons with an endless text where `filter` picks one of its items.
pub(crate) fn distinct_audiences() -> Rule {
    let twice = "t.kubernetesAudience != '' && !self.exists_one(u, u.kubernetesAudience == t.kubernetesAudience)";
    Rule::new(format!("!self.exists(t, {twice})")).message(Message::Expression(format!(
        r#"'more than one token asks for the audience "' + self.map(t, {twice}, t.kubernetesAudience)[0] + '": ask for it once and list the containers that read it'"#
    )))
}

pub(crate) fn token_name() -> Rule {
    Rule::new("!format.dns1123Label().validate(self).hasValue()").message(
        "must be a DNS label, since it is a file name and a path: at most 63 lower-case letters, digits and '-', beginning and ending with a letter or digit",
    )
}

pub(crate) fn some_audience() -> Rule {
    Rule::new("self.size() > 0")
        .reason(Reason::FieldValueRequired)
        .message("write the audience that the API checks, such as https://vault.example")
}

pub(crate) fn printable_audience() -> Rule {
    Rule::new("self.matches('^[!-~]*$')")
        .message("must consist of printable ASCII characters without spaces")
}

pub(crate) fn own_audience() -> Rule {
    Rule::new("self != 'hallpass.dev' && !self.startsWith('hallpass.dev/')")
        .reason(Reason::FieldValueForbidden)
        .message("hallpass.dev and all audiences below hallpass.dev/ are reserved: they prove to Hallpass who a pod is")
}

pub(crate) fn lifetime_syntax() -> Rule {
    Rule::new(format!("self.matches('{LIFETIME}')"))
        .message("must be a duration in h, m and s, such as 10m, 30m or 1h")
}

/// The syntax comes first: `duration()` of anything else is an error with a text of its own.
pub(crate) fn lifetime_bounds() -> Rule {
    Rule::new(format!(
        "!self.matches('{LIFETIME}') || (duration(self) >= duration('10m') && duration(self) <= duration('1h'))"
    ))
    .message("must be at least 10m and at most 1h")
}

pub(crate) fn some_container() -> Rule {
    Rule::new("self.size() > 0")
        .reason(Reason::FieldValueRequired)
        .message("name at least one container, or leave containers out to mean all of them")
}

pub(crate) fn container_names() -> Rule {
    Rule::new("self.all(c, !format.dns1123Label().validate(c).hasValue())").message(
        Message::Expression(
            r#"'"' + self.filter(c, format.dns1123Label().validate(c).hasValue())[0] + '" is not the name of a container: at most 63 lower-case letters, digits and "-"'"#
                .into(),
        ),
    )
}

const LIFETIME: &str = "^([0-9]{1,6}(h|m|s))+$";
