//! From what is written to what holds together: every fault with its field.

use std::{borrow::Cow, num::NonZeroU32};

use jiff::Timestamp;

use super::{Effect, Kind, Reported, Revocation, RevocationUid, Target, Terms, Within};
use crate::{
    audience::is_text,
    fault::{FaultKind, Faults},
    name::{Audience, Namespace, ObjectName, PodName, ServiceAccount, TokenId, Uid},
    uuid,
};

/// A `TokenRevocation` or `ClusterTokenRevocation` as it was written: nothing about it has been looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RawRevocation {
    /// `metadata.namespace`; none of a `ClusterTokenRevocation`
    pub namespace: Option<String>,
    /// `metadata.name`
    pub name: String,
    /// `metadata.uid`
    pub uid: String,
    /// `metadata.creationTimestamp`
    pub created: Timestamp,
    /// `metadata.resourceVersion`
    pub resource_version: String,
    /// `spec.target`
    pub target: RawTarget,
    /// `spec.effect`; without it `Revoke`
    pub effect: Option<String>,
    /// `spec.issuedBefore`; without it the creation
    pub issued_before: Option<Timestamp>,
    /// `spec.expiresAt`
    pub expires_at: Option<Timestamp>,
    /// `spec.message`
    pub message: Option<String>,
    /// `spec.ttlSecondsAfterExpired`; without it, it is kept
    pub ttl_seconds_after_expired: Option<u32>,
    /// `status.epoch`
    pub epoch: Option<String>,
    /// What the conditions of the status say.
    pub reported: Reported,
}

/// A `spec.target` as it was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RawTarget {
    /// `namespace`
    pub namespace: Option<String>,
    /// `pod`
    pub pod: Option<String>,
    /// `serviceAccount`
    pub service_account: Option<String>,
    /// `policy`
    pub policy: Option<String>,
    /// `tokenID`
    pub token_id: Option<String>,
    /// `audience`
    pub audience: Option<String>,
    /// `key`
    pub key: Option<String>,
    /// `issuer`
    pub issuer: Option<String>,
}

impl RawRevocation {
    /// Checks what was written.
    ///
    /// # Errors
    /// Every fault, with the path of its field.
    pub fn parse(&self) -> Result<(Target<'static>, Revocation), Faults> {
        let mut faults = Faults::default();
        let name = faults.note("metadata.name", ObjectName::parse(&self.name));
        let uid = self.uid(&mut faults);
        let version = faults.note("metadata.resourceVersion", epoch(&self.resource_version));
        let reported = self.epoch.as_deref().map(epoch).transpose();
        let reported = faults.note("status.epoch", reported).flatten();
        let namespace = self.namespace.as_deref().map(Namespace::parse).transpose();
        let namespace = faults.note("metadata.namespace", namespace).flatten();
        let target = self.target.parse(namespace.as_ref(), &mut faults);
        let closed = target.as_ref().is_some_and(Target::is_closed);
        let effect = self.effect(closed, &mut faults);
        if closed && self.issued_before.is_some() {
            faults.add("spec.issuedBefore", FaultKind::Beside("tokenID or key"));
        }
        let message = self.message.as_deref();
        if message.is_some_and(|text| text.is_empty() || !is_text(text, LONGEST_MESSAGE)) {
            faults.add("spec.message", FaultKind::Text(LONGEST_MESSAGE));
        }
        let kind = self
            .namespace
            .as_ref()
            .map_or(Kind::Cluster, |_| Kind::Namespaced);
        let ttl = self.ttl_seconds_after_expired;
        let whole = || {
            let terms = Terms {
                issued_before: self.issued_before.map(end_of_second),
                effect: effect?,
                message: message.map(kept),
            };
            let revocation = Revocation {
                kind,
                name: name?,
                uid: uid?,
                created: self.created.as_second(),
                epoch: version?.min(reported.unwrap_or(u64::MAX)),
                reported: self.reported,
                ttl: ttl.map(|seconds| NonZeroU32::MIN.saturating_add(seconds)),
                terms: terms.kept(),
            };
            Some((target?, revocation))
        };
        whole().filter(|_| faults.is_empty()).ok_or(faults)
    }

    fn uid(&self, faults: &mut Faults) -> Option<RevocationUid> {
        faults.note("metadata.uid", Uid::parse(&self.uid))?;
        let uid = uuid::bytes(&self.uid).map(RevocationUid);
        if uid.is_none() {
            faults.add("metadata.uid", FaultKind::Uuid);
        }
        uid
    }

    fn effect(&self, closed: bool, faults: &mut Faults) -> Option<Effect> {
        let until = self.expires_at.map(end_of_second);
        match self.effect.as_deref() {
            None | Some("Revoke") => {
                if until.is_some() {
                    faults.add("spec.expiresAt", FaultKind::Beside("the effect Revoke"));
                }
                Some(Effect::Revoke)
            }
            Some("Lock") => {
                if closed {
                    faults.add("spec.effect", FaultKind::Beside("tokenID or key"));
                }
                Some(Effect::Lock { until })
            }
            Some(_) => {
                faults.add("spec.effect", FaultKind::OneOf("Revoke, Lock"));
                None
            }
        }
    }
}

