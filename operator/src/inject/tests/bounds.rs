//! What a body of many small elements becomes.

use serde_json::json;

use super::super::{
    Asked, Injection, Pod,
    bounded::MOST_MEMBERS,
    fixture::{CA, pod, settings},
    inject,
    pod::Container,
};

/// The pod with that text at the place of `"@"`.
fn with(pod: &serde_json::Value, text: &str) -> serde_json::Result<Pod> {
    serde_json::from_str(&pod.to_string().replacen(r#""@""#, text, 1))
}

/// A list of 8 MiB.
fn list(element: &str) -> String {
    let count = 8 * 1024 * 1024 / (element.len() + 1);
    format!("[{}]", vec![element; count].join(","))
}

#[test]
fn t31_a_list_of_millions_of_containers_is_kept_up_to_the_first_that_is_too_many() {
    for key in ["containers", "initContainers"] {
        let mut many = pod();
        many["spec"][key] = json!("@");
        let many = with(&many, &list("{}")).unwrap();
        assert!(many.all_containers().count() <= 258, "{key}");
        match inject(&many, "shop", Asked::ByPod, &settings(), Some(CA)) {
            Injection::Deny(denial) => assert!(
                denial
                    .message
                    .contains("the pod has more than 256 containers"),
                "{denial:?}"
            ),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn t31_of_millions_of_mounts_variables_and_volumes_those_are_kept_that_matter() {
    let kept = |container: &Container| {
        let env = container.env.as_deref().map(<[_]>::len);
        (container.volume_mounts.as_deref().map(<[_]>::len), env)
    };
    for (element, most) in [
        ("{}", 0),
        (r#"{"name":"hallpass-c0"}"#, 1),
        (r#"{"name":"HALLPASS_SOCKET"}"#, 1),
    ] {
        for key in ["volumeMounts", "env"] {
            let mut many = pod();
            many["spec"]["containers"][0][key] = json!("@");
            let many = with(&many, &list(element)).unwrap();
            let (mounts, env) = kept(&many.spec.containers[0]);
            assert!(mounts.or(env).unwrap() <= most, "{key} {element}");
        }
        let mut many = pod();
        many["spec"]["volumes"] = json!("@");
        let many = with(&many, &list(element)).unwrap();
        assert!(many.spec.volumes.unwrap().len() <= most, "{element}");
    }
    let mut many = pod();
    many["spec"]["imagePullSecrets"] = json!("@");
    let many = with(&many, &list("{}")).unwrap();
    assert_eq!(many.spec.image_pull_secrets.unwrap().len(), 4096);
}

#[test]
fn what_matters_is_found_behind_what_does_not() {
    let mut pod = pod();
    pod["spec"]["containers"][0]["env"] = json!("@");
    let many = format!(
        r#"[{}{{"name":"HALLPASS_SOCKET"}}]"#,
        r#"{"name":"A"},"#.repeat(300)
    );
    let pod = with(&pod, &many).unwrap();
    assert_eq!(pod.spec.containers[0].env.as_deref().unwrap().len(), 1);
}

#[test]
fn t31_a_map_of_too_many_members_is_not_read() {
    let of = |count: usize| {
        let members = (0..count).map(|n| format!(r#""{n}":"""#));
        format!("{{{}}}", members.collect::<Vec<_>>().join(","))
    };
    for key in ["labels", "annotations"] {
        let mut many = pod();
        many["metadata"][key] = json!("@");
        with(&many, &of(MOST_MEMBERS)).unwrap();
        let error = with(&many, &of(MOST_MEMBERS + 1)).unwrap_err().to_string();
        assert!(
            error.starts_with("a map has more than 16384 members"),
            "{error}"
        );
    }
}
