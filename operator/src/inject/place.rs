//! Where the containers are, and what their directories are called.

use super::pod::{Container, Pod};

/// A container of the pod with the volume that becomes its directory.
#[derive(Debug)]
pub(super) struct Place<'a> {
    /// Its JSON pointer (RFC 6901), before anything is inserted.
    pub(super) pointer: String,
    /// Named by position: a container's name may take all 63 characters of a volume's.
    pub(super) volume: String,
    pub(super) container: &'a Container,
}

/// Every container, init containers last.
pub(super) fn places(pod: &Pod) -> Vec<Place<'_>> {
    let of = |list: &'static str, letter: char| {
        move |(position, container)| Place {
            pointer: format!("/spec/{list}/{position}"),
            volume: format!("{OURS}{letter}{position}"),
            container,
        }
    };
    let containers = pod.spec.containers.iter().enumerate();
    let inits = pod.init_containers().iter().enumerate();
    containers
        .map(of("containers", 'c'))
        .chain(inits.map(of("initContainers", 'i')))
        .collect()
}

/// What the names of our volumes begin with.
pub(super) const OURS: &str = "hallpass-";
/// The volume with the sidecar's identity.
pub(super) const IDENTITY: &str = "hallpass-identity";
/// The volume from which a sidecar that crashed goes on.
pub(super) const CACHE: &str = "hallpass-cache";