impl RawTarget {
    fn parse(&self, within: Within<'_>, faults: &mut Faults) -> Option<Target<'static>> {
        let alternatives = [
            &self.pod,
            &self.service_account,
            &self.policy,
            &self.token_id,
            &self.audience,
            &self.key,
            &self.issuer,
        ];
        let written = alternatives.into_iter().flatten().count();
        let alone = within.is_none() && self.namespace.is_some();
        if written > 1 || (written == 0 && !alone) {
            let names = if within.is_some() { OWN } else { ALL };
            faults.add("spec.target", FaultKind::ExactlyOne(names));
            return None;
        }
        if within.is_some() {
            self.only_own(faults);
        }
        let named = self.namespace.as_deref().map(Namespace::parse).transpose();
        let named = faults.note("spec.target.namespace", named).flatten();
        let namespace = within.or(named.as_ref());
        let in_namespace = [&self.pod, &self.service_account, &self.policy];
        let needs = written == 0 || in_namespace.into_iter().any(Option::is_some);
        if !needs && self.namespace.is_some() {
            let field = "spec.target.namespace";
            faults.add(field, FaultKind::Beside("tokenID, audience, key or issuer"));
        }
        if needs {
            self.of_namespace(namespace, faults)
        } else {
            self.of_all(within, faults)
        }
    }

    /// A namespaced revocation reaches nothing beyond its namespace.
    fn only_own(&self, faults: &mut Faults) {
        for (field, value) in [
            ("spec.target.namespace", &self.namespace),
            ("spec.target.audience", &self.audience),
            ("spec.target.key", &self.key),
            ("spec.target.issuer", &self.issuer),
        ] {
            if value.is_some() {
                faults.add(field, FaultKind::BeyondNamespace);
            }
        }
    }

    fn of_namespace(&self, namespace: Within<'_>, faults: &mut Faults) -> Option<Target<'static>> {
        let Some(namespace) = namespace else {
            let field = "spec.target.namespace";
            faults.add(field, FaultKind::Without("pod, serviceAccount and policy"));
            return None;
        };
        let namespace: Cow<'static, str> = owned(namespace.as_str());
        if let Some(pod) = &self.pod {
            let pod = faults.note("spec.target.pod", PodName::parse(pod))?;
            return Some(Target::Pod(namespace, owned(pod.as_str())));
        }
        if let Some(account) = &self.service_account {
            let parsed = ServiceAccount::parse(account);
            let account = faults.note("spec.target.serviceAccount", parsed)?;
            return Some(Target::ServiceAccount(namespace, owned(account.as_str())));
        }
        if let Some(policy) = &self.policy {
            let policy = faults.note("spec.target.policy", ObjectName::parse(policy))?;
            return Some(Target::Policy(namespace, owned(policy.as_str())));
        }
        Some(Target::Namespace(namespace))
    }

    fn of_all(&self, within: Within<'_>, faults: &mut Faults) -> Option<Target<'static>> {
        if let Some(id) = &self.token_id {
            let id = faults.note("spec.target.tokenID", TokenId::parse(id))?;
            let within = within.map(|namespace| owned(namespace.as_str()));
            return Some(Target::Token(within, owned(id.as_str())));
        }
        if let Some(audience) = &self.audience {
            let audience = faults.note("spec.target.audience", Audience::parse(audience))?;
            return Some(Target::Audience(owned(audience.as_str())));
        }
        if let Some(issuer) = &self.issuer {
            let issuer = faults.note("spec.target.issuer", ObjectName::parse(issuer))?;
            return Some(Target::Issuer(owned(issuer.as_str())));
        }
        // A kid is printable, as a uid is, and as long at most.
        let key = self.key.as_deref()?;
        let key = faults.note("spec.target.key", Uid::parse(key))?;
        Some(Target::Key(owned(key.as_str())))
    }
}

/// What is kept of a message: its length is bounded in characters, and there may be a hundred thousand.
fn kept(message: &str) -> Box<str> {
    match message.get(..message.floor_char_boundary(MOST_KEPT - "…".len())) {
        Some(begin) if message.len() > MOST_KEPT => [begin, "…"].concat().into(),
        _ => message.into(),
    }
}

fn owned(text: &str) -> Cow<'static, str> {
    Cow::Owned(text.to_owned())
}

/// A resourceVersion is a decimal number (KEP-5504).
fn epoch(text: &str) -> Result<u64, FaultKind> {
    text.parse().map_err(|_not_a_number| FaultKind::Number)
}

/// Tokens count in whole seconds, cut off: a fraction more means the next one.
fn end_of_second(time: Timestamp) -> i64 {
    time.as_second() + i64::from(time.subsec_nanosecond() > 0)
}

const LONGEST_MESSAGE: usize = 256;

/// Bytes of a message that are kept.
const MOST_KEPT: usize = 256;

const OWN: &str = "pod, serviceAccount, policy, tokenID";
const ALL: &str = "namespace, pod, serviceAccount, policy, tokenID, audience, key, issuer";
