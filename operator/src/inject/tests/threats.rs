//! What nobody can make of injection.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::{
    Asked, Injection,
    fixture::{asked, injected, patched, pods, sidecar},
};

/// Takes out what injection may add to a container of the pod, and nothing else.
fn without_ours(container: &mut Value, volume: &str) {
    let members = container.as_object_mut().unwrap();
    let mount = json!({"name": volume, "mountPath": "/var/run/hallpass", "readOnly": true});
    let socket = json!({"name": "HALLPASS_SOCKET", "value": "/var/run/hallpass/hallpass.sock"});
    let mounts = members["volumeMounts"].as_array_mut().unwrap();
    assert_eq!(mounts.pop(), Some(mount));
    let env = members["env"].as_array_mut().unwrap();
    if env.first() == Some(&socket) {
        env.remove(0);
    }
    for key in ["volumeMounts", "env"] {
        if members[key].as_array().unwrap().is_empty() {
            members.remove(key);
        }
    }
}

fn tidy(container: &mut Value) {
    let members = container.as_object_mut().unwrap();
    members.retain(|_, value| value.as_array().is_none_or(|list| !list.is_empty()));
}

proptest! {
    #[test]
    fn t30_the_patch_touches_containers_of_the_pod_only_in_their_mounts_and_environment(pod in pods()) {
        let mut seen = injected(&pod);
        let mut pod = pod;
        let inits = seen["spec"]["initContainers"].as_array_mut().unwrap();
        let ours = inits.iter().position(|c| c["name"] == "hallpass").unwrap();
        inits.remove(ours);
        for (list, letter) in [("containers", 'c'), ("initContainers", 'i')] {
            for (position, container) in seen["spec"][list].as_array_mut().unwrap().iter_mut().enumerate() {
                without_ours(container, &format!("hallpass-{letter}{position}"));
                tidy(&mut pod["spec"][list][position]);
            }
            let before = pod["spec"].get(list).cloned().unwrap_or_else(|| json!([]));
            prop_assert_eq!(&seen["spec"][list], &before);
        }
        let volumes = seen["spec"]["volumes"].as_array_mut().unwrap();
        volumes.retain(|v| !v["name"].as_str().unwrap().starts_with("hallpass-"));
        let before = pod["spec"].get("volumes").cloned().unwrap_or_else(|| json!([]));
        prop_assert_eq!(&seen["spec"]["volumes"], &before);
        let outside = |pod: &Value| {
            let mut spec = pod["spec"].clone();
            for list in ["containers", "initContainers", "volumes"] {
                spec.as_object_mut().unwrap().remove(list);
            }
            spec
        };
        prop_assert_eq!(outside(&seen), outside(&pod));
    }

    #[test]
    fn t30_no_annotation_says_anything_but_quantities_a_number_and_whether_it_waits(
        key in prop::sample::select(KEYS.to_vec()),
        value in prop_oneof![
            "\\PC{0,40}",
            "[0-9.]{0,12}(m|Ki|Mi|e3)?",
            prop::sample::select(ATTACKS.to_vec()).prop_map(str::to_owned),
        ],
        pod in pods(),
    ) {
        let plain = sidecar(&pod);
        let mut hostile = pod;
        hostile["metadata"]["annotations"][key] = json!(value);
        let Injection::Inject(patch) = asked(&hostile, Asked::ByPod) else {
            return Ok(());
        };
        let hostile = patched(&hostile, &patch);
        let inits = hostile["spec"]["initContainers"].as_array().unwrap();
        let seen = inits.iter().find(|c| c["name"] == "hallpass").unwrap();
        for (member, expected) in plain.as_object().unwrap() {
            if !["resources", "securityContext", "startupProbe"].contains(&member.as_str()) {
                prop_assert_eq!(&seen[member], expected);
            }
        }
        for list in ["requests", "limits"] {
            for (name, amount) in seen["resources"][list].as_object().into_iter().flatten() {
                prop_assert!(name == "cpu" || name == "memory");
                let text = amount.as_str().unwrap();
                prop_assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b)), "{}", text);
            }
        }
        let (mut context, mut expected) = (seen["securityContext"].clone(), plain["securityContext"].clone());
        for user in ["runAsUser", "runAsGroup"] {
            let number = context[user].as_u64().unwrap();
            prop_assert!((1..=2_147_483_647).contains(&number));
            (context[user], expected[user]) = (json!(0), json!(0));
        }
        prop_assert_eq!(context, expected);
        if let Some(probe) = seen.get("startupProbe") {
            prop_assert_eq!(probe, &plain["startupProbe"]);
        }
    }
}

const KEYS: [&str; 9] = [
    "hallpass.dev/start",
    "hallpass.dev/cpu-request",
    "hallpass.dev/memory-request",
    "hallpass.dev/cpu-limit",
    "hallpass.dev/memory-limit",
    "hallpass.dev/run-as-user",
    // Nothing is read from these.
    "hallpass.dev/image",
    "hallpass.dev/args",
    "hallpass.dev/service-account",
];

const ATTACKS: [&str; 8] = [
    "evil.example/sidecar:latest",
    "../../../../etc",
    "1\",\"image\":\"evil",
    "/spec/containers/0/image",
    "0",
    "-1",
    "4294967296",
    "1e999999999999",
];
