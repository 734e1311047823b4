//! The tokens that the operator may have the API server make.

use hallpass_e2e::{attempt::Attempt, cluster::IDENTITY_AUDIENCE};
use serde_json::{Value, json};

use super::{Allowed, Besides, Place, Policy, Row};

const POLICY: &str = "hallpass-token-requests";
const VAULT: &str = "https://vault.example";

/// The first one is what it is for.
pub(super) fn mints(place: &Place) -> Vec<Row> {
    let here = place.core("serviceaccounts/default/token");
    let system = "/api/v1/namespaces/kube-system/serviceaccounts/default/token";
    let asks = |change: &dyn Fn(&mut Value)| Attempt::post(&here, request(place, change));
    let audiences = |audiences: &[&str]| asks(&|spec| spec["audiences"] = json!(audiences));
    let one = "exactly one audience";
    let mut rows = vec![
        ("mints for a pod", asks(&|_| ()), Allowed),
        (
            "mints without saying for how long, which is an hour to the API server",
            asks(&|spec| spec["expirationSeconds"] = Value::Null),
            Allowed,
        ),
        (
            "mints for a day",
            asks(&|spec| spec["expirationSeconds"] = json!(86_400)),
            Policy(POLICY, "at most 3600 seconds"),
        ),
        (
            "mints for a second more than an hour",
            asks(&|spec| spec["expirationSeconds"] = json!(3601)),
            Policy(POLICY, "at most 3600 seconds"),
        ),
        (
            "mints for two audiences",
            audiences(&[VAULT, "https://mail.example"]),
            Policy(POLICY, one),
        ),
        (
            "mints for the API server",
            audiences(&["https://kubernetes.default.svc"]),
            Policy(POLICY, "the API server"),
        ),
        (
            "mints for whom the API server takes where nobody is named",
            audiences(&[]),
            Policy(POLICY, "the API server"),
        ),
        (
            "mints in kube-system",
            Attempt::post(system, request(place, &|_| ())),
            Policy(POLICY, "protected"),
        ),
    ];
    rows.extend(bound(place));
    rows.extend(identities(place));
    rows
}

/// That these are for the kubelet alone is a policy for everybody, which may refuse them first.
fn identities(place: &Place) -> Vec<Row> {
    let here = place.core("serviceaccounts/default/token");
    let asked = [
        ("mints an identity", IDENTITY_AUDIENCE),
        (
            "mints an identity for another installation",
            "hallpass.dev/other",
        ),
        ("mints an identity for no installation", "hallpass.dev"),
    ];
    let refused = asked.into_iter().map(|(what, audience)| {
        let request = request(place, &|spec| spec["audiences"] = json!([audience]));
        let why = "that identifies a pod to Hallpass";
        (what, Attempt::post(&here, request), Besides(POLICY, why))
    });
    refused.collect()
}

/// To what a token is bound: it ends with that.
fn bound(place: &Place) -> Vec<Row> {
    let here = place.core("serviceaccounts/default/token");
    let without = |member: &str| {
        let mut pod = place.pod.clone();
        pod[member] = Value::Null;
        pod
    };
    let other = |kind: &str| json!({"kind": kind, "apiVersion": "v1", "name": "app", "uid": place.pod["uid"]});
    let to = [
        ("mints for no pod", Value::Null),
        ("mints for a Secret", other("Secret")),
        ("mints for a node", other("Node")),
        ("mints for whatever pod has that name", without("uid")),
        ("mints for a pod without a name", without("name")),
        (
            "mints for whatever is of that name and uid",
            without("kind"),
        ),
    ];
    let why = "only tokens bound to a pod, by its name and uid";
    let refused = to.into_iter().map(|(what, to)| {
        let request = request(place, &|spec| spec["boundObjectRef"] = to.clone());
        (what, Attempt::post(&here, request), Policy(POLICY, why))
    });
    refused.collect()
}

/// What it is for, but for that change of its spec.
fn request(place: &Place, change: &dyn Fn(&mut Value)) -> Value {
    let mut spec = json!({
        "audiences": [VAULT], "expirationSeconds": 600, "boundObjectRef": place.pod,
    });
    change(&mut spec);
    json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec,
    })
}
