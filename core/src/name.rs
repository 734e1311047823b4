//! Names that were checked once, at the edge, and need no second look.
//!
//! A value of one of these types satisfies the rule of its kind; a `String` is a name that nobody
//! has looked at yet. None of them can be empty.

use std::{borrow::Borrow, fmt};

use serde::{Deserialize, Serialize};

/// Why a text is not a name of the wanted kind. Its text says what to write instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing at all.
    #[error("must not be empty")]
    Empty,
    /// Longer than its kind allows.
    #[error("has more than {0} characters")]
    TooLong(usize),
    /// Not a label of RFC 1123 §2.1, as Kubernetes reads it.
    #[error(
        "must consist of lower-case letters, digits and '-', and begin and end with a letter or digit"
    )]
    Label,
    /// Not a subdomain of RFC 1123 §2.1, as Kubernetes reads it.
    #[error(
        "must consist of lower-case letters, digits, '-' and '.', and each part must begin and end with a letter or digit"
    )]
    Subdomain,
    /// A character that no audience or uid has: control characters, spaces, anything beyond ASCII.
    #[error("must consist of printable ASCII characters without spaces")]
    NotPrintable,
    /// An audience that belongs to Hallpass: its identity tokens are asked for with it.
    #[error("'hallpass.dev' and what begins with 'hallpass.dev/' is reserved for Hallpass itself")]
    Reserved,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Box<str>);

        impl $name {
            /// Checks `text` and keeps it.
            ///
            /// # Errors
            /// The rule that `text` breaks.
            pub fn parse(text: &str) -> Result<Self, NameError> {
                let check: fn(&str) -> Result<(), NameError> = $check;
                check(text).map(|()| Self(text.into()))
            }

            /// The name as it is written.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        // A map keyed by a name is asked with a plain `&str`: derived `Ord` and `Hash` agree with str's.
        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.into()
            }
        }
    };
}

name!(
    /// A namespace: a DNS label.
    Namespace,
    label
);
name!(
    /// The name of a service account: a DNS subdomain.
    ServiceAccount,
    subdomain
);
name!(
    /// The name of a pod: a DNS subdomain.
    PodName,
    subdomain
);
name!(
    /// The name of a container: a DNS label.
    ContainerName,
    label
);
name!(
    /// The name of a token: a DNS label, the last part of its path on the socket and its file's name.
    TokenName,
    label
);
name!(
    /// A Kubernetes uid: what identity rests on, since names come back and uids do not.
    Uid,
    |text| printable(text, 128)
);
name!(
    /// The `aud` value of a token that a policy may ask for (RFC 7519 §4.1.3): at most 512 printable
    /// characters, never one that is reserved for Hallpass.
    Audience,
    audience
);

/// The audience that is Hallpass's own, and the prefix of every one of them.
const RESERVED: &str = "hallpass.dev";

fn audience(text: &str) -> Result<(), NameError> {
    printable(text, 512)?;
    match text.strip_prefix(RESERVED) {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => Err(NameError::Reserved),
        Some(_) | None => Ok(()),
    }
}

fn printable(text: &str, most: usize) -> Result<(), NameError> {
    length(text, most)?;
    if text.bytes().all(|b| b.is_ascii_graphic()) {
        Ok(())
    } else {
        Err(NameError::NotPrintable)
    }
}

fn label(text: &str) -> Result<(), NameError> {
    length(text, 63)?;
    if is_label(text) {
        Ok(())
    } else {
        Err(NameError::Label)
    }
}

fn subdomain(text: &str) -> Result<(), NameError> {
    length(text, 253)?;
    if text.split('.').all(is_label) {
        Ok(())
    } else {
        Err(NameError::Subdomain)
    }
}

fn is_label(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !text.is_empty() && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

fn length(text: &str, most: usize) -> Result<(), NameError> {
    match text.len() {
        0 => Err(NameError::Empty),
        n if n > most => Err(NameError::TooLong(most)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_what_kubernetes_says_it_is() {
        let long = "a".repeat(64);
        for (text, expected) in [
            ("vault", Ok(())),
            ("0-a-9", Ok(())),
            (&long[..63], Ok(())),
            ("", Err(NameError::Empty)),
            (&long, Err(NameError::TooLong(63))),
            ("-a", Err(NameError::Label)),
            ("a-", Err(NameError::Label)),
            ("A", Err(NameError::Label)),
            ("a.b", Err(NameError::Label)),
            ("a/b", Err(NameError::Label)),
            ("..", Err(NameError::Label)),
            ("ä", Err(NameError::Label)),
        ] {
            assert_eq!(TokenName::parse(text).map(|_| ()), expected, "{text:?}");
        }
    }

    #[test]
    fn a_service_account_may_have_dots_but_no_empty_part() {
        for (text, expected) in [
            ("orders", Ok(())),
            ("orders.v2", Ok(())),
            ("a..b", Err(NameError::Subdomain)),
            (".a", Err(NameError::Subdomain)),
            ("a-.b", Err(NameError::Subdomain)),
            ("a%2eb", Err(NameError::Subdomain)),
        ] {
            assert_eq!(
                ServiceAccount::parse(text).map(|_| ()),
                expected,
                "{text:?}"
            );
        }
    }

    #[test]
    fn an_audience_of_hallpass_is_reserved_and_a_longer_word_is_not() {
        for (text, expected) in [
            ("https://vault.example", Ok(())),
            ("hallpass.dev", Err(NameError::Reserved)),
            ("hallpass.dev/hallpass-system", Err(NameError::Reserved)),
            ("hallpass.dev/", Err(NameError::Reserved)),
            ("hallpass.device", Ok(())),
            ("https://hallpass.dev/", Ok(())),
            ("", Err(NameError::Empty)),
            ("a b", Err(NameError::NotPrintable)),
            ("a\nb", Err(NameError::NotPrintable)),
        ] {
            assert_eq!(Audience::parse(text).map(|_| ()), expected, "{text:?}");
        }
    }

    #[test]
    fn a_name_read_from_json_is_checked_too() {
        let error = serde_json::from_str::<TokenName>("\"a/b\"").unwrap_err();
        assert!(
            error.to_string().starts_with(&NameError::Label.to_string()),
            "{error}"
        );
        assert_eq!(
            serde_json::from_str::<TokenName>("\"vault\"")
                .unwrap()
                .as_str(),
            "vault"
        );
    }
}
