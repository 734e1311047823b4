//! Pods as two of them can be compared.

use anyhow::Result;
use serde_json::Value;

/// The pod without what is different each time it is created, and without what asks for injection.
///
/// # Errors
/// It has no JSON form.
pub fn comparable(pod: &Value) -> Result<Value> {
    let token = |v: &&Value| {
        v["name"]
            .as_str()
            .is_some_and(|n| n.starts_with("kube-api-access-"))
    };
    let volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
    let mut text = pod.to_string();
    if let Some(name) = volumes
        .filter(token)
        .find_map(|volume| volume["name"].as_str())
    {
        text = text.replace(name, "kube-api-access");
    }
    let mut pod: Value = serde_json::from_str(&text)?;
    for key in ["uid", "creationTimestamp", "name", "managedFields"] {
        remove(&mut pod["metadata"], key);
    }
    remove(&mut pod["metadata"]["labels"], "hallpass.dev/inject");
    Ok(pod)
}

/// Empty lists and absent ones are the same, and mounts have no order among themselves.
pub fn tidy(pod: &mut Value) {
    let empty = |value: &Value| {
        value.is_null()
            || value.as_array().is_some_and(Vec::is_empty)
            || value.as_object().is_some_and(serde_json::Map::is_empty)
    };
    for part in ["metadata", "spec"] {
        if let Some(members) = pod[part].as_object_mut() {
            members.retain(|_, value| !empty(value));
        }
    }
    for list in ["containers", "initContainers"] {
        for container in pod["spec"][list].as_array_mut().into_iter().flatten() {
            if let Some(mounts) = container["volumeMounts"].as_array_mut() {
                mounts.sort_by_key(ToString::to_string);
            }
            if let Some(members) = container.as_object_mut() {
                members.retain(|_, value| !empty(value));
            }
        }
    }
}

/// Takes a member out of an object; null where there is none.
pub fn remove(object: &mut Value, key: &str) -> Value {
    let members = object.as_object_mut();
    members
        .and_then(|members| members.remove(key))
        .unwrap_or_default()
}
