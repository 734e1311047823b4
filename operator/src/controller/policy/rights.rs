//! Whether Hallpass may mint tokens in a namespace, as the API server sees it.

use std::{collections::BTreeMap, time::Duration};

use hallpass_core::name::Namespace;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::{Api, Client, api::PostParams};
use tokio::time::{Instant, timeout};
use tracing::debug;

use crate::telemetry::log::Chain;

/// The right to create tokens for the service accounts of a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Right {
    /// Hallpass has it.
    Granted,
    /// Hallpass has it not.
    Withheld,
    /// The API server has not said.
    Unknown,
}

/// The answers of the API server, as long as they hold.
///
/// # Guarantees
/// One question serves all namespaces where the right is given for the whole cluster. When the API
/// server does not answer, what it said last stands.
#[derive(Debug)]
pub(super) struct Rights {
    api: Api<SelfSubjectAccessReview>,
    everywhere: Option<Answer>,
    namespaces: BTreeMap<Namespace, Answer>,
}

#[derive(Debug, Clone, Copy)]
struct Answer {
    right: Right,
    until: Instant,
}

#[derive(Debug, thiserror::Error)]
enum AskError {
    #[error("ask for the right to create tokens")]
    Ask(#[source] Box<kube::Error>),
    #[error("the API server did not say within {0:?} whether tokens may be created")]
    NoAnswer(Duration),
}

impl Rights {
    pub(super) fn new(client: Client) -> Self {
        Self {
            api: Api::all(client),
            everywhere: None,
            namespaces: BTreeMap::new(),
        }
    }

    /// The right in that namespace, and until when the answer holds.
    pub(super) async fn of(&mut self, namespace: &Namespace) -> (Right, Instant) {
        let everywhere = renewed(&self.api, self.everywhere, None).await;
        self.everywhere = Some(everywhere);
        if everywhere.right != Right::Withheld {
            return (everywhere.right, everywhere.until);
        }
        let known = self.namespaces.get(namespace).copied();
        let here = renewed(&self.api, known, Some(namespace)).await;
        self.namespaces.insert(namespace.clone(), here);
        (here.right, here.until.min(everywhere.until))
    }

    /// Forgets a namespace that has no policy any more.
    pub(super) fn forget(&mut self, namespace: &Namespace) {
        self.namespaces.remove(namespace);
    }
}

async fn renewed(
    api: &Api<SelfSubjectAccessReview>,
    known: Option<Answer>,
    namespace: Option<&Namespace>,
) -> Answer {
    if let Some(answer) = known.filter(|answer| Instant::now() < answer.until) {
        return answer;
    }
    let right = match ask(api, namespace).await {
        Ok(true) => Right::Granted,
        Ok(false) => Right::Withheld,
        Err(error) => {
            debug!(error = %Chain(&error), "the right to create tokens is not known");
            known.map_or(Right::Unknown, |answer| answer.right)
        }
    };
    let holds = match right {
        Right::Granted => GRANTED,
        Right::Withheld | Right::Unknown => WITHHELD,
    };
    Answer {
        right,
        until: Instant::now() + holds,
    }
}

async fn ask(
    api: &Api<SelfSubjectAccessReview>,
    namespace: Option<&Namespace>,
) -> Result<bool, AskError> {
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                // Without one: in every namespace.
                namespace: namespace.map(|n| n.as_str().to_owned()),
                verb: Some("create".to_owned()),
                resource: Some("serviceaccounts".to_owned()),
                subresource: Some("token".to_owned()),
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let params = PostParams::default();
    let asked = timeout(LIMIT, api.create(&params, &review)).await;
    let answer = asked.map_err(|_elapsed| AskError::NoAnswer(LIMIT))?;
    let answer = answer.map_err(|error| AskError::Ask(Box::new(error)))?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}

/// How long a granted right is believed in.
const GRANTED: Duration = Duration::from_secs(30);

/// How long a missing right is: who grants it wants to see the effect.
const WITHHELD: Duration = Duration::from_secs(5);

/// How long one question may take.
const LIMIT: Duration = Duration::from_secs(5);
