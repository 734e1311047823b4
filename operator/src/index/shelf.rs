//! What one watch has delivered, by namespace and name; by name alone where a kind has no namespaces.

use std::{
    borrow::Borrow,
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    hash::{Hash, Hasher},
    sync::{PoisonError, RwLock},
};

use kube::runtime::watcher::Event;

/// An object on its way into a [`Shelf`].
#[derive(Debug, Clone)]
pub(super) struct Filed<K, T> {
    /// The namespace; `()` for a kind that has none.
    pub(super) within: K,
    pub(super) name: Box<str>,
    pub(super) record: T,
}

/// The objects of one watch.
///
/// # Guarantees
/// While a watch lists anew, what it has not listed yet stays as it was; once the list is complete, what was not in it
/// goes. So an object is in memory once: twice all of a large cluster's pods is more than everything else.
#[derive(Debug)]
pub(super) struct Shelf<K, T>(RwLock<State<K, T>>);

#[derive(Debug)]
struct State<K, T> {
    current: Objects<K, T>,
    /// How many objects that is.
    size: usize,
    /// Which list is the last that was begun.
    list: u32,
    /// What the first list has brought.
    touched: BTreeSet<K>,
    synced: bool,
}

/// Hashed: a request looks four of thousands up, and does not want to compare its way to them.
type Objects<K, T> = HashMap<K, HashSet<Named<T>>>;

/// An object, which is found by its name. In a box: a hash table is half empty after it grew.
#[derive(Debug)]
struct Named<T>(Box<Entry<T>>);

#[derive(Debug)]
struct Entry<T> {
    name: Box<str>,
    record: T,
    /// The last list that it was in, or that had been begun when it came.
    list: u32,
}

impl<K, T> Default for Shelf<K, T> {
    fn default() -> Self {
        Self(RwLock::new(State {
            current: HashMap::new(),
            size: 0,
            list: 0,
            touched: BTreeSet::new(),
            synced: false,
        }))
    }
}

impl<T> Borrow<str> for Named<T> {
    fn borrow(&self) -> &str {
        &self.0.name
    }
}

impl<T> Hash for Named<T> {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.0.name.hash(hasher);
    }
}

impl<T> PartialEq for Named<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0.name == other.0.name
    }
}

impl<T> Eq for Named<T> {}

