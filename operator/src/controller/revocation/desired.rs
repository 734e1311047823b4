//! What the status of a revocation should say: a function of what is known.

use std::{borrow::Cow, time::Duration};

use hallpass_core::{
    policy::Policy,
    revocation::{Effect, Full, Kind, Reported, Revocation, Target},
};
use hallpass_crds::revocation::RevocationStatus;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::{
    Agreement,
    outside::{Outside, command, names},
};
use crate::{
    controller::status::{LONGEST_MESSAGE, shortened, to_the_second},
    index::{
        Snapshot,
        revocations::{NotInForce, Place, RefusedRevocation, Revocations},
    },
    keys::Keys,
    replica::Observed,
};

/// What is known beside the revocation itself.
#[derive(Debug)]
pub(super) struct View<'a> {
    pub(super) agreement: &'a Agreement,
    pub(super) elsewhere: &'a Elsewhere,
    pub(super) outside: &'a Outside<'a>,
    /// How much room there is.
    pub(super) revocations: &'a Revocations,
    /// Which keys are there.
    pub(super) keys: &'a Keys,
    /// Where the pods are.
    pub(super) snapshot: &'a Snapshot,
    /// The namespace of the operator, for a command.
    pub(super) home: &'a str,
    pub(super) now: Timestamp,
}

/// A status, and what it says in a word.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Report {
    pub(super) says: Reported,
    pub(super) status: RevocationStatus,
}

/// What another replica leaves out of what this one has in force. Whoever has read the same has the same in
/// force, so that is over soon, or they do not run the same version.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Elsewhere {
    no_room: bool,
    unreadable: bool,
    /// That has been so for longer than replicas take to tell each other.
    lasting: bool,
}

impl Elsewhere {
    /// By what is left out here, and what the replicas have in common.
    pub(super) fn new(here: &Observed, agreement: &Agreement) -> Self {
        Self {
            no_room: agreement.refused > here.refused,
            unreadable: agreement.unread != Some(here.unread),
            lasting: false,
        }
    }

    /// Whether something is left out.
    pub(super) const fn is_something(&self) -> bool {
        self.no_room || self.unreadable
    }

    /// The same, where that has been so for `since`.
    pub(super) fn for_as_long_as(self, since: Duration) -> Self {
        Self {
            lasting: since >= LASTING,
            ..self
        }
    }

    /// Why one may be left out, if so. What was `said` to be in force is not taken back for what a replica
    /// has only not told yet. Where there is room for more of what it takes a place of, it has one.
    fn leaves_out<'v>(&self, said: bool, has_room: impl FnOnce() -> bool) -> Option<Verdict<'v>> {
        if said && !self.lasting {
            None
        } else if self.no_room && !has_room() {
            Some(Verdict::Crowded)
        } else {
            self.unreadable.then_some(Verdict::Misread)
        }
    }
}

/// What is to be said of a revocation.
enum Verdict<'a> {
    /// Some replica has not read it.
    Unread,
    /// Some replica may have had no room for it.
    Crowded,
    /// Some replica may not be able to read it.
    Misread,
    Enforced,
    OutsideGuard(Cow<'a, [&'a Policy]>),
    Expired,
}

/// The status that a revocation in the set should have; [`None`] where it says so already.
///
/// # Guarantees
/// `Enforced` is `True` only when every live replica refuses what is named, and nothing of it is a token
/// that Hallpass is not asked about.
pub(super) fn desired(
    target: &Target<'_>,
    revocation: &Revocation,
    namespace: Option<&str>,
    view: &View<'_>,
) -> Option<Report> {
    let verdict = judge(target, revocation, view);
    let says = verdict.says();
    if says == revocation.reported {
        return None;
    }
    let message = verdict.message(target, revocation, namespace, view);
    let epoch = Some(revocation.epoch.to_string());
    Some(report(says, message, epoch, view.now))
}

