//! Everything that is stored in a cluster, found by discovery: no list of kinds that could miss one.

use std::{collections::BTreeMap, fmt};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::command::kubectl;

/// Every object of every kind that can be listed.
#[derive(Debug, Clone)]
pub struct Inventory(BTreeMap<Place, Value>);

/// Where an object is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Its group and kind: `Deployment.apps`.
    pub kind: String,
    /// Its namespace; empty for the cluster's own.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

impl Inventory {
    /// Lists them all.
    ///
    /// # Errors
    /// A kind could not be listed.
    pub async fn take() -> Result<Self> {
        let kinds = ["api-resources", "--verbs=list", "-o", "name"];
        let kinds = kubectl(&kinds).await?.success()?;
        let kinds = kinds.split_whitespace().collect::<Vec<_>>().join(",");
        let said = kubectl(&["get", &kinds, "--all-namespaces", "-o", "json"]).await?;
        let mut list: Value = serde_json::from_str(&said.success()?)?;
        let items = list["items"].as_array_mut().context("a list")?;
        let objects = items.drain(..).map(|item| (Place::of(&item), item));
        Ok(Self(objects.collect()))
    }

    /// The objects that `other` does not have.
    pub fn without<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = (&'a Place, &'a Value)> {
        let new = |(place, _): &(&Place, &Value)| !other.0.contains_key(*place);
        self.0.iter().filter(new)
    }

    /// The objects that both have, as they are here.
    pub fn with<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = (&'a Place, &'a Value)> {
        let both = |(place, _): &(&Place, &Value)| other.0.contains_key(*place);
        self.0.iter().filter(both)
    }

    /// Whether there is an object of that kind and name, in no namespace.
    #[must_use]
    pub fn has(&self, kind: &str, name: &str) -> bool {
        let place = Place {
            kind: kind.to_owned(),
            namespace: String::new(),
            name: name.to_owned(),
        };
        self.0.contains_key(&place)
    }
}

impl Place {
    fn of(object: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let version = text(&object["apiVersion"]);
        let kind = text(&object["kind"]);
        Self {
            kind: match version.split_once('/') {
                Some((group, _)) => format!("{kind}.{group}"),
                None => kind,
            },
            namespace: text(&object["metadata"]["namespace"]),
            name: text(&object["metadata"]["name"]),
        }
    }
}