impl<K: Clone + Ord + Hash, T: Clone + PartialEq> Shelf<K, T> {
    /// Takes one event of the watch and returns the namespaces that are not what they were. What the first list brings is
    /// told when it is complete: it is worked on once, and not after each of its pages. What a later one brings counts
    /// as it comes: nobody knows when that list ends.
    pub(super) fn take(&self, event: Event<Filed<K, T>>) -> BTreeSet<K> {
        let mut state = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Init => {
                state.list = state.list.wrapping_add(1);
                BTreeSet::new()
            }
            Event::InitApply(filed) if !state.synced => {
                let touched = state.put(filed);
                state.touched.extend(touched);
                BTreeSet::new()
            }
            Event::InitDone => {
                state.synced = true;
                let swept = state.sweep();
                state.touched.extend(swept);
                std::mem::take(&mut state.touched)
            }
            Event::InitApply(filed) | Event::Apply(filed) => state.put(filed).into_iter().collect(),
            Event::Delete(filed) => state.remove(&filed).into_iter().collect(),
        }
    }

    /// Whether a whole list has been delivered.
    pub(super) fn synced(&self) -> bool {
        self.read(|state| state.synced)
    }

    pub(super) fn get<Q: Eq + Hash + ?Sized>(&self, within: &Q, name: &str) -> Option<T>
    where
        K: Borrow<Q>,
    {
        self.look(within, name, T::clone)
    }

    /// The namespace as it is kept, where there is an object in it: who has it from here takes no more memory.
    pub(super) fn kept(&self, within: &K) -> Option<K> {
        self.read(|state| Some(state.current.get_key_value(within)?.0.clone()))
    }

    /// What `look` says of the object of that name.
    pub(super) fn look<Q: Eq + Hash + ?Sized, R>(
        &self,
        within: &Q,
        name: &str,
        look: impl FnOnce(&T) -> R,
    ) -> Option<R>
    where
        K: Borrow<Q>,
    {
        self.read(|state| Some(look(&state.current.get(within)?.get(name)?.0.record)))
    }

    /// The objects of one namespace, by name.
    pub(super) fn of<Q: Eq + Hash + ?Sized>(&self, within: &Q) -> BTreeMap<Box<str>, T>
    where
        K: Borrow<Q>,
    {
        self.read(|state| {
            let there = state.current.get(within).into_iter().flatten();
            let there = there.map(|Named(entry)| (entry.name.clone(), entry.record.clone()));
            there.collect()
        })
    }

    /// What `pick` makes of the objects of one namespace.
    pub(super) fn collect_of<Q: Eq + Hash + ?Sized, B, C: FromIterator<B>>(
        &self,
        within: &Q,
        pick: impl Fn(&T) -> Option<B>,
    ) -> C
    where
        K: Borrow<Q>,
    {
        self.read(|state| {
            let there = state.current.get(within).into_iter();
            let there = there.flatten();
            there
                .filter_map(|Named(entry)| pick(&entry.record))
                .collect()
        })
    }

    /// Every namespace that has an object.
    pub(super) fn namespaces(&self) -> BTreeSet<K> {
        self.read(|state| state.current.keys().cloned().collect())
    }

    /// How many objects there are.
    pub(super) fn size(&self) -> usize {
        self.read(|state| state.size)
    }

    /// How many objects there are for which `wanted` holds.
    pub(super) fn count(&self, wanted: impl Fn(&T) -> bool) -> usize {
        self.read(|state| {
            let all = state.current.values().flatten();
            all.filter(|Named(entry)| wanted(&entry.record)).count()
        })
    }

    /// What `pick` makes of every object.
    pub(super) fn collect<B, C: FromIterator<B>>(&self, pick: impl Fn(&T) -> Option<B>) -> C {
        self.read(|state| {
            let all = state.current.values().flatten();
            all.filter_map(|Named(entry)| pick(&entry.record)).collect()
        })
    }

    fn read<R>(&self, look: impl FnOnce(&State<K, T>) -> R) -> R {
        // A writer that panicked leaves whole entries behind: an event is one insertion or one swap.
        look(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<K: Clone + Ord + Hash, T: PartialEq> State<K, T> {
    /// Puts an object in, or in the place of the one of its name; says where, if it was not there as it is.
    fn put(&mut self, filed: Filed<K, T>) -> Option<K> {
        let Filed {
            within,
            name,
            record,
        } = filed;
        let list = self.list;
        let there = self.current.entry(within.clone()).or_default();
        let known = there.get(&*name);
        let same = known.is_some_and(|Named(entry)| entry.record == record);
        // What is in a set is not changed where it is: it might be another one then.
        let entry = match there.take(&*name) {
            Some(Named(mut entry)) if same => {
                entry.list = list;
                entry
            }
            Some(_) => Box::new(Entry { name, record, list }),
            None => {
                self.size += 1;
                Box::new(Entry { name, record, list })
            }
        };
        there.insert(Named(entry));
        (!same).then_some(within)
    }

    fn remove(&mut self, filed: &Filed<K, T>) -> Option<K> {
        let there = self.current.get_mut(&filed.within)?;
        there.take(&*filed.name)?;
        self.size -= 1;
        if there.is_empty() {
            self.current.remove(&filed.within);
        }
        Some(filed.within.clone())
    }

    /// Lets go of what was not in the last list, and says where.
    fn sweep(&mut self) -> BTreeSet<K> {
        let (mut touched, list) = (BTreeSet::new(), self.list);
        self.current.retain(|within, there| {
            let before = there.len();
            there.retain(|Named(entry)| entry.list == list);
            let gone = before - there.len();
            if gone > 0 {
                self.size -= gone;
                touched.insert(within.clone());
                there.shrink_to_fit();
            }
            !there.is_empty()
        });
        touched
    }
}

#[cfg(test)]
mod tests;
