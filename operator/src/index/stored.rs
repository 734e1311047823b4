//! An object as the API server tells of it: read as far as it is used, whatever else is in it.

use std::{borrow::Cow, collections::BTreeMap, marker::PhantomData};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::{Resource, core::PartialObjectMeta};
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use serde_json::{Value, value::RawValue};

/// An object of a kind of ours, or why it is none that this version knows.
///
/// # Guarantees
/// That it cannot be read is no fault of the list or the watch that tells of it. What whoever wrote it put
/// into its `managedFields` is passed over: it may be nested deeper than anything that is read here.
#[derive(Debug, Clone)]
pub(crate) struct Stored<K>(pub(crate) Result<K, Unread>);

/// An object that is none of its kind that this version knows.
#[derive(Debug, Clone)]
pub(crate) struct Unread {
    /// What is wrong.
    pub(crate) error: String,
    pub(crate) metadata: ObjectMeta,
    /// What it says, if anything.
    pub(crate) spec: Option<Box<RawValue>>,
}

/// What the metadata of an object says; the rest of it, and its `managedFields`, are passed over.
#[derive(Debug, Clone)]
pub(crate) struct Described<K>(pub(crate) PartialObjectMeta<K>);

/// An object on its way. `managedFields` is not among its metadata, and what is unknown takes no memory and
/// may be of any depth.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Whole {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    metadata: Metadata,
    #[serde(skip_serializing_if = "Option::is_none")]
    spec: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Head {
    #[serde(default)]
    metadata: Metadata,
}

/// What is used of an object's metadata.
#[derive(Deserialize, Serialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Metadata {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    generation: Option<i64>,
    creation_timestamp: Option<Time>,
    deletion_timestamp: Option<Time>,
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<BTreeMap<String, String>>,
}

impl From<Metadata> for ObjectMeta {
    fn from(metadata: Metadata) -> Self {
        let Metadata {
            name,
            namespace,
            uid,
            resource_version,
            generation,
            creation_timestamp,
            deletion_timestamp,
            labels,
            annotations,
        } = metadata;
        Self {
            name,
            namespace,
            uid,
            resource_version,
            generation,
            creation_timestamp,
            deletion_timestamp,
            labels,
            annotations,
            ..Self::default()
        }
    }
}

/// Reads the metadata of an object as [`Described`] has it: a field's `deserialize_with`.
pub(crate) fn metadata<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    Metadata::deserialize(deserializer).map(Into::into)
}

impl<'de, K: DeserializeOwned> Deserialize<'de> for Stored<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let whole = Whole::deserialize(deserializer)?;
        let text = serde_json::to_string(&whole).map_err(serde::de::Error::custom)?;
        Ok(Self(read(&text).map_err(|error| Unread {
            error,
            metadata: whole.metadata.into(),
            spec: whole.spec,
        })))
    }
}

/// Reads it, or says why it cannot be read: what is wrong and not where, which is another place whenever its
/// metadata changes.
fn read<K: DeserializeOwned>(text: &str) -> Result<K, String> {
    serde_json::from_str(text).map_err(|error| {
        let value = serde_json::from_str::<Value>(text).and_then(K::deserialize);
        value.err().unwrap_or(error).to_string()
    })
}

impl<'de, K> Deserialize<'de> for Described<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Head { metadata } = Head::deserialize(deserializer)?;
        Ok(Self(PartialObjectMeta {
            types: None,
            metadata: metadata.into(),
            _phantom: PhantomData,
        }))
    }
}

impl<K: Resource> Resource for Stored<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(of: &K::DynamicType) -> Cow<'_, str> {
        K::kind(of)
    }

    fn group(of: &K::DynamicType) -> Cow<'_, str> {
        K::group(of)
    }

    fn version(of: &K::DynamicType) -> Cow<'_, str> {
        K::version(of)
    }

    fn plural(of: &K::DynamicType) -> Cow<'_, str> {
        K::plural(of)
    }

    fn meta(&self) -> &ObjectMeta {
        self.0
            .as_ref()
            .map_or_else(|unread| &unread.metadata, K::meta)
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.0
            .as_mut()
            .map_or_else(|unread| &mut unread.metadata, K::meta_mut)
    }
}

impl<K: Resource> Resource for Described<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    /// Nothing else is asked for.
    fn metadata_api() -> bool {
        true
    }

    fn kind(of: &K::DynamicType) -> Cow<'_, str> {
        K::kind(of)
    }

    fn group(of: &K::DynamicType) -> Cow<'_, str> {
        K::group(of)
    }

    fn version(of: &K::DynamicType) -> Cow<'_, str> {
        K::version(of)
    }

    fn plural(of: &K::DynamicType) -> Cow<'_, str> {
        K::plural(of)
    }

    fn meta(&self) -> &ObjectMeta {
        &self.0.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.0.metadata
    }
}

#[cfg(test)]
mod tests {
    use hallpass_crds::token_policy::TokenPolicy;
    use k8s_openapi::api::core::v1::Pod;
    use kube::core::{ObjectList, WatchEvent};

    use super::*;

    /// What a client may have the API server store, as deep as that reads.
    fn deep() -> String {
        let (open, close) = (r#"{"f:a":"#.repeat(5000), "}".repeat(5000));
        format!(r#"[{{"manager":"x","operation":"Apply","fieldsV1":{open}{{}}{close}}}]"#)
    }

    fn object(spec: &str) -> String {
        let deep = deep();
        format!(
            r#"{{"apiVersion":"hallpass.dev/v1alpha1","kind":"TokenPolicy","metadata":{{"name":"a","namespace":"shop","uid":"u","managedFields":{deep},"labels":{{"b":"c"}},"generation":3}},"spec":{spec}}}"#
        )
    }

    const SPEC: &str = r#"{"subjects":[{"serviceAccount":"orders"}],"tokens":[]}"#;

    #[test]
    fn t23_an_object_is_read_however_deep_its_managed_fields_are() {
        let list = format!(
            r#"{{"kind":"List","apiVersion":"v1","metadata":{{"resourceVersion":"7"}},"items":[{}]}}"#,
            object(SPEC)
        );
        let list: ObjectList<Stored<TokenPolicy>> = serde_json::from_str(&list).unwrap();
        let policy = list.items[0].0.as_ref().unwrap();
        assert_eq!(policy.spec.subjects.len(), 1);
        assert_eq!(policy.metadata.generation, Some(3));
        for kind in ["ADDED", "MODIFIED", "DELETED"] {
            let line = format!(r#"{{"type":"{kind}","object":{}}}"#, object(SPEC));
            let event: WatchEvent<Stored<TokenPolicy>> = serde_json::from_str(&line).unwrap();
            assert!(format!("{event:?}").to_uppercase().starts_with(kind));
            let event: WatchEvent<Described<Pod>> = serde_json::from_str(&line).unwrap();
            let (WatchEvent::Added(pod) | WatchEvent::Modified(pod) | WatchEvent::Deleted(pod)) =
                event
            else {
                panic!("{kind}");
            };
            assert_eq!(pod.meta().labels.as_ref().unwrap()["b"], "c");
        }
    }

    #[test]
    fn an_object_that_is_none_of_its_kind_still_has_its_name() {
        let read: Stored<TokenPolicy> = serde_json::from_str(&object("7")).unwrap();
        assert_eq!(read.meta().name.as_deref(), Some("a"));
        let error = read.0.unwrap_err().error;
        assert!(error.starts_with("invalid type: integer `7`"), "{error}");
        assert!(!error.contains("column"), "{error}");
    }
}
