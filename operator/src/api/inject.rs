//! The webhook of injection: what becomes of a pod that is to be created, told to the API server.
//!
//! # Assumptions
//! Who calls cannot be told: in a stock cluster the API server shows no certificate and no token to a webhook.
//! So the answer rests on the review alone, changes nothing anywhere, and tells nobody more than what every
//! injected pod shows: the chart's settings of injection, and the CA. A caller who is not the API server learns
//! what would become of a pod, and whether a policy of a namespace selects it, which the pod of that name would
//! learn too. What it can take is time and memory, and those are bounded for all callers together and for each
//! address. A review of an ordinary size has its room whatever others hold.

use std::{fmt, sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::{Extension, State},
    response::Response,
};
use hallpass_core::{denial::Code, labels::PodLabels};
use tokio::time::timeout;
use tracing::debug;

use self::{
    review::{Answer, Review},
    room::Room,
};
use super::{
    Api,
    observe::Arrival,
    problem::{Refused, no_such_path},
    routes::{encode, json},
};
use crate::{
    index::Index,
    inject::{Asked, Cause, Injection, Pod, Selection, Settings, Skip, inject},
    issue::refusal::Refusal,
    telemetry::label::InjectionOutcome,
};

mod review;
mod room;

/// What the webhook works with.
pub struct Webhook {
    settings: Settings,
    trust: Box<dyn Fn() -> Option<String> + Send + Sync>,
    room: Room,
}

impl Webhook {
    /// Injects by those settings; `trust` is whom sidecars are to trust now, in PEM.
    #[must_use]
    pub fn new(
        settings: Settings,
        trust: impl Fn() -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        Self {
            settings,
            trust: Box::new(trust),
            room: Room::new(),
        }
    }
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// By which of the registrations the API server asks. The path says it: that of a webhook's Service has no
/// query.
#[derive(Debug, Clone, Copy)]
pub(super) enum Entrance {
    /// `POST /inject/pod`: the pod's label asks.
    Pod,
    /// `POST /inject/namespace`: the namespace's label asks, and the pod has none.
    Namespace,
    /// `POST /inject/policy`: no label asks. It refuses no pod.
    Policy,
}

/// `POST /inject/pod`: 200 with an AdmissionReview (admission.k8s.io/v1) for everything that names itself as
/// one by a uid, 400 for what does not, 404 without this engine.
pub(super) async fn pod(
    State(api): State<Arc<Api>>,
    Extension(arrival): Extension<Arrival>,
    body: Body,
) -> Result<Response, Refused> {
    answer(&api, Entrance::Pod, &arrival, body).await
}

/// `POST /inject/namespace`, as [`pod`] in all else.
pub(super) async fn namespace(
    State(api): State<Arc<Api>>,
    Extension(arrival): Extension<Arrival>,
    body: Body,
) -> Result<Response, Refused> {
    answer(&api, Entrance::Namespace, &arrival, body).await
}

/// `POST /inject/policy`, as [`pod`] in all else.
pub(super) async fn policy(
    State(api): State<Arc<Api>>,
    Extension(arrival): Extension<Arrival>,
    body: Body,
) -> Result<Response, Refused> {
    answer(&api, Entrance::Policy, &arrival, body).await
}

async fn answer(
    api: &Api,
    entrance: Entrance,
    arrival: &Arrival,
    body: Body,
) -> Result<Response, Refused> {
    let webhook = api.webhook.as_ref().ok_or_else(no_such_path)?;
    let body = timeout(TIME, webhook.room.read(arrival.from, body)).await;
    // The sender is slow: the error would say no more.
    let body = body.ok().ok_or_else(|| {
        Refusal::new(
            Code::MalformedRequest,
            "the review did not arrive within 3 s",
        )
    })??;
    let (outcome, answer) = judge(&api.index, webhook, entrance, &body)?;
    api.metrics.injection(outcome);
    debug!(
        request.id = arrival.id.as_str(),
        injection.outcome = outcome.as_str(),
        "pod reviewed"
    );
    Ok(json(encode(&answer?)?))
}

/// Reads the review and answers it.
///
/// # Errors
/// It is no review with a uid.
fn judge(
    index: &Index,
    webhook: &Webhook,
    entrance: Entrance,
    body: &[u8],
) -> Result<(InjectionOutcome, Result<Answer, Refusal>), Refusal> {
    let (uid, review) = Review::read(body)?;
    let (namespace, pod) = match review {
        Ok(Review { namespace, pod }) => (namespace, pod),
        Err(fault) => {
            let answer = match entrance {
                Entrance::Pod | Entrance::Namespace => Ok(Answer::bad(uid, fault)),
                // A review that says no would refuse the pod, and a call that fails does not.
                Entrance::Policy => Err(Refusal::new(Code::MalformedRequest, fault)),
            };
            return Ok((InjectionOutcome::Malformed, answer));
        }
    };
    let asked = match entrance {
        Entrance::Pod => Asked::ByPod,
        Entrance::Namespace => Asked::ByNamespace,
        Entrance::Policy => Asked::ByPolicy(selection(index, &namespace, &pod)),
    };
    let ca = (webhook.trust)();
    let injection = inject(&pod, &namespace, asked, &webhook.settings, ca.as_deref());
    let outcome = outcome(&injection);
    let answer = match injection {
        Injection::Inject(patch) => Answer::patched(uid, &patch),
        Injection::Skip(_) => Ok(Answer::unchanged(uid)),
        Injection::Deny(denial) => Ok(Answer::denied(uid, denial)),
    };
    Ok((outcome, answer))
}

/// Whether a policy selects the pod: by its service account and its labels, as for a token.
fn selection(index: &Index, namespace: &str, pod: &Pod) -> Selection {
    // Its error says that it is not synced.
    let Ok(snapshot) = index.snapshot() else {
        return Selection::Unknown;
    };
    let labels: PodLabels = pod.labels().into_iter().flatten().collect();
    let mut policies = snapshot.rules().policies.of(namespace).iter();
    if policies.any(|policy| policy.selects(pod.service_account(), &labels)) {
        Selection::Selected
    } else {
        Selection::NotSelected
    }
}

const fn outcome(injection: &Injection) -> InjectionOutcome {
    match injection {
        Injection::Inject(_) => InjectionOutcome::Injected,
        Injection::Deny(denial) => match denial.cause {
            Cause::Pod => InjectionOutcome::Refused,
            Cause::NoTrust => InjectionOutcome::NoTrust,
        },
        Injection::Skip(skip) => match skip {
            Skip::UninjectedNamespace | Skip::OptedOut => InjectionOutcome::Exempt,
            Skip::NotAsked => InjectionOutcome::NotAsked,
            Skip::NotSynced => InjectionOutcome::NotSynced,
            Skip::Present => InjectionOutcome::Present,
            Skip::Unfit(denial) => match denial.cause {
                Cause::Pod => InjectionOutcome::Unfit,
                Cause::NoTrust => InjectionOutcome::NoTrust,
            },
        },
    }
}

/// For a review to arrive. The rest takes a millisecond.
const TIME: Duration = Duration::from_secs(3);
