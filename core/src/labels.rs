//! The labels of a pod, in one piece of memory: there are more pods than anything else.

use std::{collections::BTreeMap, fmt, sync::Arc};

/// The labels of one pod. To clone them copies none.
///
/// # Guarantees
/// Each key has one value. They take the bytes of their texts, two more for each, and the head of one piece of memory.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodLabels(
    /// Key and value of each, sorted by key, with [`END`] behind each text.
    Arc<str>,
);

impl PodLabels {
    /// The value of that label.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.iter().find(|(k, _)| *k == key).map(|(_, value)| value)
    }

    /// Each with its value, sorted by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut texts = self.0.split_terminator(END);
        std::iter::from_fn(move || Some((texts.next()?, texts.next()?)))
    }

    /// Whether it has all of these. Both are looked through once, side by side.
    #[must_use]
    pub fn have_all(&self, wanted: &BTreeMap<String, String>) -> bool {
        let mut there = self.iter();
        wanted.iter().all(|(key, value)| {
            let same = there.find(|(k, _)| *k >= key.as_str());
            same == Some((key.as_str(), value.as_str()))
        })
    }

    /// Bytes of all of them.
    #[must_use]
    pub fn size(&self) -> usize {
        self.0.len()
    }
}

impl Default for PodLabels {
    fn default() -> Self {
        Self("".into())
    }
}

impl fmt::Debug for PodLabels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// Of two with the same key the later counts. One that holds a zero byte, which Kubernetes lets no label hold, is
/// left out. Where there are more than [`MOST`], or more bytes than [`MOST_BYTES`], there are none: Kubernetes bounds each
/// label and not their number, and for each request they are looked through. Fewer policies select a pod then, never more.
impl<K: AsRef<str>, V: AsRef<str>> FromIterator<(K, V)> for PodLabels {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(labels: I) -> Self {
        let labels: Vec<(K, V)> = labels.into_iter().collect();
        let labels = labels.iter().map(|(k, v)| (k.as_ref(), v.as_ref()));
        let labels = labels.filter(|(k, v)| !k.contains(END) && !v.contains(END));
        let labels: BTreeMap<&str, &str> = labels.collect();
        let size = labels.iter().map(|(k, v)| k.len() + v.len() + 2).sum();
        if labels.len() > MOST || size > MOST_BYTES {
            return Self::default();
        }
        let mut packed = String::with_capacity(size);
        for text in labels.into_iter().flat_map(|(k, v)| [k, v]) {
            packed.push_str(text);
            packed.push(END);
        }
        Self(packed.into())
    }
}

const END: char = '\0';

/// Labels of one pod: many times those of any that people use.
const MOST: usize = 256;

/// Bytes of one pod's labels.
const MOST_BYTES: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> PodLabels {
        pairs.iter().copied().collect()
    }

    #[test]
    fn are_found_by_their_whole_key() {
        let labels = labels(&[
            ("app", "orders"),
            ("a", "b"),
            ("empty", ""),
            ("orders", "x"),
        ]);
        assert_eq!(labels.get("app"), Some("orders"));
        assert_eq!(labels.get("empty"), Some(""));
        assert_eq!(labels.get("orders"), Some("x"));
        for other in ["ap", "apps", "b", "", "app\0orders"] {
            assert_eq!(labels.get(other), None, "{other:?}");
        }
        let all: Vec<_> = labels.iter().collect();
        assert_eq!(
            all,
            [
                ("a", "b"),
                ("app", "orders"),
                ("empty", ""),
                ("orders", "x")
            ]
        );
    }

    #[test]
    fn are_equal_whatever_their_order_was() {
        let (one, other) = (
            labels(&[("a", "1"), ("b", "2")]),
            labels(&[("b", "2"), ("a", "1")]),
        );
        assert_eq!(one, other);
        assert_ne!(one, labels(&[("a", "1"), ("b", "3")]));
        assert_ne!(labels(&[("a", "")]), labels(&[("", "a")]));
    }

    #[test]
    fn all_that_are_wanted_have_to_be_there() {
        let there = labels(&[("app", "orders"), ("tier", "api"), ("x", "y")]);
        for (wanted, expected) in [
            (&[][..], true),
            (&[("app", "orders")], true),
            (&[("x", "y")], true),
            (&[("app", "orders"), ("x", "y")], true),
            (&[("app", "orders"), ("tier", "api"), ("x", "y")], true),
            (&[("app", "api")], false),
            (&[("tier", "api"), ("y", "y")], false),
            (&[("a", "orders"), ("app", "orders")], false),
            (&[("zone", "a")], false),
        ] {
            let wanted = wanted.iter().map(|(k, v)| ((*k).into(), (*v).into()));
            assert_eq!(there.have_all(&wanted.collect()), expected, "{expected}");
        }
    }

    #[test]
    fn of_more_than_any_pod_needs_there_are_none() {
        let many = |count: usize| -> PodLabels {
            let labels = (0..count).map(|number| (format!("l{number}"), ""));
            labels.collect()
        };
        assert_eq!(many(MOST).iter().count(), MOST);
        assert_eq!(many(MOST + 1).iter().count(), 0);
        let large = |bytes: usize| labels(&[("big", &"x".repeat(bytes))]);
        assert_eq!(large(MOST_BYTES - 5).iter().count(), 1);
        assert_eq!(large(MOST_BYTES - 4).iter().count(), 0);
    }

    #[test]
    fn one_with_a_zero_byte_is_none() {
        let labels = labels(&[("a\0b", "c"), ("d", "e\0f"), ("app", "orders")]);
        assert_eq!(labels.iter().collect::<Vec<_>>(), [("app", "orders")]);
    }

    #[test]
    fn of_two_with_the_same_key_the_later_counts() {
        let labels = labels(&[("app", "orders"), ("app", "bank")]);
        assert_eq!(labels.iter().collect::<Vec<_>>(), [("app", "bank")]);
    }
}