/// The word of the status that a revocation in the set should have.
pub(super) fn says(target: &Target<'_>, revocation: &Revocation, view: &View<'_>) -> Reported {
    judge(target, revocation, view).says()
}

/// The status that a stored revocation should have that is not in force.
pub(super) fn refused(place: &Place, refused: &RefusedRevocation, now: Timestamp) -> Report {
    let (kind, namespace, name) = place;
    let resource = match (kind, namespace) {
        (Kind::Namespaced, Some(namespace)) => format!("-n {namespace} delete {OWN} {name}"),
        (Kind::Namespaced | Kind::Cluster, _) => format!("delete {CLUSTER} {name}"),
    };
    let why = &refused.why;
    let (says, todo) = match why {
        NotInForce::Full(full) => (Reported::TooMany, room(*full, namespace.as_deref())),
        NotInForce::Unreadable(_) | NotInForce::Invalid(_) => {
            let todo = format!(
                "its spec cannot be changed: delete it (kubectl {resource}) and write it anew"
            );
            (Reported::Invalid, todo)
        }
    };
    // What a fault quotes may be long, and what to do is not to be cut off.
    let why = shortened(why.to_string(), LONGEST_WHY);
    report(says, format!("NOT in force: {why}; {todo}"), None, now)
}

fn judge<'a>(target: &Target<'_>, revocation: &Revocation, view: &View<'a>) -> Verdict<'a> {
    // What a key signs is refused as long as the key is there: it may sign on while nothing takes its place.
    let signs = matches!(target, Target::Key(kid) if view.keys.may_have(kid));
    if revocation.has_expired(view.now) && !signs {
        return Verdict::Expired;
    }
    // What was in force once is read by whoever answers: a replica that starts answers nobody before it has
    // read everything. Left out it may be all the same.
    let said = matches!(
        revocation.reported,
        Reported::Enforced | Reported::OutsideGuard
    );
    let agreement = view.agreement;
    if !said && (agreement.replicas == 0 || agreement.epochs.of(revocation.kind) < revocation.epoch)
    {
        return Verdict::Unread;
    }
    let has_room = || {
        let kind = revocation.kind;
        view.revocations
            .ask(|set| set.has_room(kind, target).is_ok())
    };
    if let Some(verdict) = view.elsewhere.leaves_out(said, has_room) {
        return verdict;
    }
    let policies = view.outside.of(target, view.snapshot);
    if policies.is_empty() {
        Verdict::Enforced
    } else {
        Verdict::OutsideGuard(policies)
    }
}

impl Verdict<'_> {
    const fn says(&self) -> Reported {
        match self {
            Self::Unread | Self::Crowded | Self::Misread => Reported::Pending,
            Self::Enforced => Reported::Enforced,
            Self::OutsideGuard(_) => Reported::OutsideGuard,
            Self::Expired => Reported::Expired,
        }
    }

    fn message(
        &self,
        target: &Target<'_>,
        revocation: &Revocation,
        namespace: Option<&str>,
        view: &View<'_>,
    ) -> String {
        let Agreement {
            epochs,
            replicas,
            refused,
            unread: _,
        } = view.agreement;
        match self {
            Self::Unread if *replicas == 0 => {
                format!("no replica has said yet how far it has read; if that lasts: kubectl -n {} get pods", view.home)
            }
            Self::Unread => format!(
                "some replica has not read this yet: it has read {}s up to version {}, and this one is {}; if that lasts: kubectl -n {} get pods",
                revocation.kind.as_str(),
                epochs.of(revocation.kind),
                revocation.epoch,
                view.home,
            ),
            Self::Crowded => format!(
                "some replica has no room for {refused} revocations, and this may be one of them; {}",
                room(Full::Cluster, namespace)
            ),
            Self::Misread => format!(
                "some replica cannot read a revocation that another one can, and this may be the one: do all run the same version? kubectl -n {} get pods -o wide",
                view.home
            ),
            Self::Enforced => format!(
                "in force on {replicas} of {replicas} replicas: Hallpass refuses the tokens wherever it is asked, at introspection{}; who checks a JWT by its signature alone takes it until it expires, an hour after it was issued at most",
                lock(revocation.terms().effect),
            ),
            Self::OutsideGuard(policies) => format!(
                "in force on {replicas} of {replicas} replicas for the tokens that Hallpass makes itself{}; but {} service-account tokens (kubernetesAudience), and who checks those does not ask Hallpass: they end when they expire, with their service account, or, where they are checked by TokenReview, with their pod: {}",
                lock(revocation.terms().effect),
                names(policies),
                command(target, policies),
            ),
            Self::Expired => "nothing is left to refuse: every token that this names has expired; it can be deleted".to_owned(),
        }
    }
}

