//! A `TokenPolicy` in its raw form.

use hallpass_core::policy::{RawAudienceRef, RawPolicy, RawSubject, RawToken};

use crate::token_policy::{AudienceRef, PolicySubject, PolicyToken, TokenPolicy, TokenPolicySpec};

impl From<&TokenPolicy> for RawPolicy {
    fn from(policy: &TokenPolicy) -> Self {
        let metadata = policy.metadata.clone();
        let TokenPolicySpec { subjects, tokens } = &policy.spec;
        Self {
            namespace: metadata.namespace.unwrap_or_default(),
            name: metadata.name.unwrap_or_default(),
            uid: metadata.uid.unwrap_or_default(),
            created: metadata
                .creation_timestamp
                .map(|time| time.0)
                .unwrap_or_default(),
            subjects: subjects.iter().map(raw_subject).collect(),
            tokens: tokens.iter().map(raw_token).collect(),
        }
    }
}

fn raw_subject(subject: &PolicySubject) -> RawSubject {
    let PolicySubject {
        service_account,
        pod_selector,
    } = subject;
    RawSubject {
        service_account: service_account.clone(),
        match_labels: pod_selector
            .as_ref()
            .map(|selector| selector.match_labels.clone()),
    }
}

fn raw_token(token: &PolicyToken) -> RawToken {
    let PolicyToken {
        name,
        kubernetes_audience,
        audience_ref,
        scopes,
        lifetime,
        required,
        containers,
    } = token.clone();
    RawToken {
        name,
        kubernetes_audience,
        audience_ref: audience_ref
            .map(|AudienceRef { namespace, name }| RawAudienceRef { namespace, name }),
        scopes,
        lifetime,
        required,
        containers,
    }
}

#[cfg(test)]
mod tests {
    use hallpass_core::policy::Policy;
    use serde_json::json;

    use super::*;

    fn stored(spec: serde_json::Value) -> TokenPolicy {
        serde_json::from_value(json!({
            "apiVersion": "hallpass.dev/v1alpha1",
            "kind": "TokenPolicy",
            "metadata": {
                "namespace": "shop",
                "name": "orders",
                "uid": "7e0d0f4c-0c1b-4f0e-9f43-6d2f4a3c1b5e",
                "creationTimestamp": "2026-11-25T01:42:00Z",
            },
            "spec": spec,
        }))
        .unwrap()
    }

    #[test]
    fn every_field_reaches_the_domain() {
        let policy = stored(json!({
            "subjects": [{"serviceAccount": "orders", "podSelector": {"matchLabels": {"app": "orders"}}}],
            "tokens": [{
                "name": "vault",
                "kubernetesAudience": "https://vault.example",
                "lifetime": "30m",
                "required": false,
                "containers": ["app"],
            }, {
                "name": "payments",
                "audienceRef": {"namespace": "payments", "name": "cards"},
                "scopes": ["payments:read"],
                "lifetime": "30s",
            }],
        }));
        let raw = RawPolicy::from(&policy);
        let expected = RawPolicy {
            namespace: "shop".into(),
            name: "orders".into(),
            uid: "7e0d0f4c-0c1b-4f0e-9f43-6d2f4a3c1b5e".into(),
            created: "2026-11-25T01:42:00Z".parse().unwrap(),
            subjects: vec![RawSubject {
                service_account: "orders".into(),
                match_labels: Some([("app".into(), "orders".into())].into()),
            }],
            tokens: vec![
                RawToken {
                    name: "vault".into(),
                    kubernetes_audience: Some("https://vault.example".into()),
                    lifetime: Some("30m".into()),
                    required: Some(false),
                    containers: Some(vec!["app".into()]),
                    ..RawToken::default()
                },
                RawToken {
                    name: "payments".into(),
                    audience_ref: Some(RawAudienceRef {
                        namespace: "payments".into(),
                        name: "cards".into(),
                    }),
                    scopes: Some(vec!["payments:read".into()]),
                    lifetime: Some("30s".into()),
                    ..RawToken::default()
                },
            ],
        };
        assert_eq!(raw, expected);
        assert_eq!(Policy::parse(&raw).map(|_| ()), Ok(()));
    }

    #[test]
    fn what_is_left_out_stays_out() {
        let policy = stored(json!({
            "subjects": [{"serviceAccount": "orders"}],
            "tokens": [{"name": "vault", "kubernetesAudience": "https://vault.example"}],
        }));
        let raw = RawPolicy::from(&policy);
        assert_eq!(raw.subjects[0].match_labels, None);
        let expected = RawToken {
            name: "vault".into(),
            kubernetes_audience: Some("https://vault.example".into()),
            ..RawToken::default()
        };
        assert_eq!(raw.tokens, [expected]);
        assert_eq!(
            serde_json::to_value(&policy.spec).unwrap(),
            json!({
                "subjects": [{"serviceAccount": "orders"}],
                "tokens": [{"name": "vault", "kubernetesAudience": "https://vault.example"}],
            }),
            "nothing is defaulted on the way back either"
        );
    }
}
