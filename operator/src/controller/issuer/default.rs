//! The TokenIssuer `hallpass`, which the chart describes and cannot make itself.
//!
//! It is made where there is none, and kept in step with the chart while nobody else says anything in its
//! spec. From then on it is theirs.

use std::{sync::Arc, time::Duration};

use hallpass_crds::token_issuer::{HallpassIssuer, TokenIssuer, TokenIssuerSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};
use kube::{
    Api, Client, Resource,
    api::{Patch, PatchParams},
    core::Request,
};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::json;
use tokio::{sync::watch, time::Instant};
use tracing::{debug, info, warn};

use super::{Release, desired::algorithm};
use crate::{
    call::{CallError, within},
    config::DefaultIssuer,
    controller::{plan::Backoff, round::FULL, write::MANAGER},
    index::{Described, IssuerRecord, Snapshot},
    lease::tenure::Tenure,
    owner::{OwnerError, owner},
    telemetry::log::Chain,
};

/// Looks after the chart's issuer for one leader.
pub(super) struct ChartIssuer<'a> {
    client: Client,
    release: &'a Release,
    leader: watch::Receiver<Tenure>,
    /// The object of which the last look knew, by uid and generation, and when that was.
    seen: Option<(Option<Version>, Instant)>,
    outcome: Option<Outcome>,
    backoff: Backoff,
}

type Version = (Arc<str>, Option<i64>);

/// How a look ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// It says what the chart says.
    Same,
    /// It was made, or changed to what the chart says.
    Written,
    /// Somebody else says something in its spec.
    Theirs,
    /// Its URL is another one than the chart's.
    OtherUrl,
    /// It is being deleted: when it is gone it is made again.
    Leaving,
    /// It cannot be read, and so it is left alone.
    Unreadable,
}

