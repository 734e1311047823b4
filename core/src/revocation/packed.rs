//! What a revocation names, in one piece.

use std::borrow::Cow;

use super::Target;

/// A [`Target`] for keeping, of which there may be a hundred thousand: its texts are one.
#[derive(Debug)]
pub(super) struct Packed {
    /// The namespace, if there is one, and then the name.
    text: Box<str>,
    /// Where the name begins.
    name: u32,
    form: Form,
}

#[derive(Debug, Clone, Copy)]
enum Form {
    Namespace,
    Pod,
    ServiceAccount,
    Policy,
    /// Of a namespace.
    Token,
    /// Wherever it is.
    AnyToken,
    Audience,
    Key,
    Issuer,
}

impl Packed {
    /// The namespace that it is of, or is.
    pub(super) fn within(&self) -> Option<&str> {
        let (within, name) = self.split();
        match self.form {
            Form::Namespace => Some(name),
            Form::Pod | Form::ServiceAccount | Form::Policy | Form::Token => Some(within),
            Form::AnyToken | Form::Audience | Form::Key | Form::Issuer => None,
        }
    }

    fn split(&self) -> (&str, &str) {
        let text = &self.text;
        text.split_at_checked(self.name as usize)
            .unwrap_or_default()
    }

    pub(super) fn target(&self) -> Target<'_> {
        let (within, name) = self.split();
        let (within, name) = (Cow::Borrowed(within), Cow::Borrowed(name));
        match self.form {
            Form::Namespace => Target::Namespace(name),
            Form::Pod => Target::Pod(within, name),
            Form::ServiceAccount => Target::ServiceAccount(within, name),
            Form::Policy => Target::Policy(within, name),
            Form::Token => Target::Token(Some(within), name),
            Form::AnyToken => Target::Token(None, name),
            Form::Audience => Target::Audience(name),
            Form::Key => Target::Key(name),
            Form::Issuer => Target::Issuer(name),
        }
    }
}

impl From<&Target<'_>> for Packed {
    fn from(target: &Target<'_>) -> Self {
        let (form, within, name) = match target {
            Target::Namespace(name) => (Form::Namespace, "", name),
            Target::Pod(within, name) => (Form::Pod, &**within, name),
            Target::ServiceAccount(within, name) => (Form::ServiceAccount, &**within, name),
            Target::Policy(within, name) => (Form::Policy, &**within, name),
            Target::Token(Some(within), id) => (Form::Token, &**within, id),
            Target::Token(None, id) => (Form::AnyToken, "", id),
            Target::Audience(value) => (Form::Audience, "", value),
            Target::Key(kid) => (Form::Key, "", kid),
            Target::Issuer(name) => (Form::Issuer, "", name),
        };
        Self {
            text: [within, name].concat().into(),
            // A namespace has 63 characters at most.
            name: u32::try_from(within.len()).unwrap_or_default(),
            form,
        }
    }
}
