//! The objects, their versions, and who wrote them how often.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use hallpass_e2e::wait::now;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::object::Object;

/// A namespace, empty where there is none, and a name.
pub(crate) type Key = (String, String);

/// All objects.
#[derive(Debug, Default)]
pub(crate) struct Store {
    inner: Mutex<Inner>,
    version: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Inner {
    version: u64,
    /// Watches that began before this version have to list anew.
    oldest: u64,
    kinds: BTreeMap<String, Kind>,
}

/// The objects at one path.
#[derive(Debug, Default)]
struct Kind {
    objects: BTreeMap<Key, Arc<Object>>,
    changes: Vec<Change>,
    writes: BTreeMap<Key, u32>,
    ready: BTreeSet<Key>,
    lists: u32,
}

/// A change for those who watch.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) version: u64,
    pub(crate) kind: &'static str,
    pub(crate) namespace: String,
    pub(crate) object: Arc<Object>,
}

/// Which objects are meant.
#[derive(Debug, Clone, Default)]
pub(crate) struct Selection {
    pub(crate) namespace: Option<String>,
    /// Each is in the text of their metadata.
    pub(crate) labels: Vec<String>,
}

/// Why something was not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    Missing,
    /// It is another object, or another version of it.
    Conflict,
}

/// A page of a list.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) version: u64,
    pub(crate) objects: Vec<Arc<Object>>,
    /// Where the next one begins.
    pub(crate) next: Option<Key>,
}

/// What was written of the objects at one path.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Written {
    /// Of all of them.
    pub(crate) writes: u32,
    /// Of the one that was written most often.
    pub(crate) most: u32,
}

/// How a patch is joined with what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patch {
    /// Server-side apply, as far as one writer needs it: what is not there is made.
    Apply,
    Merge,
}

impl Store {
    /// Puts an object there that nobody wrote.
    pub(crate) fn put(&self, path: &str, namespace: &str, object: Value) {
        let mut inner = self.lock();
        let version = inner.next();
        let kind = inner.kinds.entry(path.to_owned()).or_default();
        let key = (namespace.to_owned(), name(&object));
        kind.keep(key, object, version, "ADDED");
    }

    /// A page of at most that many, from behind `after` on.
    pub(crate) fn list(
        &self,
        path: &str,
        wanted: &Selection,
        after: Option<Key>,
        limit: usize,
    ) -> Page {
        let mut inner = self.lock();
        let version = inner.version;
        let kind = inner.kinds.entry(path.to_owned()).or_default();
        kind.lists += 1;
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let all = kind.objects.range((from, Bound::Unbounded));
        let mut all = all.filter(|(key, object)| wanted.has(&key.0, object));
        let page: Vec<_> = all.by_ref().take(limit).collect();
        let last = page.last().map(|(key, _)| (*key).clone());
        let next = all.next().and(last);
        let objects = page.into_iter().map(|(_, object)| Arc::clone(object));
        Page {
            version,
            objects: objects.collect(),
            next,
        }
    }

    pub(crate) fn get(&self, path: &str, key: &Key) -> Option<Arc<Object>> {
        self.lock().kinds.get(path)?.objects.get(key).cloned()
    }

    /// Makes a new one; none where there is one.
    pub(crate) fn create(&self, path: &str, key: Key, object: Value) -> Option<Arc<Object>> {
        let mut inner = self.lock();
        let version = inner.next();
        let kind = inner.kinds.entry(path.to_owned()).or_default();
        kind.count(&key);
        if kind.objects.contains_key(&key) {
            return None;
        }
        let object = kind.keep(key, object, version, "ADDED");
        drop(inner);
        self.tell();
        Some(object)
    }

    /// Changes one, its status alone where `status` says so. What would be the same stays as it is.
    pub(crate) fn patch(
        &self,
        path: &str,
        key: Key,
        mut patch: Value,
        (how, status): (Patch, bool),
    ) -> Result<Arc<Object>, Refused> {
        let mut inner = self.lock();
        let version = inner.next();
        let kind = inner.kinds.entry(path.to_owned()).or_default();
        kind.count(&key);
        let Some(found) = kind.objects.get(&key).cloned() else {
            if how == Patch::Merge || status {
                return Err(Refused::Missing);
            }
            let made = kind.keep(key, patch, version, "ADDED");
            drop(inner);
            self.tell();
            return Ok(made);
        };
        let before = found.value();
        for precondition in ["uid", "resourceVersion"] {
            let wanted = &patch["metadata"][precondition];
            if wanted.is_string() && *wanted != before["metadata"][precondition] {
                return Err(Refused::Conflict);
            }
        }
        if status {
            patch = json!({"status": patch["status"]});
        }
        let mut after = before.clone();
        merge(&mut after, patch, how);
        if after == before {
            return Ok(found);
        }
        let changed = kind.keep(key, after, version, "MODIFIED");
        drop(inner);
        self.tell();
        Ok(changed)
    }

    /// Whether there was one.
    pub(crate) fn delete(&self, path: &str, key: &Key) -> bool {
        let mut inner = self.lock();
        let version = inner.next();
        let kind = inner.kinds.entry(path.to_owned()).or_default();
        kind.count(key);
        let Some(object) = kind.objects.remove(key) else {
            return false;
        };
        kind.changes.push(Change {
            version,
            kind: "DELETED",
            namespace: key.0.clone(),
            object,
        });
        drop(inner);
        self.tell();
        true
    }

