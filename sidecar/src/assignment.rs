//! What is to be held, compared with what is held. Pure.

use std::collections::BTreeMap;

use hallpass_core::{
    name::{ContainerName, TokenName},
    wire::Assignment,
};

/// What an answer of the operator changes about one token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// A token that was not held so far.
    Add(Assignment),
    /// The same token, seen by other containers or required otherwise.
    Adjust(Assignment),
    /// The same token with another lifetime or scope, or one whose audience came or went: fetched anew,
    /// and the one in hand serves until then.
    Renew(Assignment),
    /// Another audience: the one in hand is for somebody else and goes at once.
    Replace(Assignment),
    /// No longer assigned.
    Remove(TokenName),
}

/// The changes that lead from `held` to `wanted` in a pod with the containers `here`. A token that
/// none of them sees is not held. Of two entries with one name the first counts.
pub(crate) fn changes(
    held: &BTreeMap<TokenName, &Assignment>,
    wanted: Vec<Assignment>,
    here: &[ContainerName],
) -> Vec<Change> {
    let mut new = BTreeMap::new();
    for assignment in wanted {
        if here
            .iter()
            .any(|container| is_seen_by(&assignment, container))
        {
            new.entry(assignment.name.clone()).or_insert(assignment);
        }
    }
    let removed = held.keys().filter(|name| !new.contains_key(*name)).cloned();
    let mut changes: Vec<_> = removed.map(Change::Remove).collect();
    for (name, assignment) in new {
        match held.get(&name) {
            None => changes.push(Change::Add(assignment)),
            Some(old) if is_for_another(old, &assignment) => {
                changes.push(Change::Replace(assignment));
            }
            Some(old) if is_another(old, &assignment) => changes.push(Change::Renew(assignment)),
            Some(old) if **old != assignment => changes.push(Change::Adjust(assignment)),
            Some(_) => {}
        }
    }
    changes
}

/// An audience that is not known is not another one: its owner may be about to state it anew.
fn is_for_another(old: &Assignment, new: &Assignment) -> bool {
    matches!((&old.audience, &new.audience), (Some(old), Some(new)) if old != new)
}

fn is_another(old: &Assignment, new: &Assignment) -> bool {
    let about = |a: &Assignment| (a.audience.clone(), a.lifetime_seconds, a.scope.clone());
    about(old) != about(new)
}

/// Whether a container may see the token.
pub(crate) fn is_seen_by(assignment: &Assignment, container: &ContainerName) -> bool {
    match &assignment.containers {
        None => true,
        Some(containers) => containers.contains(container),
    }
}

#[cfg(test)]
mod tests {
    use hallpass_core::{name::Audience, scope::ScopeSet};

    use super::*;

    fn assignment(name: &str, audience: &str, lifetime_seconds: u32) -> Assignment {
        Assignment {
            name: TokenName::parse(name).unwrap(),
            audience: Some(Audience::parse(audience).unwrap()),
            lifetime_seconds: Some(lifetime_seconds),
            scope: None,
            required: true,
            containers: None,
        }
    }

    fn container(name: &str) -> ContainerName {
        ContainerName::parse(name).unwrap()
    }

    fn only_for(name: &str, mut assignment: Assignment) -> Assignment {
        assignment.containers = Some(vec![container(name)]);
        assignment
    }

    fn from(held: &[Assignment], wanted: Vec<Assignment>) -> Vec<Change> {
        let held = held.iter().map(|a| (a.name.clone(), a)).collect();
        changes(&held, wanted, &[container("app"), container("init")])
    }

    #[test]
    fn each_difference_is_a_change_of_its_own_kind() {
        let old = assignment("vault", "a", 600);
        let scoped = Assignment {
            scope: ScopeSet::parse("read").ok(),
            ..old.clone()
        };
        let unallowed = Assignment {
            audience: None,
            lifetime_seconds: None,
            ..old.clone()
        };
        let cases = [
            (scoped.clone(), vec![Change::Renew(scoped)]),
            (unallowed.clone(), vec![Change::Renew(unallowed)]),
            (assignment("vault", "a", 600), vec![]),
            (
                assignment("vault", "a", 900),
                vec![Change::Renew(assignment("vault", "a", 900))],
            ),
            (
                assignment("vault", "b", 900),
                vec![Change::Replace(assignment("vault", "b", 900))],
            ),
            (
                only_for("app", old.clone()),
                vec![Change::Adjust(only_for("app", old.clone()))],
            ),
            (
                only_for("elsewhere", old.clone()),
                vec![Change::Remove(old.name.clone())],
            ),
        ];
        for (wanted, expected) in cases {
            assert_eq!(from(std::slice::from_ref(&old), vec![wanted]), expected);
        }
    }

    #[test]
    fn a_token_comes_and_goes_with_its_assignment() {
        let old = assignment("vault", "a", 600);
        assert_eq!(from(&[], vec![old.clone()]), [Change::Add(old.clone())]);
        assert_eq!(
            from(std::slice::from_ref(&old), vec![]),
            [Change::Remove(old.name)]
        );
    }

    #[test]
    fn a_token_that_no_container_here_sees_is_not_held() {
        assert_eq!(
            from(
                &[],
                vec![only_for("elsewhere", assignment("vault", "a", 600))]
            ),
            []
        );
    }

    #[test]
    fn of_two_entries_with_one_name_the_first_counts() {
        let (first, second) = (assignment("vault", "a", 600), assignment("vault", "b", 600));
        assert_eq!(from(&[], vec![first.clone(), second]), [Change::Add(first)]);
    }
}
