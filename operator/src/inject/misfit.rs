//! Why the sidecar cannot be added to a pod, word for word as the chart's `hallpass.misfit` says it.

use super::{
    bounded::Element,
    place::OURS,
    pod::{Container, Mount, Pod, SIDECAR},
    shown,
};

/// The first reason, as a sentence.
pub(super) fn misfit(pod: &Pod) -> Option<String> {
    let spec = &pod.spec;
    let dns = spec.dns_policy.as_deref().unwrap_or_default();
    let text = if os(pod) == Some("windows") {
        "the sidecar runs on Linux only, and the pod asks for Windows"
    } else if spec.host_network == Some(true) && dns != "ClusterFirstWithHostNet" {
        "a pod with hostNetwork finds the operator only with dnsPolicy: ClusterFirstWithHostNet"
    } else if dns == "Default" {
        "a pod finds the operator only by the cluster's DNS, and dnsPolicy: Default is that of its node; leave it out"
    } else if pod.all_containers().any(|c| c.name == SIDECAR) {
        "the container name hallpass is the name of the sidecar; rename that container"
    } else {
        return reserved(pod)
            .or_else(|| taken(pod))
            .or_else(|| too_many(pod));
    };
    Some(text.to_owned())
}

fn os(pod: &Pod) -> Option<&str> {
    let spec = &pod.spec;
    let selected = || spec.node_selector.as_ref()?.get("kubernetes.io/os");
    match &spec.os {
        Some(os) => Some(&os.name),
        None => selected().map(String::as_str),
    }
}

fn reserved(pod: &Pod) -> Option<String> {
    let volumes = pod.spec.volumes.as_deref().unwrap_or_default();
    let volume = volumes.iter().find(|volume| volume.matters())?;
    Some(format!(
        "volume names that begin with hallpass- are reserved; rename volume {}",
        shown(&volume.name)
    ))
}

fn taken(pod: &Pod) -> Option<String> {
    let takes = |container: &&Container| {
        let mounts = container.volume_mounts.as_deref().unwrap_or_default();
        mounts.iter().any(Element::matters)
    };
    let container = pod.all_containers().find(takes)?;
    Some(format!(
        "the tokens are mounted at /var/run/hallpass; container {} mounts something there already, move it",
        shown(&container.name)
    ))
}

/// Each container of a few bytes has some hundred in the patch: whoever asks decides on neither.
fn too_many(pod: &Pod) -> Option<String> {
    (pod.all_containers().count() > MOST_CONTAINERS)
        .then(|| format!("the pod has more than {MOST_CONTAINERS} containers"))
}

/// Whether a mount takes what is the sidecar's, as the chart's `hallpass.isOurMount`: the path is read as the
/// kubelet reads it, a relative one from the root, `//` and `/./` as `/`. A volume of ours that the pod itself
/// names would exist only after injection.
pub(super) fn is_our_mount(mount: &Mount) -> bool {
    mount.name.starts_with(OURS) || is_our_directory(&mount.mount_path)
}

fn is_our_directory(path: &str) -> bool {
    let path = rooted(path);
    let within_var = path.strip_prefix("var/").map(rooted);
    let run = within_var.unwrap_or(path).strip_prefix("run/");
    let ours = run.and_then(|path| rooted(path).strip_prefix("hallpass"));
    ours.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The path without what stands for the directory that it begins in.
fn rooted(mut path: &str) -> &str {
    while let Some(rest) = path.strip_prefix('/').or_else(|| path.strip_prefix("./")) {
        path = rest;
    }
    path
}

/// Far more than a node starts of one pod.
pub(super) const MOST_CONTAINERS: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_ours_as_the_kubelet_reads_it() {
        for ours in [
            "/var/run/hallpass",
            "/run/hallpass",
            "var/run/hallpass",
            "./run//hallpass/",
            "//var/.//run/./hallpass/a",
            "/././run/hallpass/a/b",
        ] {
            assert!(is_our_directory(ours), "{ours}");
        }
        for other in [
            "",
            "/",
            "/run",
            "/var/run",
            "/run/hallpassed",
            "/srv/run/hallpass",
            "/var/var/run/hallpass",
            "/runhallpass",
            "/varrun/hallpass",
            "/run/.hallpass",
            "../run/hallpass",
        ] {
            assert!(!is_our_directory(other), "{other}");
        }
    }
}