    /// What came after that version; none where that is too long ago.
    pub(crate) fn changes(
        &self,
        path: &str,
        wanted: &Selection,
        after: u64,
    ) -> Option<(Vec<Change>, u64)> {
        let inner = self.lock();
        if after < inner.oldest {
            return None;
        }
        let all = inner.kinds.get(path).map(|kind| &kind.changes[..]);
        let all = all.unwrap_or_default();
        let begin = all.partition_point(|change| change.version <= after);
        let meant = |change: &&Change| wanted.has(&change.namespace, &change.object);
        let changes = all[begin..].iter().filter(meant).cloned().collect();
        Some((changes, inner.version))
    }

    /// Tells the version whenever it is another one.
    pub(crate) fn version(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Has everybody list everything anew.
    pub(crate) fn forget_changes(&self) {
        let mut inner = self.lock();
        inner.oldest = inner.next();
        for kind in inner.kinds.values_mut() {
            kind.changes.clear();
        }
        drop(inner);
        self.tell();
    }

    /// How often the objects at that path were listed, pages counted.
    pub(crate) fn lists(&self, path: &str) -> u32 {
        self.lock().kinds.get(path).map_or(0, |kind| kind.lists)
    }

    /// What was written everywhere, by path. A review is a question and not kept.
    pub(crate) fn all_written(&self) -> BTreeMap<String, Written> {
        let inner = self.lock();
        let written = inner
            .kinds
            .iter()
            .map(|(path, kind)| (path, kind.written()));
        let written = written.filter(|(_, written)| written.writes > 0);
        written
            .map(|(path, written)| (path.clone(), written))
            .collect()
    }

    /// Has what was written so far not count.
    pub(crate) fn forget_writes(&self) {
        for kind in self.lock().kinds.values_mut() {
            kind.writes.clear();
        }
    }

    /// How many objects there have the condition `Ready`.
    pub(crate) fn ready(&self, path: &str) -> usize {
        self.lock()
            .kinds
            .get(path)
            .map_or(0, |kind| kind.ready.len())
    }

    fn tell(&self) {
        let version = self.lock().version;
        self.version.send_replace(version);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Selection {
    fn has(&self, namespace: &str, object: &Object) -> bool {
        let here = self.namespace.as_deref();
        let labelled = |label: &String| object.metadata().contains(label.as_str());
        here.is_none_or(|here| here == namespace) && self.labels.iter().all(labelled)
    }
}

impl Inner {
    const fn next(&mut self) -> u64 {
        self.version += 1;
        self.version
    }
}

impl Kind {
    fn count(&mut self, key: &Key) {
        *self.writes.entry(key.clone()).or_default() += 1;
    }

    fn written(&self) -> Written {
        Written {
            writes: self.writes.values().sum(),
            most: self.writes.values().copied().max().unwrap_or(0),
        }
    }

    fn keep(
        &mut self,
        key: Key,
        mut object: Value,
        version: u64,
        how: &'static str,
    ) -> Arc<Object> {
        let metadata = &mut object["metadata"];
        metadata["resourceVersion"] = json!(version.to_string());
        metadata["name"] = json!(key.1);
        if !key.0.is_empty() {
            metadata["namespace"] = json!(key.0);
        }
        for (member, value) in [
            (
                "uid",
                json!(format!("00000000-0000-4000-8000-{version:012x}")),
            ),
            (
                "creationTimestamp",
                json!(now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
            ),
            ("generation", json!(1)),
        ] {
            if metadata[member].is_null() {
                metadata[member] = value;
            }
        }
        let of = |condition: &Value| condition["type"] == "Ready" && condition["status"] == "True";
        let conditions = object["status"]["conditions"].as_array();
        if conditions.is_some_and(|all| all.iter().any(of)) {
            self.ready.insert(key.clone());
        } else {
            self.ready.remove(&key);
        }
        let kept = Arc::new(Object::of(object));
        self.objects.insert(key.clone(), Arc::clone(&kept));
        if how != "ADDED" || !self.changes.is_empty() || self.lists > 0 {
            self.changes.push(Change {
                version,
                kind: how,
                namespace: key.0,
                object: Arc::clone(&kept),
            });
        }
        kept
    }
}

fn name(object: &Value) -> String {
    let name = object["metadata"]["name"].as_str();
    name.unwrap_or_default().to_owned()
}

fn merge(into: &mut Value, from: Value, how: Patch) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (member, value) in from {
                if value.is_null() && how == Patch::Merge {
                    into.remove(&member);
                } else {
                    merge(into.entry(member).or_insert(Value::Null), value, how);
                }
            }
        }
        (Value::Array(into), Value::Array(from)) if how == Patch::Apply && are_typed(&from) => {
            for item in from {
                match into.iter_mut().find(|there| there["type"] == item["type"]) {
                    Some(there) => merge(there, item, how),
                    None => into.push(item),
                }
            }
        }
        (into, from) => *into = from,
    }
}

/// Whether those are conditions, which are joined by their type.
fn are_typed(items: &[Value]) -> bool {
    !items.is_empty() && items.iter().all(|item| item["type"].is_string())
}
