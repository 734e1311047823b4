//! Sets of scopes: what a token allows, all of it.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::name::{NameError, Scope};

/// Scopes of which there is at least one: a token without scopes allows nothing, and is not made. To clone a
/// set copies none of it, and to hold one takes little: there is one for each token of each policy.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ScopeSet(Arc<[Scope]>);

#[expect(clippy::len_without_is_empty, reason = "it is never empty")]
impl ScopeSet {
    /// The set of those scopes; [`None`] where there are none.
    pub fn new(scopes: impl IntoIterator<Item = Scope>) -> Option<Self> {
        let scopes: Vec<Scope> = scopes.into_iter().collect();
        (!scopes.is_empty()).then(|| Self::sorted(scopes))
    }

    fn sorted(mut scopes: Vec<Scope>) -> Self {
        scopes.sort_unstable();
        scopes.dedup();
        Self(scopes.into())
    }

    /// Reads the `scope` of RFC 6749 §3.3: scopes with single spaces between. A scope that is named
    /// twice is in the set once.
    ///
    /// # Errors
    /// The rule that one of the scopes breaks. Between two spaces there is an empty one.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let scopes = text.split(' ').map(Scope::parse);
        scopes.collect::<Result<_, _>>().map(Self::sorted)
    }

    /// Whether `scope` is among them, compared as it is written.
    #[must_use]
    pub fn contains(&self, scope: &Scope) -> bool {
        self.find(scope).is_some()
    }

    /// The one among them that is written like `scope`.
    pub(crate) fn find(&self, scope: &Scope) -> Option<&Scope> {
        self.0.get(self.0.binary_search(scope).ok()?)
    }

    /// Every scope once, sorted.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Scope> {
        self.0.iter()
    }

    /// How many there are: at least one.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Those that are not in the other.
    #[must_use]
    pub fn without(&self, other: &Self) -> Option<Self> {
        let lacking = self.0.iter().filter(|scope| !other.contains(scope));
        Self::new(lacking.cloned())
    }
}

/// The scopes as a token has them: sorted, with single spaces between.
impl fmt::Display for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, scope) in self.0.iter().enumerate() {
            let space = if place == 0 { "" } else { " " };
            write!(f, "{space}{scope}")?;
        }
        Ok(())
    }
}

impl TryFrom<String> for ScopeSet {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        Self::parse(&text)
    }
}

impl From<ScopeSet> for String {
    fn from(scopes: ScopeSet) -> Self {
        scopes.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn set(text: &str) -> ScopeSet {
        ScopeSet::parse(text).unwrap()
    }

    #[test]
    fn is_read_with_single_spaces_and_written_sorted() {
        for (text, expected) in [
            ("a", Ok("a")),
            ("b a", Ok("a b")),
            ("b a b", Ok("a b")),
            (
                "payments:refunds payments:read",
                Ok("payments:read payments:refunds"),
            ),
            ("", Err(NameError::Empty)),
            (" ", Err(NameError::Empty)),
            ("a  b", Err(NameError::Empty)),
            (" a", Err(NameError::Empty)),
            ("a ", Err(NameError::Empty)),
            ("a\tb", Err(NameError::NotPrintable)),
            ("a *", Err(NameError::Scope)),
        ] {
            let read = ScopeSet::parse(text).map(|set| set.to_string());
            assert_eq!(read, expected.map(str::to_owned), "{text:?}");
        }
        assert_eq!(ScopeSet::new([]), None);
        assert_eq!(serde_json::to_string(&set("b a")).unwrap(), r#""a b""#);
        assert_eq!(
            serde_json::from_str::<ScopeSet>(r#""b a""#).unwrap(),
            set("a b")
        );
        let refused = serde_json::from_str::<ScopeSet>(r#""a  b""#).unwrap_err();
        assert_eq!(refused.to_string(), NameError::Empty.to_string());
    }

    #[test]
    fn says_what_is_in_it_and_what_is_not_in_another() {
        let (two, three) = (set("b c"), set("a b d"));
        assert_eq!((two.len(), three.len()), (2, 3));
        assert_eq!(three.without(&two), Some(set("a d")));
        assert_eq!(two.without(&two), None);
        let scope = |text| Scope::parse(text).unwrap();
        assert!(two.contains(&scope("c")));
        assert!(!two.contains(&scope("C")));
        assert_eq!(
            two.iter().map(Scope::as_str).collect::<Vec<_>>(),
            ["b", "c"]
        );
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_as_the_same(scopes in prop::collection::vec("[!#-)+-\\[\\]-~]{1,9}", 1..9)) {
            let scopes = scopes.iter().map(|text| Scope::parse(text).unwrap());
            let written = ScopeSet::new(scopes).unwrap();
            prop_assert_eq!(ScopeSet::parse(&written.to_string()), Ok(written));
        }
    }
}
