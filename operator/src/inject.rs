//! What becomes of a new pod: the sidecar is added, it is left alone, or it is refused.
//!
//! Pure. It is the twin of the chart's MutatingAdmissionPolicy: both make the same pod, and refuse in the same
//! words what the sidecar cannot be added to. The webhook of [`api`](crate::api) calls it.

use self::{misfit::misfit, place::places, resources::Resources, wish::Wishes};
pub use self::{
    patch::Patch,
    pod::Pod,
    settings::{Settings, SettingsError},
};

mod amount;
mod bounded;
mod misfit;
mod patch;
mod place;
mod pod;
mod quantity;
mod resources;
mod settings;
mod sidecar;
mod wish;

/// Who asks for the sidecar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// The pod's own label.
    ByPod,
    /// The label of its namespace.
    ByNamespace,
    /// No label: it is a matter of the policies whether it gets the sidecar, and no reason to refuse it.
    ByPolicy(Selection),
}

/// Whether a policy selects the pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selection {
    /// One does.
    Selected,
    /// None does.
    NotSelected,
    /// The policies are not known yet.
    Unknown,
}

/// What becomes of the pod.
#[derive(Debug, Clone, PartialEq)]
pub enum Injection {
    /// It gets the sidecar, or this version of it.
    Inject(Patch),
    /// It stays as it is.
    Skip(Skip),
    /// It is refused.
    Deny(Denial),
}

/// Why a pod stays as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Skip {
    /// Nothing is injected in its namespace.
    UninjectedNamespace,
    /// Its label says so.
    OptedOut,
    /// No label and no policy asks for the sidecar.
    NotAsked,
    /// Whether a policy asks is not known yet.
    NotSynced,
    /// It has the sidecar. Whether that is intact is judged by the chart's ValidatingAdmissionPolicy.
    Present,
    /// Only a policy asks, and the pod would be refused if a label did.
    Unfit(Denial),
}

/// Why a pod is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// Who has to do something about it.
    pub cause: Cause,
    /// What, in a sentence.
    pub message: String,
}

/// Who has to do something about a refused pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Whoever wrote the pod.
    Pod,
    /// Nobody: the operator has no CA yet.
    NoTrust,
}

/// Decides on a pod that is to be created in `namespace`. `ca` is what its sidecar is to trust, in PEM.
///
/// # Guarantees
/// To a pod that has an init container `hallpass` nothing is added. If that runs another version of the image of
/// `settings` it gets this one, and else the pod stays as it is. A patch touches
/// the pod's own containers in their `volumeMounts` and `env` alone, and only adds. What annotations say ends
/// up in numbers, quantities and the presence of the startup probe, nowhere else. A pod for which no label
/// asks is never refused.
///
/// # Assumptions
/// The pod mirrors nothing that a kubelet runs: the chart's registrations leave that out, by who asks for it, which is
/// not known here.
#[must_use]
pub fn inject(
    pod: &Pod,
    namespace: &str,
    asked: Asked,
    settings: &Settings,
    ca: Option<&str>,
) -> Injection {
    if let Some(skip) = skip(pod, namespace, asked, settings) {
        let renewal = (skip == Skip::Present).then(|| patch::renewal(pod, settings));
        return renewal
            .flatten()
            .map_or(Injection::Skip(skip), Injection::Inject);
    }
    match (add(pod, settings, ca), asked) {
        (Ok(patch), _) => Injection::Inject(patch),
        (Err(denial), Asked::ByPolicy(_)) => Injection::Skip(Skip::Unfit(denial)),
        (Err(denial), Asked::ByPod | Asked::ByNamespace) => Injection::Deny(denial),
    }
}

fn skip(pod: &Pod, namespace: &str, asked: Asked, settings: &Settings) -> Option<Skip> {
    if settings.uninjected_namespaces.contains(namespace) {
        return Some(Skip::UninjectedNamespace);
    }
    let label = pod.label(INJECT);
    if label == Some("false") {
        return Some(Skip::OptedOut);
    }
    let wanted = match asked {
        Asked::ByPod => label.is_some(),
        Asked::ByNamespace | Asked::ByPolicy(Selection::Selected) => true,
        Asked::ByPolicy(Selection::NotSelected) => false,
        Asked::ByPolicy(Selection::Unknown) => return Some(Skip::NotSynced),
    };
    if !wanted {
        return Some(Skip::NotAsked);
    }
    pod.sidecar().map(|_| Skip::Present)
}

fn add(pod: &Pod, settings: &Settings, ca: Option<&str>) -> Result<Patch, Denial> {
    let label = pod.label(INJECT).unwrap_or("true");
    if label != "true" {
        return Err(Denial::of_pod(format!(
            r#"label hallpass.dev/inject of the pod must be "true" or "false", not "{}""#,
            shown(label)
        )));
    }
    let wishes = Wishes::of(pod).map_err(Denial::of_pod)?;
    let resources = Resources::of_sidecar(pod, &wishes, settings).map_err(Denial::of_pod)?;
    if let Some(misfit) = misfit(pod) {
        return Err(Denial::of_pod(format!(
            "hallpass.dev/inject is \"true\", but the sidecar could not be added: {misfit} (or label the pod \
             hallpass.dev/inject: \"false\" to run it without tokens)"
        )));
    }
    let ca = ca.ok_or_else(|| Denial {
        cause: Cause::NoTrust,
        message: NO_TRUST.to_owned(),
    })?;
    let places = places(pod);
    let sidecar = sidecar::container(&places, &wishes, &resources, settings, ca);
    Ok(patch::patch(pod, &places, sidecar, settings))
}

impl Denial {
    const fn of_pod(message: String) -> Self {
        Self {
            cause: Cause::Pod,
            message,
        }
    }
}

/// What somebody wrote, short enough for a sentence: an annotation may have 256 KiB.
fn shown(text: &str) -> String {
    if text.chars().nth(LONGEST_SHOWN).is_none() {
        return text.to_owned();
    }
    let start = text.chars().take(LONGEST_SHOWN).collect::<String>();
    format!("{start}…")
}

const INJECT: &str = "hallpass.dev/inject";
const NO_TRUST: &str =
    "the operator has no CA yet that the sidecar could trust; try again in a moment";
const LONGEST_SHOWN: usize = 100;

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;
