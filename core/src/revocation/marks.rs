//! What of a token a revocation can name.

use std::borrow::Cow;

use super::Target;

/// Everything about a token that is to be made that a revocation can name.
#[derive(Debug, Clone, Copy)]
pub struct Marks<'a> {
    /// The namespace of the pod.
    pub namespace: &'a str,
    /// Its service account.
    pub service_account: &'a str,
    /// The pod.
    pub pod: &'a str,
    /// The policy.
    pub policy: &'a str,
    /// The `aud`.
    pub audience: &'a str,
    /// The `TokenIssuer`; none for a service-account token.
    pub issuer: Option<&'a str>,
}

impl<'a> Marks<'a> {
    pub(super) fn targets(self) -> impl Iterator<Item = Target<'a>> {
        let within = Cow::Borrowed(self.namespace);
        let named = [
            Target::Namespace(within.clone()),
            Target::ServiceAccount(within.clone(), Cow::Borrowed(self.service_account)),
            Target::Pod(within.clone(), Cow::Borrowed(self.pod)),
            Target::Policy(within, Cow::Borrowed(self.policy)),
            Target::Audience(Cow::Borrowed(self.audience)),
        ];
        let issuer = self
            .issuer
            .map(|issuer| Target::Issuer(Cow::Borrowed(issuer)));
        named.into_iter().chain(issuer)
    }
}
