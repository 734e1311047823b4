//! Lists and maps that take bounded memory whatever a body says: of its elements three bytes each would become
//! some two hundred, and whoever can reach the webhook writes the body.

use std::{collections::BTreeMap, fmt, marker::PhantomData, ops::Deref};

use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

/// The first `MOST` elements of a list of those that matter. The others are read over and take no memory.
#[derive(Debug)]
pub(super) struct First<T, const MOST: usize>(Vec<T>);

/// What a list is made of.
pub(super) trait Element {
    /// Whether anything depends on it.
    fn matters(&self) -> bool {
        true
    }
}

/// A map. One of more than [`MOST_MEMBERS`] cannot be read.
#[derive(Debug)]
pub(super) struct Map<V>(BTreeMap<String, V>);

impl<T, const MOST: usize> Deref for First<T, MOST> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<V> Deref for Map<V> {
    type Target = BTreeMap<String, V>;

    fn deref(&self) -> &BTreeMap<String, V> {
        &self.0
    }
}

impl<'de, T: Deserialize<'de> + Element, const MOST: usize> Deserialize<'de> for First<T, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Reader::<Self>(PhantomData))
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Map<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Reader::<Self>(PhantomData))
    }
}

/// Reads a `T`.
struct Reader<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de> + Element, const MOST: usize> Visitor<'de>
    for Reader<First<T, MOST>>
{
    type Value = First<T, MOST>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut first = Vec::new();
        while first.len() < MOST {
            match list.next_element::<T>()? {
                Some(element) if element.matters() => first.push(element),
                Some(_) => {}
                None => return Ok(First(first)),
            }
        }
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(First(first))
    }
}

impl<'de, V: Deserialize<'de>> Visitor<'de> for Reader<Map<V>> {
    type Value = Map<V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut map = BTreeMap::new();
        while let Some((key, value)) = members.next_entry()? {
            map.insert(key, value);
            if map.len() > MOST_MEMBERS {
                return Err(A::Error::custom(format_args!(
                    "a map has more than {MOST_MEMBERS} members"
                )));
            }
        }
        Ok(Map(map))
    }
}

/// Annotations have 256 KiB in all: of the shortest that are used there are not as many.
pub(super) const MOST_MEMBERS: usize = 16 * 1024;