/// Why a look brought nothing.
#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error("read the TokenIssuer")]
    Read(#[source] CallError),
    #[error("find the owner of the TokenIssuer")]
    Owner(#[source] OwnerError),
    #[error("the tenure of this leader is over")]
    Over,
    #[error("write the TokenIssuer")]
    Write(#[source] CallError),
}

impl<'a> ChartIssuer<'a> {
    pub(super) fn new(
        client: Client,
        release: &'a Release,
        leader: watch::Receiver<Tenure>,
    ) -> Self {
        Self {
            client,
            release,
            leader,
            seen: None,
            outcome: None,
            backoff: Backoff::default(),
        }
    }

    /// Looks, if the object is another one than at the last look or that one is long ago. Returns when to
    /// look again after a failure.
    pub(super) async fn tend(&mut self, snapshot: &Snapshot) -> Option<Instant> {
        let now = Instant::now();
        let version = snapshot.issuers().get(NAME).map(version);
        let seen = self.seen.as_ref();
        if seen.is_some_and(|(seen, at)| *seen == version && now < *at + FULL) {
            return None;
        }
        if let Some(retry) = self.backoff.retry().filter(|retry| now < *retry) {
            return Some(retry);
        }
        match self.look().await {
            Ok(outcome) => {
                self.tell(outcome);
                self.backoff = Backoff::default();
                self.seen = Some((version, now));
                None
            }
            Err(error) => {
                let name = NAME;
                if self.backoff.failed(Instant::now(), rand::random()) == 1 {
                    warn!(object.name = name, error = %Chain(&error), "the chart's issuer is not looked after");
                } else {
                    debug!(object.name = name, error = %Chain(&error), "the chart's issuer is still not looked after");
                }
                self.backoff.retry()
            }
        }
    }

    async fn look(&self) -> Result<Outcome, LookError> {
        let Ok(found) = self.read().await.map_err(LookError::Read)?.transpose() else {
            return Ok(Outcome::Unreadable);
        };
        let spec = self.spec();
        if let Some(found) = &found
            && let Some(outcome) = left_alone(found, &spec)
        {
            return Ok(outcome);
        }
        let owner = owner(&self.client, &self.release.names).await;
        let owner = owner.map_err(LookError::Owner)?;
        if found
            .as_ref()
            .is_some_and(|found| is_same(found, &spec, &owner))
        {
            return Ok(Outcome::Same);
        }
        let mut patch = json!({
            "apiVersion": TokenIssuer::api_version(&()),
            "kind": TokenIssuer::kind(&()),
            "metadata": {"name": NAME, "ownerReferences": [owner]},
            "spec": spec,
        });
        if let Some(found) = found {
            // Not another one that was made meanwhile, nor what another leader made of it.
            patch["metadata"]["uid"] = json!(found.metadata.uid);
            patch["metadata"]["resourceVersion"] = json!(found.metadata.resource_version);
        }
        // Not forced: whoever was faster keeps what they said.
        let (params, patch) = (PatchParams::apply(MANAGER), Patch::Apply(patch));
        let api: Api<Described<TokenIssuer>> = Api::all(self.client.clone());
        if !self.leader.borrow().may_write() {
            return Err(LookError::Over);
        }
        let written = within(api.patch(NAME, &params, &patch)).await;
        written.map_err(LookError::Write)?;
        Ok(Outcome::Written)
    }

    /// The stored one, if there is one, or why it cannot be read.
    async fn read(&self) -> Result<Option<serde_json::Result<Found>>, CallError> {
        let text = async {
            let issuers = Request::new(TokenIssuer::url_path(&(), None));
            let request = issuers.get(NAME, &Default::default());
            let request = request.map_err(kube::Error::BuildRequest)?;
            self.client.request_text(request).await
        };
        match within(text).await {
            Ok(text) => Ok(Some(serde_json::from_str(&text))),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Says how it is, once for each time that this changes.
    fn tell(&mut self, outcome: Outcome) {
        if self.outcome.replace(outcome) == Some(outcome) {
            return;
        }
        let (name, url) = (NAME, self.release.issuer.url.as_str());
        match outcome {
            Outcome::Same | Outcome::Leaving => {}
            Outcome::Written => info!(object.name = name, "the chart's issuer was written"),
            Outcome::Theirs => {
                info!(
                    object.name = name,
                    "the issuer was edited, and the chart's values no longer count for it"
                );
            }
            Outcome::OtherUrl => {
                warn!(
                    object.name = name,
                    chart.url = url,
                    "the issuer has another URL than the chart says, which cannot be changed"
                );
            }
            Outcome::Unreadable => {
                warn!(
                    object.name = name,
                    "the issuer cannot be read, and so it is left alone"
                );
            }
        }
    }

    fn spec(&self) -> TokenIssuerSpec {
        let DefaultIssuer {
            url,
            algorithm: chosen,
            rotate_every,
            spiffe_trust_domain,
        } = &self.release.issuer;
        TokenIssuerSpec {
            hallpass: HallpassIssuer {
                issuer_url: url.to_string(),
                algorithm: chosen.map(algorithm),
                rotate_every: rotate_every.map(period),
                spiffe_trust_domain: spiffe_trust_domain.as_ref().map(ToString::to_string),
            },
            audiences: Vec::new(),
        }
    }
}

/// The stored issuer, and who says what in it: read only that far, since whoever writes it may let it be
/// nested deeper than anything that is read here.
#[derive(Deserialize)]
struct Found {
    metadata: Metadata,
    spec: TokenIssuerSpec,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    uid: Option<String>,
    resource_version: Option<String>,
    deletion_timestamp: Option<Time>,
    owner_references: Option<Vec<OwnerReference>>,
    managed_fields: Option<Vec<Managed>>,
}

/// What one manager says of the object.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Managed {
    manager: Option<String>,
    subresource: Option<String>,
    fields_v1: Option<Fields>,
}

#[derive(Deserialize)]
struct Fields {
    #[serde(rename = "f:spec")]
    spec: Option<IgnoredAny>,
}

fn version(record: &IssuerRecord) -> Version {
    (record.uid.clone(), record.generation)
}

/// Why the stored issuer is not brought in step with the chart, if it is not.
fn left_alone(found: &Found, spec: &TokenIssuerSpec) -> Option<Outcome> {
    if found.metadata.deletion_timestamp.is_some() {
        Some(Outcome::Leaving)
    } else if found.spec.hallpass.issuer_url != spec.hallpass.issuer_url {
        Some(Outcome::OtherUrl)
    } else if is_theirs(&found.metadata) {
        Some(Outcome::Theirs)
    } else {
        None
    }
}

/// Whether somebody else says something in the spec. What is said through a subresource, such as the
/// status, is no part of it.
fn is_theirs(metadata: &Metadata) -> bool {
    let mut entries = metadata.managed_fields.iter().flatten();
    entries.any(|entry| {
        let fields = entry.fields_v1.as_ref().and_then(|f| f.spec.as_ref());
        let other = entry.manager.as_deref() != Some(MANAGER);
        let whole = entry.subresource.as_deref().unwrap_or_default().is_empty();
        other && whole && fields.is_some()
    })
}

/// Whether the stored issuer says all that the chart says, and goes with the release.
fn is_same(found: &Found, spec: &TokenIssuerSpec, owner: &OwnerReference) -> bool {
    let mut owners = found.metadata.owner_references.iter().flatten();
    found.spec == *spec && owners.any(|o| o == owner)
}

/// The period as the resource has it: a whole number of the largest unit that there is one of.
fn period(every: Duration) -> String {
    let seconds = every.as_secs();
    let units = [(86400, 'd'), (3600, 'h'), (60, 'm')];
    let unit = units
        .into_iter()
        .find(|(length, _)| seconds.is_multiple_of(*length));
    let (length, unit) = unit.unwrap_or((1, 's'));
    format!("{}{unit}", seconds / length)
}

/// What the chart's issuer is called.
pub(super) const NAME: &str = "hallpass";
