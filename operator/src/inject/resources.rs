//! The sidecar's resources: such that the pod stays in its class, unless its annotations say otherwise.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    amount::Amount,
    pod::{Amounts, Container, Pod},
    quantity::Quantity,
    settings::Settings,
    shown,
    wish::Wishes,
};

/// What a container asks for, and what it may not exceed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Resources {
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) requests: BTreeMap<String, Amount>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) limits: BTreeMap<String, Amount>,
}

/// One of each of the resources that make the class of a pod.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Of<T> {
    pub(super) cpu: T,
    pub(super) memory: T,
}

/// The class of a pod, by the quantities that Kubernetes takes for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// The pod has resources of its own, of which the sidecar takes its part: the sum of the containers'
    /// requests must not exceed those.
    OfPod,
    BestEffort,
    Burstable,
    Guaranteed,
}

impl Resources {
    /// Those of the sidecar of that pod.
    ///
    /// # Errors
    /// A container's resources are no quantities, or the sidecar would request more than its limit, as a
    /// sentence.
    pub(super) fn of_sidecar(
        pod: &Pod,
        wishes: &Wishes,
        settings: &Settings,
    ) -> Result<Self, String> {
        let Wishes {
            requests, limits, ..
        } = wishes;
        let mut resources = match Class::of(pod)? {
            Class::OfPod | Class::BestEffort => Self::default(),
            Class::Burstable => settings.resources.clone(),
            Class::Guaranteed => return guaranteed(wishes, &settings.guaranteed_resources),
        };
        for (amounts, wishes) in [
            (&mut resources.requests, requests),
            (&mut resources.limits, limits),
        ] {
            for (name, wish) in wishes.each() {
                if let Some(amount) = wish {
                    amounts.insert(name.to_owned(), amount.clone());
                }
            }
        }
        for name in [CPU, MEMORY] {
            fits(
                name,
                resources.requests.get(name),
                resources.limits.get(name),
            )?;
        }
        Ok(resources)
    }
}

/// Limits that are requests too.
fn guaranteed(wishes: &Wishes, values: &Of<Amount>) -> Result<Resources, String> {
    let mut limits = BTreeMap::new();
    let wished = wishes.requests.each().into_iter().zip(wishes.limits.each());
    for (((name, request), (_, limit)), (_, value)) in wished.zip(values.each()) {
        fits(name, request.as_ref(), limit.as_ref())?;
        let amount = limit.as_ref().or(request.as_ref()).unwrap_or(value);
        limits.insert(name.to_owned(), amount.clone());
    }
    Ok(Resources {
        requests: limits.clone(),
        limits,
    })
}

fn fits(name: &str, request: Option<&Amount>, limit: Option<&Amount>) -> Result<(), String> {
    match (request, limit) {
        (Some(request), Some(limit)) if request.exceeds(limit) => Err(format!(
            "the sidecar would request more {name} than its limit allows: {} is above {}; change annotation \
             hallpass.dev/{name}-request or hallpass.dev/{name}-limit",
            request.as_str(),
            limit.as_str()
        )),
        _ => Ok(()),
    }
}

impl Class {
    fn of(pod: &Pod) -> Result<Self, String> {
        if has_resources(pod) {
            return Ok(Self::OfPod);
        }
        let (mut guaranteed, mut best_effort) = (true, true);
        for container in pod.all_containers() {
            for (request, limit) in amounts(container)? {
                let limited = limit.is_some_and(Quantity::is_positive);
                guaranteed &= limited && request.or(limit) == limit;
                best_effort &= !limited && !request.is_some_and(Quantity::is_positive);
            }
        }
        Ok(match (guaranteed, best_effort) {
            (_, true) => Self::BestEffort,
            (true, false) => Self::Guaranteed,
            (false, false) => Self::Burstable,
        })
    }
}

fn has_resources(pod: &Pod) -> bool {
    let Some(own) = &pod.spec.resources else {
        return false;
    };
    [&own.requests, &own.limits]
        .into_iter()
        .flatten()
        .any(|amounts| !amounts.is_empty())
}

/// Request and limit.
type Bounds = (Option<Quantity>, Option<Quantity>);

/// Those of cpu and of memory.
fn amounts(container: &Container) -> Result<[Bounds; 2], String> {
    let Some(resources) = &container.resources else {
        return Ok([(None, None); 2]);
    };
    let read = |text: Option<&String>| {
        let quantity = text.map(|text| text.parse::<Quantity>());
        quantity.transpose().map_err(|no_quantity| {
            let text = text.map(|text| shown(text)).unwrap_or_default();
            let container = shown(&container.name);
            format!("the resources of container {container} cannot be read: {text:?} {no_quantity}")
        })
    };
    let (requests, limits) = (resources.requests.as_ref(), resources.limits.as_ref());
    let pair = |of: fn(&Amounts) -> Option<&String>| {
        Ok::<_, String>((read(requests.and_then(of))?, read(limits.and_then(of))?))
    };
    Ok([
        pair(|amounts| amounts.cpu.as_ref())?,
        pair(|amounts| amounts.memory.as_ref())?,
    ])
}

impl<T> Of<T> {
    /// Each with the name of its resource.
    pub(super) const fn each(&self) -> [(&'static str, &T); 2] {
        [(CPU, &self.cpu), (MEMORY, &self.memory)]
    }
}

const CPU: &str = "cpu";
const MEMORY: &str = "memory";
