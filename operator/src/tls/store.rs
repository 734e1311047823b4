//! The Secret that the replicas share. The chart makes it, without data.

use std::{collections::BTreeMap, mem};

use hallpass_core::secret::Secret;
use k8s_openapi::{ByteString, api::core::v1::Secret as SecretObject};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
    core::ObjectMeta,
};

use super::material::Data;
use crate::call::{CallError, within};

/// One Secret by name.
#[derive(Clone)]
pub(super) struct Store {
    api: Api<SecretObject>,
    name: String,
}

/// The Secret as it was at one time.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) resource_version: String,
    pub(super) data: Data,
}

impl Store {
    pub(super) fn new(client: Client, namespace: &str, name: String) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            name,
        }
    }

    /// The Secret of now; `None` if it does not exist.
    pub(super) async fn read(&self) -> Result<Option<Stored>, CallError> {
        let Some(object) = within(self.api.get_opt(&self.name)).await? else {
            return Ok(None);
        };
        let data = object.data.unwrap_or_default().into_iter();
        Ok(Some(Stored {
            resource_version: object.metadata.resource_version.unwrap_or_default(),
            data: data
                .map(|(key, ByteString(value))| (key, Secret::new(value)))
                .collect(),
        }))
    }

    /// Stores `data` if the Secret is still the one of `resource_version`; otherwise the error is a
    /// conflict and nothing is changed.
    ///
    /// Forced, since a person who edited the data owns its fields from then on; what protects one
    /// leader from another is the version.
    pub(super) async fn write(&self, resource_version: &str, data: &Data) -> Result<(), CallError> {
        let bytes = data
            .iter()
            .map(|(key, value)| (key.clone(), ByteString(value.expose().clone())));
        let mut object = SecretObject {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                resource_version: Some(resource_version.to_owned()),
                ..ObjectMeta::default()
            },
            data: Some(bytes.collect()),
            ..SecretObject::default()
        };
        // Only the metadata comes back: no need to read the keys once more.
        let answer = within(self.api.patch_metadata(
            &self.name,
            &parameters(),
            &Patch::Apply(&object),
        ))
        .await;
        wipe(&mut object.data);
        answer.map(drop)
    }
}

fn parameters() -> PatchParams {
    PatchParams::apply(FIELD_MANAGER).force()
}

fn wipe(data: &mut Option<BTreeMap<String, ByteString>>) {
    for value in data.iter_mut().flat_map(BTreeMap::values_mut) {
        drop(Secret::new(mem::take(&mut value.0)));
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// The owner of every field that the operator writes.
pub(super) const FIELD_MANAGER: &str = "hallpass-operator";