/// What a lock does besides.
fn lock(effect: Effect) -> String {
    match effect {
        Effect::Revoke => String::new(),
        Effect::Lock { until: None } => {
            ", and issues no new ones until this object is deleted".to_owned()
        }
        Effect::Lock { until: Some(end) } => match Timestamp::from_second(end) {
            Ok(end) => format!(", and issues no new ones until {end}"),
            Err(_beyond) => ", and issues no new ones".to_owned(),
        },
    }
}

/// How to make room. What has expired takes none.
fn room(full: Full, namespace: Option<&str>) -> String {
    let (list, delete) = match (full, namespace) {
        (Full::Namespace | Full::Tokens, Some(namespace)) => (
            format!("kubectl -n {namespace} get {OWN}"),
            format!("kubectl -n {namespace} delete {OWN} NAME"),
        ),
        (Full::Namespace | Full::Tokens | Full::AllTokens | Full::Own | Full::Cluster, _) => (
            format!("kubectl get {OWN},{CLUSTER} -A"),
            format!("kubectl -n NAMESPACE delete {OWN} NAME"),
        ),
    };
    format!(
        "delete locks that are over and those whose tokens another one names too, such as all of a service account ({list}; {delete}); those that have expired take no room, and this one comes into force by itself as soon as there is some"
    )
}

fn report(says: Reported, message: String, epoch: Option<String>, now: Timestamp) -> Report {
    let condition = |type_: &str, holds: bool, reason: &str, message: String| Condition {
        type_: type_.to_owned(),
        status: if holds { "True" } else { "False" }.to_owned(),
        reason: reason.to_owned(),
        message: shortened(message, LONGEST_MESSAGE),
        observed_generation: Some(GENERATION),
        last_transition_time: to_the_second(now),
    };
    let in_force = says == Reported::Enforced;
    let mut conditions = vec![condition(ENFORCED, in_force, reason(says), message.clone())];
    if says == Reported::Expired {
        conditions.push(condition("Expired", true, "Expired", message));
    }
    Report {
        says,
        status: RevocationStatus {
            observed_generation: Some(GENERATION),
            epoch,
            conditions,
        },
    }
}

const fn reason(says: Reported) -> &'static str {
    match says {
        // A report says something.
        Reported::Nothing | Reported::Pending => "Pending",
        Reported::Enforced => "Enforced",
        Reported::OutsideGuard => "OutsideGuard",
        Reported::TooMany => "TooMany",
        Reported::Invalid => "Invalid",
        Reported::Expired => "Expired",
    }
}

/// How long replicas may differ before it is told of what was in force: they tell each other within
/// seconds.
pub(super) const LASTING: Duration = Duration::from_secs(15);

/// The condition that sums it up.
pub(super) const ENFORCED: &str = "Enforced";

/// A spec that cannot be changed has one generation.
const GENERATION: i64 = 1;

/// How many bytes of a fault are shown.
const LONGEST_WHY: usize = 512;

const OWN: &str = "tokenrevocations.hallpass.dev";
const CLUSTER: &str = "clustertokenrevocations.hallpass.dev";

#[cfg(test)]
mod tests;
