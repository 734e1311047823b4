//! What the chart says about the injected part of a pod.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{
    amount::Amount,
    resources::{Of, Resources},
};

/// What injection adds, as far as the chart decides on it: parsed once, at the start.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Settings {
    /// The sidecar's image.
    pub(super) image: String,
    /// When the kubelet pulls it.
    pub(super) pull_policy: PullPolicy,
    /// Secrets of the pod's namespace with which it may be pulled.
    pub(super) image_pull_secrets: Vec<SecretName>,
    /// The sidecar's resources in Burstable pods.
    pub(super) resources: Resources,
    /// Its requests and limits in Guaranteed ones.
    pub(super) guaranteed_resources: Of<Amount>,
    /// Its uid and gid; [`None`] leaves both to the cluster.
    pub(super) run_as_user: Option<User>,
    /// The native sidecars, by name, behind which it comes.
    pub(super) after: BTreeSet<String>,
    /// Where it asks for tokens: host and port of the Service.
    pub(super) operator: String,
    /// Where it finds every single replica.
    pub(super) replicas: String,
    /// The audience of the token that it shows there.
    pub(super) identity_audience: String,
    /// Where nothing is injected: a cluster that cannot start its own parts cannot be repaired.
    pub(super) uninjected_namespaces: BTreeSet<String>,
}

/// When the kubelet pulls an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
pub(super) enum PullPolicy {
    Always,
    IfNotPresent,
    Never,
}

/// A Secret of the pod's namespace.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SecretName {
    pub(super) name: String,
}

/// A uid that is not root's, and the gid of the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "u32")]
pub(super) struct User(u32);

/// Why settings are of no use.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// They are not the JSON that the chart writes. It tells the cause itself: of a flag's error only this text
    /// is printed.
    #[error("read the settings of injection: {0}")]
    Read(serde_json::Error),
    /// A name or an address is empty.
    #[error("{0} is empty")]
    Empty(&'static str),
    /// The sidecar of a Burstable pod could not be created.
    #[error("resources: the request of {0} is above its limit")]
    RequestAboveLimit(String),
}

impl Settings {
    /// Reads the JSON of the flag `--injection`.
    ///
    /// # Errors
    /// What the first fault is.
    pub fn parse(text: &str) -> Result<Self, SettingsError> {
        let settings: Self = serde_json::from_str(text).map_err(SettingsError::Read)?;
        for (field, value) in [
            ("image", &settings.image),
            ("operator", &settings.operator),
            ("replicas", &settings.replicas),
            ("identityAudience", &settings.identity_audience),
        ] {
            if value.is_empty() {
                return Err(SettingsError::Empty(field));
            }
        }
        let Resources { requests, limits } = &settings.resources;
        for (name, request) in requests {
            if limits.get(name).is_some_and(|limit| request.exceeds(limit)) {
                return Err(SettingsError::RequestAboveLimit(name.clone()));
            }
        }
        Ok(settings)
    }
}

impl User {
    /// That uid, unless it is root's or none at all.
    pub(super) fn new(number: u32) -> Option<Self> {
        (1..=LARGEST_USER).contains(&number).then_some(Self(number))
    }
}

impl TryFrom<u32> for User {
    type Error = &'static str;

    fn try_from(number: u32) -> Result<Self, &'static str> {
        Self::new(number).ok_or("a uid is a number from 1 to 2147483647")
    }
}

/// What Kubernetes takes for a uid.
const LARGEST_USER: u32 = 2_147_483_647;

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{
        super::fixture::{settings, settings_json},
        *,
    };

    fn with(key: &str, value: Value) -> Result<Settings, String> {
        let mut settings = settings_json();
        settings[key] = value;
        Settings::parse(&settings.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn what_the_chart_writes_is_read() {
        assert_eq!(with("imagePullSecrets", json!([])), Ok(settings()));
        let chosen = with("runAsUser", Value::Null).unwrap();
        assert_eq!(chosen.run_as_user, None);
        let unbounded = with("resources", json!({})).unwrap();
        assert_eq!(unbounded.resources, Resources::default());
    }

    #[test]
    fn a_mistake_is_named() {
        for (key, value, told) in [
            ("img", json!("x"), "unknown field `img`"),
            ("image", json!(""), "image is empty"),
            ("operator", json!(""), "operator is empty"),
            ("replicas", json!(""), "replicas is empty"),
            ("identityAudience", json!(""), "identityAudience is empty"),
            (
                "pullPolicy",
                json!("Sometimes"),
                "unknown variant `Sometimes`",
            ),
            (
                "imagePullSecrets",
                json!([{"nam": "a"}]),
                "unknown field `nam`",
            ),
            (
                "resources",
                json!({"limits": {"cpu": "0"}}),
                "is not a quantity above 0",
            ),
            (
                "resources",
                json!({"requests": {"cpu": "2"}, "limits": {"cpu": "1999m"}}),
                "the request of cpu is above its limit",
            ),
            (
                "guaranteedResources",
                json!({"cpu": "1"}),
                "missing field `memory`",
            ),
            (
                "guaranteedResources",
                json!({"cpu": "1", "memory": "x"}),
                "is not a quantity above 0",
            ),
            ("runAsUser", json!(0), "a number from 1 to 2147483647"),
            (
                "runAsUser",
                json!(2_147_483_648_u32),
                "a number from 1 to 2147483647",
            ),
            ("runAsUser", json!("1"), "invalid type"),
            ("after", Value::Null, "invalid type"),
        ] {
            let error = with(key, value).unwrap_err();
            assert!(error.contains(told), "{key}: {error}");
        }
        let error = Settings::parse("{}").unwrap_err().to_string();
        assert!(error.contains("missing field"), "{error}");
    }
}
