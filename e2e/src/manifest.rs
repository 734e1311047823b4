//! Manifests as builders with defaults. They print as JSON, which every reader of YAML takes.

use std::fmt;

use serde_json::{Value, json};

/// A manifest in the making.
#[derive(Debug, Clone)]
pub struct Manifest(Value);

impl fmt::Display for Manifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<Value> for Manifest {
    fn from(object: Value) -> Self {
        Self(object)
    }
}

/// A service account.
#[must_use]
pub fn service_account(name: &str) -> Manifest {
    Manifest(json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}))
}

/// A pod with the unmodified demo application: its container `app` sleeps until it is told to end.
#[must_use]
pub fn pod(name: &str) -> Manifest {
    Manifest(json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {}},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [container("app")]},
    }))
}

/// A container with the demo application.
#[must_use]
pub fn container(name: &str) -> Value {
    json!({
        "name": name, "image": "registry.local/demo-app:e2e", "imagePullPolicy": "IfNotPresent",
        "command": ["/bin/sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1; done"],
    })
}

/// A container with the demo application and further members.
#[must_use]
pub fn container_with(name: &str, members: Value) -> Value {
    let mut container = container(name);
    if let (Value::Object(container), Value::Object(members)) = (&mut container, members) {
        container.extend(members);
    }
    container
}

/// A policy that gives `service_account` the given tokens: name and audience.
#[must_use]
pub fn policy(name: &str, service_account: &str, tokens: &[(&str, &str)]) -> Manifest {
    let tokens: Vec<Value> = tokens
        .iter()
        .map(|(name, audience)| json!({"name": name, "kubernetesAudience": audience, "lifetime": "10m"}))
        .collect();
    Manifest(json!({
        "apiVersion": "hallpass.dev/v1alpha1", "kind": "TokenPolicy", "metadata": {"name": name},
        "spec": {"subjects": [{"serviceAccount": service_account}], "tokens": tokens},
    }))
}

/// A policy that gives `service_account` the token `name`: scopes of the audience `payments` of
/// `namespace`, for as long as the audience allows. Nobody waits for it.
#[must_use]
pub fn audience_policy(
    service_account: &str,
    name: &str,
    namespace: &str,
    scopes: &[&str],
) -> Manifest {
    Manifest(json!({
        "apiVersion": "hallpass.dev/v1alpha1", "kind": "TokenPolicy",
        "metadata": {"name": service_account},
        "spec": {
            "subjects": [{"serviceAccount": service_account}],
            "tokens": [{
                "name": name,
                "audienceRef": {"namespace": namespace, "name": "payments"},
                "scopes": scopes,
                "required": false,
            }],
        },
    }))
}

/// The audience `payments` of that namespace, with the scopes `payments:read` and `payments:write`, which
/// nobody may have yet.
#[must_use]
pub fn audience(namespace: &str) -> Manifest {
    Manifest(json!({
        "apiVersion": "hallpass.dev/v1alpha1", "kind": "TokenAudience",
        "metadata": {"name": "payments"},
        "spec": {
            "audience": format!("https://payments.{namespace}.svc"),
            "issuerRef": {"name": "hallpass"},
            "scopes": [{"name": "payments:read"}, {"name": "payments:write"}],
            "contact": "#payments-oncall",
        },
    }))
}

impl Manifest {
    /// Has the audience allow those scopes to a service account of a namespace.
    #[must_use]
    pub fn allowing(self, namespace: &str, service_account: &str, scopes: &[&str]) -> Self {
        let labels = json!({"kubernetes.io/metadata.name": namespace});
        let line = json!({
            "from": {
                "namespaceSelector": {"matchLabels": labels},
                "serviceAccounts": [service_account],
            },
            "scopes": scopes,
        });
        self.with("/spec/allow", json!([line]))
    }

    /// Puts a label on the object.
    #[must_use]
    pub fn label(self, key: &str, value: &str) -> Self {
        self.with(&format!("/metadata/labels/{}", escaped(key)), json!(value))
    }

    /// Puts an annotation on the object.
    #[must_use]
    pub fn annotation(self, key: &str, value: &str) -> Self {
        self.with(
            &format!("/metadata/annotations/{}", escaped(key)),
            json!(value),
        )
    }

    /// Has the pod injected, by the label on the pod.
    #[must_use]
    pub fn injected(self) -> Self {
        self.label("hallpass.dev/inject", "true")
    }

    /// Has the pod run under that service account.
    #[must_use]
    pub fn under(self, service_account: &str) -> Self {
        self.with("/spec/serviceAccountName", json!(service_account))
    }

    /// Puts a value at a JSON pointer; objects on the way are made, `-` appends to a list.
    #[must_use]
    pub fn with(mut self, pointer: &str, value: Value) -> Self {
        let mut at = &mut self.0;
        for part in pointer.split('/').skip(1) {
            at = entry(at, &part.replace("~1", "/").replace("~0", "~"));
        }
        *at = value;
        self
    }

    /// Takes away what is at a JSON pointer.
    #[must_use]
    pub fn without(mut self, pointer: &str) -> Self {
        let Some((parent, part)) = pointer.rsplit_once('/') else {
            return self;
        };
        let part = part.replace("~1", "/").replace("~0", "~");
        match (self.0.pointer_mut(parent), part.parse()) {
            (Some(Value::Object(members)), _) => {
                members.remove(&part);
            }
            (Some(Value::Array(list)), Ok(index)) if index < list.len() => {
                list.remove(index);
            }
            _ => {}
        }
        self
    }

    /// The manifest as JSON.
    #[must_use]
    pub const fn json(&self) -> &Value {
        &self.0
    }
}

fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

#[expect(
    clippy::expect_used,
    reason = "a wrong pointer is a mistake of the test"
)]
fn entry<'a>(at: &'a mut Value, part: &str) -> &'a mut Value {
    if let Value::Array(list) = at {
        if part == "-" {
            list.push(Value::Null);
        }
        let index = part.parse().unwrap_or(list.len() - 1);
        return list.get_mut(index).expect("the list has that entry");
    }
    if !at.is_object() {
        *at = json!({});
    }
    at.as_object_mut()
        .expect("it was made one")
        .entry(part)
        .or_insert(Value::Null)
}
