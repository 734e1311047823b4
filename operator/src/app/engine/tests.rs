use hallpass_core::name::Namespace;
use serde_json::json;

use super::*;
use crate::issuer::fixture::{ApiServer, Reply, status};

const ADMISSION: &str = "GET /apis/admissionregistration.k8s.io/v1";
const CERTIFICATES: &str = "GET /apis/certificates.k8s.io/v1";
const WEBHOOK: &str =
    "GET /apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/hallpass-inject";
const BY_POLICY: &str = "GET /apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/hallpass-inject-by-policy";

/// As an API server words it: the code alone does not say it to a client.
fn absent() -> Reply {
    Reply::Json(
        404,
        json!({"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404}),
    )
}

fn serving(resources: &[&str]) -> Reply {
    let resources: Vec<_> = resources
        .iter()
        .map(|name| json!({"name": name, "singularName": "", "namespaced": false, "kind": "K", "verbs": []}))
        .collect();
    Reply::Json(
        200,
        json!({"kind": "APIResourceList", "groupVersion": "v1", "resources": resources}),
    )
}

async fn checked(server: &ApiServer, engine: Engine) -> Result<(), String> {
    let checked = check(&server.client(), &names(), engine).await;
    checked.map_err(|error| Chain(&error).to_string())
}

fn names() -> Names {
    let name = |text| Namespace::parse(text).unwrap();
    Names::new(name("hallpass"), name("hallpass-system"))
}

#[tokio::test]
async fn f13_a_cluster_without_mutating_policies_or_trust_bundles_is_told_of_the_other_engine() {
    let (policies, bundles) = ("mutatingadmissionpolicies", "clustertrustbundles");
    for (admission, certificates, missing) in [
        (policies, bundles, None),
        ("validatingadmissionpolicies", bundles, Some(policies)),
        (policies, "certificatesigningrequests", Some(bundles)),
    ] {
        let server = ApiServer::default()
            .on(ADMISSION, move |_| serving(&[admission]))
            .on(CERTIFICATES, move |_| serving(&[certificates]));
        let checked = checked(&server, Engine::AdmissionPolicy).await;
        let told = missing.map(|resource| format!("the API server serves no {resource} of "));
        match (checked, told) {
            (Ok(()), None) => {}
            (Err(text), Some(told)) => {
                assert!(text.starts_with(&told), "{text}");
                assert!(
                    text.ends_with("install the chart with injection.engine=Webhook"),
                    "{text}"
                );
            }
            (checked, told) => panic!("{checked:?} {told:?}"),
        }
    }
}

#[tokio::test]
async fn an_api_server_that_fails_is_not_taken_for_an_old_one() {
    let server = ApiServer::default().on(ADMISSION, |_| status(500, "", "no"));
    let failed = check(&server.client(), &names(), Engine::AdmissionPolicy).await;
    let text = readiness(&failed).unwrap_err();
    assert!(
        text.starts_with("ask the API server for what it serves of "),
        "{text}"
    );
}

#[tokio::test]
async fn f13_the_webhook_must_be_registered_and_nothing_else_is_asked_for() {
    let server = ApiServer::default()
        .on(WEBHOOK, |_| absent())
        .on(BY_POLICY, |_| absent());
    let text = checked(&server, Engine::Webhook).await.unwrap_err();
    assert_eq!(
        text,
        "the webhook is not registered: there is no MutatingWebhookConfiguration hallpass-inject: nothing is \
         injected; install the chart with injection.engine=Webhook again"
    );
    // Pods that run keep their tokens meanwhile.
    let missing = check(&server.client(), &names(), Engine::Webhook).await;
    assert_eq!(readiness(&missing), Ok(()));
    let server = server.on(WEBHOOK, |_| {
        Reply::Json(
            200,
            json!({"metadata": {"name": "hallpass-inject"}, "webhooks": []}),
        )
    });
    assert_eq!(checked(&server, Engine::Webhook).await, Ok(()));
}
